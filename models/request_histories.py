"""Embeds users as a request tells of them: by covariates, and by where they have been."""

from collections.abc import Mapping

import tensorflow as tf

from models import features
from models.exported_tables import ExportedTables
from models.factors import fold_in
from models.low_pass import pass_histories
from models.search import gather_rows
from models.signature_inputs import one_row_each


def encode(
    exported: ExportedTables,
    encoder: tf.Module,
    covariates: Mapping[str, tf.Tensor],
    history_business_id: tf.Tensor,
    history_stars: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeds a batch of users; what has one row holds for all of them.

    Args:
      exported: The tables of an export.
      encoder: Its query encoder.
      covariates: By the names of `USER_COVARIATES`, `[batch]` int64 tensors; -1 if not known.
      history_business_id: `[batch, length]` string tensor, padded with "".
      history_stars: `[batch, length]` float32 tensor; 0 where no opinion was given.

    Returns:
      A `[batch, dim]` float32 tensor of query embeddings, and a `[batch, length]` int32 tensor with
      the rows of the businesses that they name, padded with the number of businesses.
    """
    sizes = [tf.size(values) for values in covariates.values()]
    batch = tf.reduce_max([tf.shape(history_business_id)[0], *sizes])
    covariates = one_row_each(covariates, batch)
    history = one_row_each({"ids": history_business_id, "stars": history_stars}, batch)
    rows = tf.cast(exported.business_rows.lookup(history["ids"]), tf.int32)
    stars = history["stars"]
    given = history["ids"] != ""
    same = tf.debugging.assert_equal(
        tf.shape(rows),
        tf.shape(stars),
        "history_business_id and history_stars must have the same shape [batch, length]; pad "
        "the ids with '' and the stars with 0.",
    )
    in_range = tf.debugging.Assert(
        # What is not a number is in no range.
        tf.reduce_all((stars >= 0) & (stars <= features.MAX_STARS)),
        [f"history_stars must be from 0 (no opinion) to {features.MAX_STARS:.0f}."],
    )
    # Nothing may run before the checks, or its own error could come first.
    with tf.control_dependencies([same, in_range]):
        stars = tf.identity(stars)
    rated = given & (stars >= features.MIN_STARS)
    known = given & (rows < exported.num_businesses)
    visits = tf.ragged.boolean_mask(rows, known)
    visited = visits.values
    candidates = gather_rows(exported.candidate_embeddings, visited)
    direction_dim = exported.tables.direction_dim
    queries = encoder.encode(
        covariates,
        _sum_ratings(exported, rows, stars, rated),
        # What training learnt under a user's id is nobody else's.
        tf.zeros([batch, direction_dim]),
        candidates[:, :direction_dim],
        tf.gather(exported.history_weights, visited),
        # Rows of what was just gathered.
        visits.with_values(tf.range(tf.size(visited), dtype=tf.int32)),
    )
    queries = _insert_low_pass(exported, queries, visits.with_values(candidates), visited)
    queries = _insert_factors(exported, queries, rows, stars, rated)
    return queries, tf.where(known, rows, exported.num_businesses)


def _sum_ratings(exported: ExportedTables, rows, stars, rated) -> tf.Tensor:
    """Sums a request's ratings as `models.aggregates.sum_ratings` sums training ratings."""
    residual = stars - exported.mean_stars - tf.gather(exported.business_bias, rows)
    columns = [
        tf.ones_like(residual),
        residual,
        residual**2,
        tf.cast(stars > 4.5, tf.float32),
        tf.cast(stars < 1.5, tf.float32),
        # When they were made is not told: of the age that is usual in training.
        tf.fill(tf.shape(residual), exported.mean_age_years),
    ]
    taste = tf.gather(exported.taste, rows)
    columns = tf.concat([tf.stack(columns, axis=2), taste, residual[:, :, None] * taste], axis=2)
    return tf.reduce_sum(columns * tf.cast(rated, tf.float32)[:, :, None], axis=1)


def _insert_low_pass(exported: ExportedTables, queries, candidates, visited) -> tf.Tensor:
    """Puts what a history says of the low-pass block at the end of the retrieval block."""
    start, stop = exported.tables.low_pass_start, exported.tables.retrieval_dim
    if start == stop:
        return queries
    block = pass_histories(
        candidates.with_values(candidates.values[:, start:stop]),
        tf.gather(exported.low_pass_history_weights, visited),
        exported.low_pass_weight,
    )
    return tf.concat([queries[:, :start], block, queries[:, start:]], axis=1)


def _insert_factors(exported: ExportedTables, queries, rows, stars, rated) -> tf.Tensor:
    """Puts the factors of what was rated where the rating block begins."""
    factor_dim = len(exported.tables.factor_ridge)
    if not factor_dim:
        return queries
    start = exported.tables.retrieval_dim
    candidates = gather_rows(exported.candidate_embeddings, rows)[:, :, start:]
    predicted = tf.einsum("bd,bld->bl", queries[:, start:], candidates[:, :, factor_dim:])
    residuals = stars - tf.clip_by_value(predicted, features.MIN_STARS, features.MAX_STARS)
    factors = fold_in(candidates[:, :, :factor_dim], residuals, rated, exported.factor_ridge)
    return tf.concat(
        [queries[:, :start], exported.factor_weight * factors, queries[:, start:]], axis=1
    )
