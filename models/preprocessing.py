"""Transform hooks: raw users and businesses to what the towers take.

The graphs that Transform makes of these functions run in the pipeline and inside the exported
signatures, so a covariate means the same in both. Each table needs two kinds of full pass only:
one z-score over all its numbers together, and its vocabularies.
"""

import tensorflow as tf
import tensorflow_transform as tft

from models import features

# Keys of the transformed tables.
NUMERIC = "numeric"
CITY = "city"
CATEGORIES = "categories"
ATTRIBUTES = "attributes"
REVIEW_TERMS = "review_terms"

# Key of `custom_config`: whether businesses have the terms of their reviews.
WITH_REVIEW_TERMS = "with_review_terms"

# The most tokens that a vocabulary keeps, by frequency; the rest share one out-of-vocabulary row.
MAX_CITIES = 2_000
MAX_CATEGORIES = 4_000
MAX_ATTRIBUTES = 1_000
MAX_REVIEW_TERMS = 8_000

# Farthest a z-score reaches, in standard deviations: one absurd count must not steer a tower.
MAX_Z_SCORE = 8.0


def preprocess_users(inputs: dict) -> dict:
    """Turns raw users into one id and one float vector each.

    Args:
      inputs: Features of `schemas/users.pbtxt`; the optional ones as `tf.SparseTensor`.

    Returns:
      `user_id`, a `[batch, 1]` string tensor, and `numeric`, a `[batch, 19]` float32 tensor of
      z-scores: the time of joining, logarithms of counts, and whether there is a profile at all.
    """
    counts = (features.USER_NUM_ELITE_YEARS, features.USER_NUM_FRIENDS, *features.USER_COUNTS)
    raw = _dense([inputs[name] for name in (features.USER_YELPING_SINCE_SECONDS, *counts)])
    since = raw[:, :1]
    return {
        features.USER_ID: inputs[features.USER_ID],
        NUMERIC: _z_scores(tf.concat([since, tf.math.log1p(raw[:, 1:])], axis=1), flagged=since),
    }


def preprocess_businesses(inputs: dict, custom_config: dict | None = None) -> dict:
    """Turns raw businesses into an id, one float vector, a city and bags of tokens each.

    Args:
      inputs: Features of `schemas/businesses.pbtxt`; the optional ones as `tf.SparseTensor`.
      custom_config: `WITH_REVIEW_TERMS`, False by default, says whether there is a third bag.

    Returns:
      `business_id`, a `[batch, 1]` string tensor; `numeric`, a `[batch, 8]` float32 tensor of
      z-scores and presence flags; `city`, a `[batch]` int64 tensor; `categories` and
      `attributes`, and `review_terms` if asked for, int64 `tf.SparseTensor`s of vocabulary
      positions.
    """
    position = _dense([
        inputs[features.BUSINESS_LATITUDE_DEGREES],
        inputs[features.BUSINESS_LONGITUDE_DEGREES],
    ])
    price_and_open = _dense([
        inputs[features.BUSINESS_PRICE_RANGE],
        inputs[features.BUSINESS_IS_OPEN],
    ])
    week_hours = _week_hours(inputs)
    city = tf.sparse.to_dense(_column(inputs[features.BUSINESS_CITY]), default_value="")[:, 0]
    outputs = {
        features.BUSINESS_ID: inputs[features.BUSINESS_ID],
        NUMERIC: _z_scores(
            tf.concat([position, price_and_open, week_hours], axis=1),
            flagged=tf.concat([position[:, :1], price_and_open[:, :1], week_hours], axis=1),
        ),
        CITY: _vocabulary(city, CITY, MAX_CITIES),
        CATEGORIES: _vocabulary(inputs[features.BUSINESS_CATEGORIES], CATEGORIES, MAX_CATEGORIES),
        ATTRIBUTES: _vocabulary(inputs[features.BUSINESS_ATTRIBUTES], ATTRIBUTES, MAX_ATTRIBUTES),
    }
    if (custom_config or {}).get(WITH_REVIEW_TERMS):
        terms = inputs[features.BUSINESS_REVIEW_TERMS]
        outputs[REVIEW_TERMS] = _vocabulary(terms, REVIEW_TERMS, MAX_REVIEW_TERMS)
    return outputs


def _vocabulary(tokens: tf.Tensor | tf.SparseTensor, name: str, top_k: int):
    return tft.compute_and_apply_vocabulary(
        tokens, top_k=top_k, num_oov_buckets=1, vocab_filename=name
    )


def _column(sparse: tf.SparseTensor) -> tf.SparseTensor:
    """Narrows a sparse tensor to the first value of each row, shape `[batch, 1]`."""
    first = tf.sparse.retain(sparse, sparse.indices[:, 1] < 1)
    return tf.SparseTensor(first.indices, first.values, [sparse.dense_shape[0], 1])


def _dense(columns: list[tf.SparseTensor]) -> tf.Tensor:
    """Lays the first values of optional features side by side, NaN where a row has none.

    All features together, as the graph is traced and loaded many times: its size is most of what
    Transform costs on small data.

    Args:
      columns: Numeric features of one type, each of shape `[batch, any]`.

    Returns:
      A `[batch, len(columns)]` float32 tensor.
    """
    indices = tf.concat([column.indices for column in columns], axis=0)
    values = tf.cast(tf.concat([column.values for column in columns], axis=0), tf.float32)
    places = tf.repeat(
        tf.range(len(columns), dtype=tf.int64), [tf.size(column.values) for column in columns]
    )
    is_first = indices[:, 1] < 1
    where = tf.stack([indices[:, 0], places], axis=1)
    return tf.tensor_scatter_nd_update(
        tf.fill([columns[0].dense_shape[0], tf.constant(len(columns), tf.int64)], float("nan")),
        tf.boolean_mask(where, is_first),
        tf.boolean_mask(values, is_first),
    )


def _week_hours(inputs: dict) -> tf.Tensor:
    """Returns a `[batch, 1]` tensor: hours a week that a place is open, NaN where it gives none."""
    opening = inputs[features.BUSINESS_OPENING_MINUTES]
    closing = inputs[features.BUSINESS_CLOSING_MINUTES]
    minutes = tf.sparse.map_values(
        lambda o, c: tf.cast(tf.where(o >= 0, c - o, 0), tf.float32), opening, closing
    )
    hours = tf.reshape(tf.sparse.reduce_sum(minutes, axis=1), [-1, 1]) / 60.0
    return tf.where(tf.math.is_nan(_dense([opening])), float("nan"), hours)


def _z_scores(raw: tf.Tensor, flagged: tf.Tensor) -> tf.Tensor:
    """Scales columns to mean 0 and variance 1, and appends presence flags.

    The scaling is one analysis for all columns; it ignores NaN, which then becomes 0, the mean. An
    infinite value is as good as none: it would make the mean of its column infinite.

    Args:
      raw: `[batch, num_columns]` float32.
      flagged: Those of the columns whose presence is told.
    """
    raw = tf.where(tf.math.is_finite(raw), raw, float("nan"))
    scaled = tft.scale_to_z_score(raw, elementwise=True)
    scaled = tf.where(tf.math.is_finite(scaled), scaled, 0.0)
    scaled = tf.clip_by_value(scaled, -MAX_Z_SCORE, MAX_Z_SCORE)
    return tf.concat([scaled, tf.cast(tf.math.is_finite(flagged), tf.float32)], axis=1)
