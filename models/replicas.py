"""Divides training steps among the replicas of a `tf.distribute` strategy.

All replicas run the same training in lock step, on the same batches: each differentiates the loss
of its share of the rows, and all add up the gradients before they apply them. What a process
decides for itself, by its clock or in its last digits, it takes from the chief instead: see
`agreed`.
"""

import json
import os
import pickle
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf

from models.errors import ConfigError, InputError
from models.options import MIRRORED, MULTI_WORKER

T = TypeVar("T")

CLUSTER_VARIABLE = "TF_CONFIG"
_CLUSTER_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_WORD = np.dtype(np.int32)
# Of means of the first batch, between workers that were given the same data.
_SAME = 1e-3


def create_strategy(distribute: str) -> tf.distribute.Strategy:
    """Creates the strategy to train under; its scope is to hold all that creates variables.

    Args:
      distribute: See `TrainingOptions.distribute`; `multi_worker` must come before anything else
        that TensorFlow does in the process.

    Raises:
      ConfigError: If `multi_worker` is not told of a cluster.
    """
    if distribute == MIRRORED:
        return tf.distribute.MirroredStrategy()
    if distribute == MULTI_WORKER:
        worker_index()
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def worker_index() -> int:
    """Reads which worker of its cluster this process is; the first is the chief.

    Raises:
      ConfigError: If the environment does not say.
    """
    return _place_in_cluster()[0]


def cluster_size() -> int:
    """Reads how many workers the cluster has, the chief included.

    Raises:
      ConfigError: If the environment does not say.
    """
    return _place_in_cluster()[1]


def _place_in_cluster() -> tuple[int, int]:
    told = os.environ.get(CLUSTER_VARIABLE, "")
    try:
        config = json.loads(told)
        workers, task = config["cluster"]["worker"], config["task"]
        if task["type"] != "worker" or not 0 <= int(task["index"]) < len(workers):
            raise ValueError(task)
        return int(task["index"]), len(workers)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Expected {CLUSTER_VARIABLE} to name the cluster of training.distribute: "
            f"{MULTI_WORKER}, such as {_CLUSTER_EXAMPLE}; got {told!r}. Set it in the environment "
            "of each worker, with its own index."
        ) from error


def check_chief() -> None:
    """Makes sure that this process is its cluster's chief.

    Raises:
      ConfigError: If it is another worker, or the environment does not say.
    """
    index = worker_index()
    if index:
        raise ConfigError(
            f"Expected {CLUSTER_VARIABLE} with the index 0, the chief's, for `t2rec run`; got "
            f"{index}. Start the other workers by `t2rec worker`."
        )


def run(step: Callable[[dict], tf.Tensor], batch: dict) -> tf.Tensor:
    """Calls a step on each replica, with the same batch.

    Args:
      step: From a batch to a tensor that is the same on all replicas.
      batch: What each is given.
    """
    strategy = tf.distribute.get_strategy()
    return strategy.experimental_local_results(strategy.run(step, args=(batch,)))[0]


def share(*rows: tf.Tensor | tf.RaggedTensor) -> list:
    """Takes this replica's rows of tensors that have equally many."""
    context = tf.distribute.get_replica_context()
    replicas, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
    if replicas == 1:
        return list(rows)
    first = rows[0]
    count = first.nrows() if isinstance(first, tf.RaggedTensor) else tf.shape(first)[0]
    count = tf.cast(count, tf.int32)
    begin, end = count * replica // replicas, count * (replica + 1) // replicas
    return [tensor[begin:end] for tensor in rows]


def own_seed(seed: tf.Tensor) -> tf.Tensor:
    """Makes a seed that all replicas drew this replica's own.

    Args:
      seed: `[2]` integer tensor; the first replica keeps it as it is.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return seed
    return seed + tf.cast(context.replica_id_in_sync_group, seed.dtype)


def weigh(mean: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Scales a replica's mean, so that the replicas' sum is the mean over all.

    Args:
      mean: Float32 scalar: mean of the replica's share, anything if that is empty.
      count: Float32 scalar: how many it is the mean of.
    """
    if tf.distribute.get_replica_context().num_replicas_in_sync == 1:
        return mean
    (total,) = sums([count])
    return tf.math.multiply_no_nan(mean, tf.math.divide_no_nan(count, total))


def sums(tensors: Sequence[tf.Tensor | tf.IndexedSlices]) -> list[tf.Tensor | tf.IndexedSlices]:
    """Adds up tensors, such as gradients, over the replicas."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(tensors)
    return context.all_reduce(
        tf.distribute.ReduceOp.SUM, [tf.convert_to_tensor(tensor) for tensor in tensors]
    )


def num_workers() -> int:
    """Counts the processes that train together."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return len(resolver.cluster_spec().as_dict().get("worker", ())) if resolver else 1


def agreed(value: T) -> T:
    """Returns the chief's value; every worker has to call this, in the same order.

    Args:
      value: Anything that can be pickled; it comes from a peer of the same cluster.
    """
    if num_workers() < 2:
        return value
    is_chief = worker_index() == 0
    told = pickle.dumps(value) if is_chief else b""
    length = int(_from_chief(np.array([len(told)], _WORD), is_chief)[0])
    words = np.zeros(-(-length // _WORD.itemsize), _WORD)
    if is_chief:
        words = np.frombuffer(told + bytes(-length % _WORD.itemsize), _WORD)
    words = _from_chief(words, is_chief)
    return pickle.loads(words.tobytes()[:length])  # noqa: S301 (the chief's own)


def broadcast(variables: Sequence[tf.Variable]) -> None:
    """Sets variables to the chief's."""
    if num_workers() < 2:
        return
    values = agreed([variable.numpy() for variable in variables])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def check_digest(digest: str) -> None:
    """Raises if this worker's tables or options are not the chief's, by their digest.

    Raises:
      InputError: If they are not: the workers would not stay in step.
    """
    if agreed(digest) != digest:
        raise _other("train on the tables and with the options of the chief")


def check_batch(batch: dict, what: str) -> None:
    """Raises if this worker was given another batch than the chief, beyond the last digits.

    Args:
      batch: Tensors by name.
      what: The batch, in words.

    Raises:
      InputError: If it was: gradients of different data would add up to nonsense in silence.
    """
    if num_workers() < 2:
        return
    found = _signature(batch)
    expected = agreed(found)
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=_SAME, atol=_SAME):
        raise _other(f"make {what} as the chief does")


def _other(what: str) -> InputError:
    return InputError(
        f"Expected worker {worker_index()} to {what}; got others. Start all workers with the same "
        "code, packages and data."
    )


def _signature(batch: dict) -> np.ndarray:
    """Returns each tensor's size, mean and mean size: signs that differ change the mean."""
    told: list[float] = []
    for tensor in tf.nest.flatten(batch, expand_composites=True):
        values = tensor.numpy().astype(np.float64)
        values = values[np.isfinite(values)]
        size = max(values.size, 1)
        told += [values.size, values.sum() / size, np.abs(values).sum() / size]
    return np.array(told)


def _from_chief(words: np.ndarray, is_chief: bool) -> np.ndarray:
    """Returns the chief's words; others hand in zeros, as many."""

    def add(words: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        is_first = is_chief and context.replica_id_in_sync_group == 0
        mine = words if is_first else tf.zeros_like(words)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    strategy = tf.distribute.get_strategy()
    summed = strategy.run(add, args=(tf.constant(words),))
    return strategy.experimental_local_results(summed)[0].numpy()
