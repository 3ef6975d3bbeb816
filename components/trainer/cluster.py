"""Trains by the workers of a cluster, each in a process of its own.

The chief is started by Trainer and tells the others what there is to train by a record among the
checkpoints, for which `t2rec worker` waits. Who waits leaves a record there as well: when the run
ends, it is removed, and nobody waits for a training that will not come.
"""

import concurrent.futures
import logging
import logging.handlers
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tfx.types import artifact_utils

from components.trainer import work
from models import replicas
from models.checkpoints import Checkpoints
from models.errors import ConfigError, InputError

_JOB = "workers"
_POLL_SECONDS = 1.0
# What TensorFlow's messages hold where workers talk to one another.
_COLLECTIVE = "ollective"
_LOG = logging.getLogger("t2rec")


def lead(
    input_dict: work.Artifacts, output_dict: work.Artifacts, exec_properties: dict[str, Any]
) -> None:
    """Trains as the chief, and exports: see `work.train_and_export`.

    Raises:
      ConfigError: If there is no folder to tell the others by.
      InputError: If a worker is lost, or as `work.train_and_export` says.
    """
    folder = exec_properties.get("checkpoint_dir") or ""
    if not folder:
        raise ConfigError(
            "Expected a folder of checkpoints, by which the workers of training.distribute: "
            "multi_worker are told what to train; got none. Give --checkpoint-dir."
        )
    job = {
        "inputs": artifact_utils.jsonify_artifact_dict(input_dict),
        "outputs": artifact_utils.jsonify_artifact_dict(output_dict),
        "exec_properties": exec_properties,
    }
    kept = Checkpoints(folder)
    kept.write(_JOB, job)
    # TensorFlow forms a cluster in a process that has done nothing else with it.
    context = multiprocessing.get_context("spawn")
    records = context.Queue()
    listener = logging.handlers.QueueListener(records, _Forward())
    listener.start()
    try:
        with concurrent.futures.ProcessPoolExecutor(1, context, _log_to, (records,)) as pool:
            pool.submit(train_as_worker, job).result()
    finally:
        listener.stop()
        kept.remove(_JOB)


def follow(folder: str, note: Callable[[str], None]) -> None:
    """Waits for a chief, and trains with it.

    Args:
      folder: Of its checkpoints, on any filesystem that TensorFlow knows.
      note: Says how things stand.

    Raises:
      ConfigError: If this is the chief's place in the cluster.
      InputError: As `lead`.
    """
    index = replicas.worker_index()
    if index == 0:
        raise ConfigError(
            f"Expected {replicas.CLUSTER_VARIABLE} with an index from 1 on for `t2rec worker`; got "
            "0, which is that of `t2rec run`, the chief."
        )
    kept, waiting = Checkpoints(folder), _waiting(index)
    note(f"worker {index}: waiting for Trainer to write to {folder}")
    kept.write(waiting, {})
    try:
        while (found := kept.read(_JOB)) is None:
            if kept.read(waiting) is None:
                note(
                    f"worker {index}: the run has ended without training: the model was there "
                    "already, or the run failed before it came to that"
                )
                return
            time.sleep(_POLL_SECONDS)
    finally:
        kept.remove(waiting)
    note(f"worker {index}: training")
    train_as_worker(found[0])
    note(f"worker {index}: done")


def dismiss(folder: str) -> None:
    """Lets the workers go that still wait, at the end of a run.

    Args:
      folder: Of the chief's checkpoints.

    Raises:
      ConfigError: If the environment does not name the cluster.
    """
    kept = Checkpoints(folder)
    for index in range(1, replicas.cluster_size()):
        kept.remove(_waiting(index))


def _waiting(index: int) -> str:
    """Names the record of a worker that waits."""
    return f"waiting-{index}"


def train_as_worker(job: dict[str, Any]) -> None:
    """Trains in this process, which may have done nothing with TensorFlow yet.

    Args:
      job: What `lead` wrote.

    Raises:
      InputError: If a worker is lost, or as `work.train_and_export` says.
    """
    try:
        work.train_and_export(
            artifact_utils.parse_artifact_dict(job["inputs"]),
            artifact_utils.parse_artifact_dict(job["outputs"]),
            job["exec_properties"],
            is_chief=replicas.worker_index() == 0,
        )
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if isinstance(error, tf.errors.InternalError) and _COLLECTIVE not in error.message:
            raise  # Anything may be that.
        raise InputError(
            f"Expected all workers of {replicas.CLUSTER_VARIABLE} to train to the end; lost one: "
            f"{error.message.splitlines()[-1]} Start all of them again: training goes on from the "
            "latest checkpoint."
        ) from error


def _log_to(records: Any) -> None:
    """Sends what this process tells people to the one that started it."""
    _LOG.addHandler(logging.handlers.QueueHandler(records))
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _LOG.handle(record)
