"""Keeps the models that are configured loaded, and follows their folders."""

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Iterator, Mapping

from tensorflow_serving.config.logging_config_pb2 import LoggingConfig
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving import model_folders, served_versions, versions
from serving.errors import FailedPreconditionError, InvalidRequestError, NotFoundError
from serving.model_config import check_config
from serving.served_versions import ServedVersion, VersionStatus

# Dropped or broken versions whose end is still told, of each model.
_MAX_ENDED = 16

# Of the thread that loads versions: a ninth of what another gets of a processor they share.
_NICENESS = 10
_LOGGER = logging.getLogger("t2rec")


@dataclasses.dataclass(frozen=True)
class ModelRef:
    """Says which model a request is for.

    Attributes:
      name: Its name.
      version: Number of a version; None for the newest.
      label: Label of a version; "" for none.
    """

    name: str
    version: int | None = None
    label: str = ""


class ModelManager:
    """Loads, swaps and drops versions in the background; requests only ever see whole ones.

    A version that the folder's newest ones replace is dropped after they answer; one that can't be
    loaded is left alone until its files change.
    """

    def __init__(self, batch_rows: int, poll_seconds: float):
        """Starts without models.

        Args:
          batch_rows: Rows of the largest call that models will get.
          poll_seconds: How often to look at the folders; 0 for only when `apply` is called.
        """
        self._batch_rows = batch_rows
        self._poll_seconds = poll_seconds
        self._config = ModelServerConfig()
        # By model and number, all versions that there are or were; the newest last.
        self._versions: dict[str, dict[int, ServedVersion]] = {}
        self._broken: dict[str, dict[int, tuple]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._logging: dict[str, LoggingConfig] = {}
        # By model, why its folder can't be followed, if so.
        self._problems: dict[str, str] = {}
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._stopped = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="models", daemon=True)

    def apply(self, config: ModelServerConfig) -> None:
        """Serves what a configuration says; returns when all of it is loaded.

        Args:
          config: All models; those that it leaves out are dropped.

        Raises:
          InvalidRequestError: If the configuration can't be served as it is told.
          FailedPreconditionError: If a model has no version that can be loaded, or a label names
            one that isn't available; everything else is served.
        """
        check_config(config)
        with self._changing:
            self._config = config
            self._logging = {
                model.name: model.logging_config
                for model in config.model_config_list.config
                if model.logging_config.sampling_config.sampling_rate > 0
            }
            self._update()
            self._check_served(config)

    def _check_served(self, config: ModelServerConfig) -> None:
        """Checks that all is served as it is told.

        Raises:
          FailedPreconditionError: If a model or a label isn't.
        """
        missing = [name for name in self.names() if not self._available(name)]
        if missing:
            names = ", ".join(f"{{name: {name}}}" for name in missing)
            reasons = [self._problems[name] for name in missing if name in self._problems]
            reasons += [
                version.status.message
                for name in missing
                for version in self._versions.get(name, {}).values()
                if version.status.message
            ]
            raise FailedPreconditionError(
                "; ".join([f"Some models did not become available: {{{names}}}", *reasons])
            )
        for model in config.model_config_list.config:
            for label, number in model.version_labels.items():
                if self._labels[model.name].get(label) != number:
                    raise FailedPreconditionError(
                        f"Request to assign label to version {number} of model {model.name}, "
                        "which is not currently available for inference"
                    )

    def follow(self) -> None:
        """Begins to look at the folders, if they are to be looked at again and again."""
        if self._poll_seconds:
            self._follower.start()

    def stop(self) -> None:
        """Stops following and drops all versions, each once its requests are done."""
        self._stopped.set()
        if self._follower.is_alive():
            self._follower.join()
        with self._changing:
            self._config = ModelServerConfig()
            self._update()

    def lease(self, ref: ModelRef) -> ServedVersion:
        """Finds the version that a request is for, and keeps it until the end of a `with` block.

        Args:
          ref: What the request says.

        Raises:
          NotFoundError: If it isn't served.
          InvalidRequestError: If there is no such label.
        """
        number = self._resolve(ref)
        with self._lock:
            available = self._available(ref.name)
            version = available.get(max(available, default=-1) if number is None else number)
            if version:
                return version.lease()
        wanted = f"Latest({ref.name})" if number is None else f"Specific({ref.name}, {number})"
        raise NotFoundError(f"Servable not found for request: {wanted}")

    def statuses(self, ref: ModelRef) -> list[VersionStatus]:
        """Tells how the versions of a model are, the newest first.

        Args:
          ref: The model, or one version of it.

        Raises:
          NotFoundError: If there are none, and never were.
          InvalidRequestError: If there is no such label.
        """
        number = self._resolve(ref)
        with self._lock:
            found = self._versions.get(ref.name, {})
            if number is None:
                if not found:
                    raise NotFoundError(f"Could not find any versions of model {ref.name}")
                return _newest_first(found)
            if number not in found:
                raise NotFoundError(f"Could not find version {number} of model {ref.name}")
            return [found[number].status]

    def all_statuses(self) -> dict[str, list[VersionStatus]]:
        """Tells how the versions of all configured models are; of some there may be none."""
        with self._lock:
            return {name: _newest_first(self._versions.get(name, {})) for name in self.names()}

    def names(self) -> list[str]:
        """Lists the models that are configured, in that order."""
        return [model.name for model in self._config.model_config_list.config]

    def sampling(self, name: str) -> LoggingConfig | None:
        """Returns what is to be logged of a model's requests; None for nothing.

        Args:
          name: Name of the model.
        """
        return self._logging.get(name)

    def is_ready(self) -> bool:
        """Tells whether every configured model can answer."""
        names = self.names()
        with self._lock:
            return bool(names) and all(self._available(name) for name in names)

    def _resolve(self, ref: ModelRef) -> int | None:
        """Returns the number that a request names, by itself or by a label."""
        if not ref.label:
            return ref.version
        number = self._labels.get(ref.name, {}).get(ref.label)
        if number is None:
            raise InvalidRequestError(f"Unrecognized servable version label: {ref.label}")
        return number

    def _available(self, name: str) -> dict[int, ServedVersion]:
        return {
            number: version
            for number, version in self._versions.get(name, {}).items()
            if version.status.state == served_versions.AVAILABLE
        }

    def _follow(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # Linux gives each thread its own.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stopped.wait(self._poll_seconds):
            try:
                with self._changing:
                    self._update()
            except Exception:  # Whatever it is, the next versions are waited for.
                _LOGGER.exception("Looking for new versions failed; trying again")

    def _update(self) -> None:
        """Loads what is wanted, then drops what isn't."""
        configured = {model.name: model for model in self._config.model_config_list.config}
        for name in [name for name in self._versions if name not in configured]:
            for version in list(self._available(name).values()):
                self._drop(version)
            with self._lock:
                del self._versions[name]
            self._broken.pop(name, None)
        problems: dict[str, str] = {}
        for name, model in configured.items():
            try:
                self._update_model(model)
            # Such as a filesystem that is away: what is loaded goes on, and so do other models.
            except Exception as error:
                problems[name] = str(error)
                if problems[name] != self._problems.get(name):
                    _LOGGER.error("%s can't be followed: %s Trying again", name, error)
        self._problems = problems
        self._labels = {model.name: self._assigned_labels(model) for model in configured.values()}

    def _assigned_labels(self, model: ModelConfig) -> dict[str, int]:
        """Gives labels to the versions that are told, or leaves them until those are available."""
        before, available = self._labels.get(model.name, {}), self._available(model.name)
        return {
            label: number if number in available else before[label]
            for label, number in model.version_labels.items()
            if number in available or label in before
        }

    def _update_model(self, model: ModelConfig) -> None:
        there = model_folders.list_versions(model.base_path)
        self._forget_broken(model.name, there)
        if not there and self._available(model.name):
            return  # A folder that was emptied is no reason to stop answering.
        # What can't be loaded makes room for an older version, which may be broken, too.
        for _ in range(len(there) + 1):
            wanted = versions.choose_versions(
                there, model.model_version_policy, self._still_broken(model.name, there)
            )
            new = [number for number in wanted if number not in self._available(model.name)]
            if all([self._load(model.name, number, there[number]) for number in new]):
                break
        for number, version in self._available(model.name).items():
            if number not in wanted:
                self._drop(version)

    def _forget_broken(self, name: str, there: Mapping[int, str]) -> None:
        """Forgets broken versions that were removed, so that no alert goes on for them."""
        with self._lock:
            known = self._versions.get(name, {})
            for number in [n for n, version in known.items() if version.status.code != "OK"]:
                if number not in there:
                    del known[number]
                    self._broken.get(name, {}).pop(number, None)

    def _still_broken(self, name: str, there: dict[int, str]) -> set[int]:
        return {
            number
            for number, seen in self._broken.get(name, {}).items()
            if number in there and versions.fingerprint(there[number]) == seen
        }

    def _load(self, name: str, number: int, path: str) -> bool:
        version = ServedVersion(name, number, path)
        seen = versions.fingerprint(path)
        with self._lock:
            known = self._versions.setdefault(name, {})
            known.pop(number, None)
            known[number] = version
            ended = [n for n, v in known.items() if v.status.state == served_versions.END]
            for old in ended[:-_MAX_ENDED]:
                del known[old]
        loaded = version.load(self._batch_rows)
        if not loaded:
            self._broken.setdefault(name, {})[number] = seen
        return loaded

    def _drop(self, version: ServedVersion) -> None:
        with self._lock:  # From here on nobody leases it.
            version.status = VersionStatus(version.number, served_versions.UNLOADING)
        version.drop()


def _newest_first(versions: Mapping[int, ServedVersion]) -> list[VersionStatus]:
    return [versions[number].status for number in sorted(versions, reverse=True)]


@contextlib.contextmanager
def following(manager: ModelManager) -> Iterator[ModelManager]:
    """Follows the folders within a `with` block, and drops everything at its end."""
    manager.follow()
    try:
        yield manager
    finally:
        manager.stop()
