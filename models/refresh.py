"""Embeds users and businesses anew in an export, by the towers that it was trained with.

An exact export keeps what that takes: the candidate tower from raw businesses on, what training
learnt under ids, and the ratings behind each user's history.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models import candidate_encoder
from models.aggregates import sum_side
from models.places import Places
from models.query_encoder import USER_COVARIATES
from models.recommender_tables import RecommenderTables
from models.tables import Bag, IdIndex, Interactions
from models.towers import TASTE

_BLOCK_ROWS = 4_096


class Refreshable(tf.Module):
    """What an export keeps beside its tables, to embed users and businesses anew."""

    def __init__(
        self,
        candidate_encoder: tf.Module,
        training_rows: np.ndarray,
        user_vectors: np.ndarray,
        seen_stars: np.ndarray,
        seen_ages_years: np.ndarray,
    ):
        """Wraps all of it.

        Args:
          candidate_encoder: A `CandidateEncoder`, or one that was restored from an export.
          training_rows: `[num_businesses]` int32 array: rows in training, -1 for a new business.
          user_vectors: `[num_users, embedding_dim]` float16 array: what training learnt under each
            user's id; without rows where it learnt nothing.
          seen_stars: `[num_seen]` float16 array: the stars of `RecommenderTables.seen`.
          seen_ages_years: `[num_seen]` float16 array: how long before the newest rating each was.
        """
        super().__init__(name="refreshable")
        self.candidate_encoder = candidate_encoder
        self.training_rows = tf.Variable(training_rows, trainable=False, dtype=tf.int32)
        self.user_vectors = tf.Variable(user_vectors, trainable=False, dtype=tf.float16)
        self.seen_stars = tf.Variable(seen_stars, trainable=False, dtype=tf.float16)
        self.seen_ages_years = tf.Variable(seen_ages_years, trainable=False, dtype=tf.float16)


@dataclasses.dataclass(frozen=True)
class Export:
    """An export in memory: its tables, its query encoder and what it keeps to be refreshed.

    Attributes:
      tables: Ids, embeddings and facts.
      encoder: The query encoder.
      refreshable: See there.
    """

    tables: RecommenderTables
    encoder: tf.Module
    refreshable: tf.Module


def of_training(
    encoder: tf.Module, user_vectors: np.ndarray, fitted: Interactions, sizes: tuple[int, int]
) -> Refreshable:
    """Gathers what is to be kept of a training.

    Args:
      encoder: A `CandidateEncoder`.
      user_vectors: `[num_users, embedding_dim]` float32 array, or one without rows.
      fitted: The interactions that the model learnt from.
      sizes: Users and businesses.
    """
    # In the order of `Interactions.histories`.
    order = np.argsort(fitted.user_rows, kind="stable")
    return Refreshable(
        encoder,
        np.arange(sizes[1], dtype=np.int32),
        user_vectors.astype(np.float16),
        fitted.stars[order].astype(np.float16),
        fitted.ages_years()[order].astype(np.float16),
    )


def refresh_businesses(
    export: Export, business_ids: np.ndarray, examples: np.ndarray, places: Places
) -> Export:
    """Embeds the businesses of a new catalogue, and drops all others.

    Args:
      export: An export.
      business_ids: `[num_businesses]` array of `bytes`, sorted.
      examples: `[num_businesses]` array of `bytes`: their raw tf.Examples.
      places: Their facts.

    Returns:
      The export over the new catalogue; users stay as they are, but for what they have seen of
      businesses that are gone.
    """
    tables, kept = export.tables, export.refreshable
    earlier = IdIndex(tables.business_ids).rows(business_ids)
    known = earlier >= 0
    training_rows = np.where(known, kept.training_rows.numpy()[earlier], -1).astype(np.int32)
    embedded = [
        kept.candidate_encoder.encode(
            tf.constant(examples[start : start + _BLOCK_ROWS], tf.string),
            tf.constant(training_rows[start : start + _BLOCK_ROWS]),
        )
        for start in range(0, len(examples), _BLOCK_ROWS)
    ]
    towers, taste, bias = (
        np.concatenate([block[key].numpy() for block in embedded])
        for key in (candidate_encoder.EMBEDDING, TASTE, candidate_encoder.BIAS)
    )
    # An unknown business is row -1, the last one, which has zeros there.
    candidates = _insert(tables, towers, tables.candidate_embeddings[earlier])
    seen, is_left = _follow(tables.seen, earlier, len(tables.business_ids))
    return dataclasses.replace(
        export,
        tables=dataclasses.replace(
            tables,
            business_ids=business_ids,
            candidate_embeddings=np.concatenate([candidates, tables.candidate_embeddings[-1:]]),
            seen=seen,
            business_bias=np.where(known, tables.business_bias[earlier], bias).astype(np.float32),
            taste=taste,
            # Without ratings, a count of zero has the weight of one.
            history_weights=np.where(known, tables.history_weights[earlier], 1.0).astype(
                np.float32
            ),
            places=places,
            low_pass_history_weights=np.where(
                known, tables.low_pass_history_weights[earlier], 1.0
            ).astype(np.float32)
            if tables.low_pass_dim
            else tables.low_pass_history_weights,
        ),
        refreshable=Refreshable(
            kept.candidate_encoder,
            training_rows,
            kept.user_vectors.numpy(),
            kept.seen_stars.numpy()[is_left],
            kept.seen_ages_years.numpy()[is_left],
        ),
    )


def refresh_users(
    export: Export, user_ids: np.ndarray, covariates: Mapping[str, np.ndarray]
) -> Export:
    """Embeds the users of a new list, and drops all others.

    Args:
      export: An export.
      user_ids: `[num_users]` array of `bytes`, sorted.
      covariates: By the names of `USER_COVARIATES`, `[num_users]` int64 arrays; -1 where nothing is
        known.

    Returns:
      The export over the new users; the history of one who was known before is kept.
    """
    tables, kept = export.tables, export.refreshable
    earlier = IdIndex(tables.user_ids).rows(user_ids)
    # Whoever is new has the history of the row behind the last, none.
    histories = Bag(
        tables.seen.values, np.append(tables.seen.row_splits, tables.seen.row_splits[-1])
    )
    numbered = Bag(np.arange(len(tables.seen.values)), histories.row_splits)
    rows = np.where(earlier < 0, len(tables.user_ids), earlier)
    seen, places = histories.take(rows), numbered.take(rows).values
    stars = kept.seen_stars.numpy()[places].astype(np.float32)
    ages_years = kept.seen_ages_years.numpy()[places].astype(np.float32)
    vectors = kept.user_vectors.numpy()
    dim = tables.direction_dim
    if len(vectors):
        vectors = np.concatenate([vectors, np.zeros([1, dim], np.float16)])[rows]
    sums = _sum_histories(tables, seen, stars, ages_years)
    blocks = [np.zeros([0, tables.low_pass_start + tables.rating_dim - len(tables.factor_ridge)])]
    for start in range(0, len(user_ids), _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, len(user_ids)))
        bag = seen.take(np.arange(block.start, block.stop))
        own = vectors[block] if len(vectors) else np.zeros([block.stop - block.start, dim])
        blocks.append(
            export.encoder.encode(
                {key: tf.constant(covariates[key][block], tf.int64) for key in USER_COVARIATES},
                tf.constant(sums[block]),
                tf.constant(own, tf.float32),
                tf.constant(tables.candidate_embeddings[bag.values, :dim]),
                tf.constant(tables.history_weights[bag.values]),
                tf.RaggedTensor.from_row_splits(
                    tf.range(len(bag.values), dtype=tf.int32), bag.row_splits
                ),
            ).numpy()
        )
    # A new user is row -1, the last one, who has zeros there.
    queries = _insert(tables, np.concatenate(blocks), tables.query_embeddings[earlier])
    return dataclasses.replace(
        export,
        tables=dataclasses.replace(
            tables,
            user_ids=user_ids,
            query_embeddings=np.concatenate([
                queries.astype(np.float16),
                tables.query_embeddings[-1:],
            ]),
            seen=seen,
        ),
        refreshable=Refreshable(
            kept.candidate_encoder,
            kept.training_rows.numpy(),
            vectors.astype(np.float16),
            stars.astype(np.float16),
            ages_years.astype(np.float16),
        ),
    )


def _sum_histories(
    tables: RecommenderTables, seen: Bag, stars: np.ndarray, ages_years: np.ndarray
) -> np.ndarray:
    """Sums users' ratings as training did, `[num_users, user_sums_dim]` float32."""
    residual = stars - tables.mean_stars - tables.business_bias[seen.values]
    return sum_side(
        np.repeat(np.arange(seen.num_rows), seen.lengths()),
        stars,
        residual,
        ages_years,
        seen.values,
        tables.taste,
        seen.num_rows,
    )


def _follow(seen: Bag, earlier: np.ndarray, num_earlier: int) -> tuple[Bag, np.ndarray]:
    """Renames rows of businesses to where they are now, and leaves out those that are gone.

    Returns:
      The lists, and which of the values are left, `[num_values]` bool.
    """
    now = np.full(num_earlier, -1, np.int32)
    now[earlier[earlier >= 0]] = np.flatnonzero(earlier >= 0)
    values = now[seen.values]
    is_left = values >= 0
    before = np.concatenate([[0], np.cumsum(is_left)])
    return Bag(values[is_left], before[seen.row_splits]), is_left


def _insert(tables: RecommenderTables, towers: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Takes what is in closed form over from earlier embeddings, between the towers' blocks."""
    start, stop = tables.low_pass_start, tables.retrieval_dim + len(tables.factor_ridge)
    return np.concatenate([towers[:, :start], earlier[:, start:stop], towers[:, start:]], axis=1)
