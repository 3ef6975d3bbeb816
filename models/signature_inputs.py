"""Inputs of signatures: optional ones with recorded defaults, one row that stands for all."""

import inspect
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from models import filters
from models.features import MAX_STARS

DEFAULT_K = 10
MAX_K = 10_000  # A list is an allocation, and k comes from outside.
_GREAT = 1e9  # Beyond any distance or weight; infinity is not a number to count with.


def recommending_inputs(retrieval_weight: float, rating_weight: float) -> dict[str, tf.Tensor]:
    """Lists the inputs of the recommending signatures that may be left out.

    Args:
      retrieval_weight: What the retrieval block counts unless a request says otherwise.
      rating_weight: What the rating block counts, likewise.

    Returns:
      By name, a tensor of one row: what holds where the input is left out.
    """
    return {
        "k": tf.constant([DEFAULT_K], tf.int32),
        "exclude_seen": tf.constant([False]),
        "exclude_business_id": tf.constant([[""]]),
        **{key: tf.constant([value]) for key, value in filters.DEFAULTS.items()},
        "min_stars": tf.constant([0.0]),
        "retrieval_weight": tf.constant([retrieval_weight], tf.float32),
        "rating_weight": tf.constant([rating_weight], tf.float32),
        "shortlist": tf.constant([0], tf.int32),
    }


# What the inputs above mean, for those who call.
DESCRIPTIONS = {
    "k": f"Length of the list, from 1 to {MAX_K}; a batch's lists are as wide as its longest.",
    "exclude_seen": "Whether to leave out what the user rated in training, or gives as history.",
    "exclude_business_id": 'Ids of businesses to leave out; pad with "".',
    **filters.DESCRIPTIONS,
    "min_stars": "Least predicted stars of what is listed; up to 1, all are.",
    "retrieval_weight": "What the retrieval block (who goes where) counts in the score.",
    "rating_weight": "What the rating block (predicted stars) counts in the score.",
    "shortlist": "Businesses to retrieve by score before they are ordered by predicted stars, at "
    "least k; 0 keeps the order of the score.",
}


def checked(inputs: Mapping[str, tf.Tensor], batch: tf.Tensor) -> dict[str, tf.Tensor]:
    """Gives every input a row for each of the batch, once all are known to be in range.

    Args:
      inputs: By the names of `recommending_inputs`, some of them; tensors of one row or of all.
      batch: Int32 scalar.

    Raises:
      InvalidArgumentError: When it runs, if a value is out of range, with the rule.
    """
    rows = one_row_each(inputs, batch)
    numbers = {key: value for key, value in rows.items() if key in _LIMITS}
    if rows.keys() >= _WEIGHTS:
        numbers[_BOTH_WEIGHTS] = tf.add_n([rows[key] for key in sorted(_WEIGHTS)])
    kept = _check(numbers)
    return {key: kept.get(key, value) for key, value in rows.items()}


def one_row_each(inputs: Mapping[str, tf.Tensor], batch: tf.Tensor) -> dict[str, tf.Tensor]:
    """Repeats single rows for the whole batch; full batches stay as they are.

    Args:
      inputs: By name, tensors of rank one or two.
      batch: Int32 scalar.
    """
    length = batch[None]  # Once for all: a small graph costs by its operations.

    def repeated(values: tf.Tensor) -> tf.Tensor:
        if values.shape.rank == 1:
            return tf.broadcast_to(values, length)
        return tf.broadcast_to(values, tf.concat([length, tf.shape(values)[1:]], axis=0))

    return {key: repeated(values) for key, values in inputs.items()}


def traced(function: Callable, required: Mapping, optional: Mapping):
    """Makes a signature whose optional inputs have defaults that the SavedModel records.

    TensorFlow reads the defaults off the Python signature, so one is made to order.

    Args:
      function: Takes all inputs by name and returns outputs by name.
      required: By name, a `tf.TensorSpec`.
      optional: By name, the default: a tensor of one row, which stands for the whole batch.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [inspect.Parameter(key, kind) for key in required]
        + [inspect.Parameter(key, kind, default=value) for key, value in optional.items()]
    )

    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return function(**bound.arguments)

    call.__signature__ = signature  # type: ignore[attr-defined]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in required.items()]
    specs += [
        tf.TensorSpec([None] * value.shape.rank, value.dtype, name=key)
        for key, value in optional.items()
    ]
    # Control flow here is explicit; autograph would only convert the libraries, for seconds.
    return tf.function(call, input_signature=specs, autograph=False)


_WEIGHTS = {"retrieval_weight", "rating_weight"}
# The sum of the two, which is looked at like an input.
_BOTH_WEIGHTS = "both weights"
_WEIGHTS_RULE = "retrieval_weight and rating_weight must be finite, not below 0, and not both 0."
_LAST_MINUTE = filters.WEEK_MINUTES - 1
# By input, the least and the greatest value, and the rule in words.
_LIMITS = {
    "k": (1, MAX_K, f"k must be from 1 to {MAX_K} in every row."),
    "shortlist": (0, MAX_K, f"shortlist must be from 0 (none) to {MAX_K} in every row."),
    "open_at_minute": (
        -1,
        _LAST_MINUTE,
        f"open_at_minute must be from 0 (where Monday begins) to {_LAST_MINUTE}, or -1 for any "
        "time.",
    ),
    "latitude_degrees": (-90, 90, "latitude_degrees must be from -90 to 90."),
    "longitude_degrees": (-180, 180, "longitude_degrees must be from -180 to 180."),
    "within_km": (0, _GREAT, "within_km must be 0 (anywhere) or a distance over it."),
    "min_stars": (0, MAX_STARS, f"min_stars must be from 0 to {MAX_STARS:.0f}."),
    "retrieval_weight": (0, _GREAT, _WEIGHTS_RULE),
    "rating_weight": (0, _GREAT, _WEIGHTS_RULE),
    _BOTH_WEIGHTS: (np.finfo(np.float32).tiny, 2 * _GREAT, _WEIGHTS_RULE),
}


def _check(numbers: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns numbers as they came, once all of them are within `_LIMITS`.

    Numbers of a type are looked at together, since a small graph costs by its operations; which
    rule is broken is looked for only if one is.

    Args:
      numbers: By the names of `_LIMITS`, `[batch]` tensors.
    """
    stacks, verdicts = {}, {}
    for dtype in {value.dtype: None for value in numbers.values()}:
        keys = tuple(key for key, value in numbers.items() if value.dtype == dtype)
        lows, highs = np.array([_LIMITS[key][:2] for key in keys], dtype.as_numpy_dtype).T
        stacks[keys] = tf.stack([numbers[key] for key in keys])
        # What is not a number is in no range.
        verdicts[keys] = (stacks[keys] >= lows[:, None]) & (stacks[keys] <= highs[:, None])

    def complain() -> tf.Tensor:
        kept = tf.concat([tf.reduce_all(kept, axis=1) for kept in verdicts.values()], axis=0)
        rules = tf.constant([_LIMITS[key][2] for keys in verdicts for key in keys])
        tf.debugging.Assert(False, [rules[tf.argmin(tf.cast(kept, tf.int32))]])
        return tf.constant(False)

    all_kept = tf.reduce_all([tf.reduce_all(kept) for kept in verdicts.values()])
    passed: dict[str, tf.Tensor] = {}
    with tf.control_dependencies([tf.cond(all_kept, lambda: tf.constant(True), complain).op]):
        for keys, stack in stacks.items():
            passed |= dict(zip(keys, tf.unstack(tf.identity(stack), len(keys)), strict=True))
    return passed
