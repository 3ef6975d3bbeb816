"""Inputs of signatures: optional ones with recorded defaults, one row that stands for all."""

import inspect
from collections.abc import Callable, Mapping, Sequence

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
      inputs: By the names of `recommending_inputs`, tensors of one row or of all.
      batch: Int32 scalar.

    Raises:
      InvalidArgumentError: When it runs, if a value is out of range, with the rule.
    """
    last_minute = filters.WEEK_MINUTES - 1
    weights = "retrieval_weight and rating_weight must be finite, not below 0, and not both 0."
    both = inputs["retrieval_weight"] + inputs["rating_weight"]
    rules = [
        _k_rule(inputs["k"]),
        (
            f"shortlist must be from 0 (none) to {MAX_K} in every row.",
            _within(inputs["shortlist"], 0, MAX_K),
        ),
        (
            f"open_at_minute must be from 0 (where Monday begins) to {last_minute}, or -1 for any "
            "time.",
            _within(inputs["open_at_minute"], -1, last_minute),
        ),
        (
            "latitude_degrees must be from -90 to 90.",
            _within(inputs["latitude_degrees"], -90, 90),
        ),
        (
            "longitude_degrees must be from -180 to 180.",
            _within(inputs["longitude_degrees"], -180, 180),
        ),
        (
            "within_km must be 0 (anywhere) or a distance over it.",
            _within(inputs["within_km"], 0, _GREAT),
        ),
        (
            f"min_stars must be from 0 to {MAX_STARS:.0f}.",
            _within(inputs["min_stars"], 0, MAX_STARS),
        ),
        (weights, _within(inputs["retrieval_weight"], 0, _GREAT)),
        (weights, _within(inputs["rating_weight"], 0, _GREAT)),
        (weights, both > 0),
    ]
    with tf.control_dependencies([_check(rules)]):
        return {key: one_row_each(value, batch) for key, value in inputs.items()}


def checked_k(k: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Returns k for every row, once it is known to be in range."""
    with tf.control_dependencies([_check([_k_rule(k)])]):
        return one_row_each(k, batch)


def one_row_each(values: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Repeats a single row for the whole batch; a full batch stays as it is."""
    shape = [batch] if values.shape.rank == 1 else [batch, tf.shape(values)[1]]
    return tf.broadcast_to(values, shape)


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


# A rule in words, and whether each value keeps it: a bool tensor of rank 1.
_Rule = tuple[str, tf.Tensor]


def _check(rules: Sequence[_Rule]) -> tf.Operation:
    """Checks all rules at once; which of them is broken is looked for only if one is."""

    def complain() -> tf.Tensor:
        for rule, kept in rules:
            tf.debugging.Assert(tf.reduce_all(kept), [rule])
        return tf.constant(False)

    all_kept = tf.reduce_all(tf.concat([kept for _, kept in rules], axis=0))
    return tf.cond(all_kept, lambda: tf.constant(True), complain).op


def _within(values: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Tells what is in a range; what is not a number is in none."""
    low, high = (tf.cast(bound, values.dtype) for bound in (low, high))
    return (values >= low) & (values <= high)


def _k_rule(k: tf.Tensor) -> _Rule:
    return f"k must be from 1 to {MAX_K} in every row.", _within(k, 1, MAX_K)
