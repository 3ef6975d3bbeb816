"""What training has done so far, on disk: a killed one goes on where it stood.

Training is a chain of runs. What a finished run said is kept in a few bytes, so that the search for
recipes comes by the same way to the same place; of the run in progress, all variables are kept.
"""

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_LOG = logging.getLogger("t2rec")


class Checkpoints:
    """Named records: a JSON object each and, beside it, tensors in TensorFlow's checkpoint format.

    A record is there whole or not at all. Without a folder nothing is kept.
    """

    def __init__(self, folder: str = "", every_seconds: float = 60.0):
        """Opens a folder.

        Args:
          folder: Where records lie, on any filesystem that TensorFlow knows; "" for nowhere.
          every_seconds: Time between two checkpoints of a run.
        """
        self._folder = folder
        self._every_seconds = every_seconds
        self._earlier_seconds = 0.0

    def within(self, key: str) -> "Checkpoints":
        """Returns the records of one training; others never see them.

        Args:
          key: Digest of all that the training depends on.
        """
        folder = os.path.join(self._folder, key) if self._folder else ""
        return Checkpoints(folder, self._every_seconds)

    def clock(self) -> float:
        """Tells the time in seconds; what was done in an earlier process counts as if just done."""
        return time.monotonic() + self._earlier_seconds

    def credit(self, seconds: float) -> None:
        """Adds time that an earlier process spent."""
        self._earlier_seconds += seconds

    def run(self, name: str) -> "RunCheckpoint":
        """Returns the checkpoint of a run."""
        return RunCheckpoint(self, name, self._every_seconds)

    def write(
        self, name: str, record: Mapping[str, Any], tensors: Mapping[str, Any] | None = None
    ) -> None:
        """Keeps a record in place of an earlier one of the same name.

        Args:
          name: Name of the record.
          record: A JSON object.
          tensors: Arrays, tensors or variables, by name.
        """
        if not self._folder:
            return
        tf.io.gfile.makedirs(self._folder)
        path = self._path(name)
        old = self._read_json(path)
        version = old["version"] + 1 if old else 0
        if tensors:
            # SaveV2 writes the same files as `tf.train.Checkpoint`, under names of our choice.
            tf.raw_ops.SaveV2(
                prefix=f"{path}-{version}",
                tensor_names=list(tensors),
                shape_and_slices=[""] * len(tensors),
                tensors=[tf.convert_to_tensor(tensor) for tensor in tensors.values()],
            )
        told = {"version": version, "tensors": list(tensors or ()), "record": dict(record)}
        with tf.io.gfile.GFile(f"{path}.incoming", "w") as file:
            file.write(json.dumps(told))
        tf.io.gfile.rename(f"{path}.incoming", f"{path}.json", overwrite=True)
        if old:
            _remove_tensors(f"{path}-{old['version']}")

    def read(self, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Returns a record and its tensors, None if there is none."""
        path = self._path(name)
        told = self._read_json(path)
        if not told:
            return None
        tensors: dict[str, np.ndarray] = {}
        if told["tensors"]:
            reader = tf.train.load_checkpoint(f"{path}-{told['version']}")
            tensors = {key: reader.get_tensor(key) for key in told["tensors"]}
        return told["record"], tensors

    def remove(self, name: str) -> None:
        """Removes a record, if it is there."""
        path = self._path(name)
        told = self._read_json(path)
        if told:
            tf.io.gfile.remove(f"{path}.json")
            _remove_tensors(f"{path}-{told['version']}")

    def clear(self) -> None:
        """Removes the folder with all that is in it, of other trainings as well."""
        if self._folder and tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _read_json(self, path: str) -> dict[str, Any] | None:
        if not self._folder or not tf.io.gfile.exists(f"{path}.json"):
            return None
        with tf.io.gfile.GFile(f"{path}.json") as file:
            return json.loads(file.read())


class RunCheckpoint:
    """Keeps the variables of a run, and where it stands, every so often."""

    def __init__(self, checkpoints: Checkpoints, name: str, every_seconds: float):
        """Begins to count the time: see `Checkpoints.run`."""
        self._checkpoints = checkpoints
        self._name = name
        self._every_seconds = every_seconds
        self._earlier_seconds = 0.0
        self._begun = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the run has taken, in this process and in earlier ones."""
        return self._earlier_seconds + time.monotonic() - self._begun

    @property
    def is_due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved >= self._every_seconds

    def restore(self, variables: Sequence[tf.Variable]) -> dict[str, Any] | None:
        """Sets the variables to what an earlier process saved.

        Args:
          variables: Those that were saved, in the same order.

        Returns:
          What was said to `save`, None if nothing was saved.
        """
        found = self._checkpoints.read(self._name)
        if found is None:
            return None
        record, tensors = found
        for place, variable in enumerate(variables):
            variable.assign(tensors[str(place)])
        self._earlier_seconds = record["seconds"]
        self._checkpoints.credit(record["seconds"])
        _LOG.info("going on with %s, %.0f seconds of which are done", self._name, self.seconds)
        return record["progress"]

    def save(self, variables: Sequence[tf.Variable], progress: Mapping[str, Any]) -> None:
        """Saves the variables and a JSON object."""
        self._checkpoints.write(
            self._name,
            {"seconds": self.seconds, "progress": dict(progress)},
            {str(place): variable for place, variable in enumerate(variables)},
        )
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Removes what was saved."""
        self._checkpoints.remove(self._name)


def digest(*parts: Any) -> str:
    """Digests arrays, tables (dataclasses), mappings and texts, for `Checkpoints.within`."""
    told = hashlib.sha256()
    for part in parts:
        _digest(part, told.update)
    return told.hexdigest()[:16]


def _digest(part: Any, update) -> None:
    if isinstance(part, np.ndarray):
        update(f"{part.dtype} {part.shape}".encode())
        update(b"\0".join(part) if part.dtype == object else np.ascontiguousarray(part).data)
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            _digest(getattr(part, field.name), update)
    elif isinstance(part, Mapping):
        for key in sorted(part):
            _digest([key, part[key]], update)
    elif isinstance(part, list | tuple):
        for one in part:
            _digest(one, update)
    else:
        update(f"{type(part).__name__} {part}\0".encode())


def _remove_tensors(prefix: str) -> None:
    folder, name = os.path.split(prefix)
    for file in tf.io.gfile.listdir(folder):
        if file.startswith(f"{name}."):
            tf.io.gfile.remove(os.path.join(folder, file))
