"""Ranked lists from dense scores, from sparse scores, and for users who did nothing yet."""

from collections.abc import Callable

import numpy as np
import scipy.sparse
import tensorflow as tf

from models import metrics
from models.baselines.interface import BaselineData, ListScores, RetrievalModel, Servable
from models.baselines.neighbours import keep_largest
from models.baselines.popularity import Popularity
from models.tables import Bag, Interactions


def visits(
    interactions: Interactions, num_users: int, num_businesses: int
) -> scipy.sparse.csr_matrix:
    """Builds the incidence R of users and businesses.

    Returns:
      A `[num_users, num_businesses]` float32 matrix of zeros and ones.
    """
    pairs = (interactions.user_rows, interactions.business_rows)
    values = np.ones(len(interactions), np.float32)
    matrix = scipy.sparse.csr_matrix((values, pairs), shape=(num_users, num_businesses))
    matrix.data[:] = 1.0  # Repeated visits were summed.
    return matrix


class WithPopularity:
    """Gives users without interactions the most visited businesses, others a model's lists."""

    def __init__(self, model: RetrievalModel, interactions: Interactions, data: BaselineData):
        """Counts.

        Args:
          model: Ranks for users with interactions.
          interactions: What the model was fitted on.
          data: Holds the numbers of users and businesses.
        """
        self._model = model
        self._popularity = Popularity(interactions, data.num_businesses)
        self._is_known = np.bincount(interactions.user_rows, minlength=data.num_users) > 0

    def recommend(self, user_rows: np.ndarray, k: int, seen: Bag) -> np.ndarray:
        """Lists the best businesses: see `RetrievalModel`."""
        lists = self._popularity.recommend(user_rows, k, seen)
        known = np.flatnonzero(self._is_known[user_rows])
        if len(known):
            lists[known] = self._model.recommend(user_rows[known], k, seen.take(known))
        return lists

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`."""
        if isinstance(self._model, ListScores):
            return by_row(self._popularity, num_users, num_businesses)
        assert isinstance(self._model, Servable)
        queries, candidates = self._model.embeddings(num_users, num_businesses)
        # One coordinate more ranks for users without interactions.
        is_new = np.append(~self._is_known, True)[:, None]
        _, popularity = self._popularity.embeddings(num_users, num_businesses)
        return np.hstack([queries * ~is_new, is_new]), np.hstack([candidates, popularity])

    def list_scorer(self) -> tf.Module | None:
        """Makes what scores for known users: see `ListScores`."""
        return self._model.list_scorer() if isinstance(self._model, ListScores) else None


class FactorModel:
    """Ranks by the inner products of embeddings."""

    def __init__(self, embed: Callable[[np.ndarray], np.ndarray], candidates: np.ndarray):
        """Takes both sides.

        Args:
          embed: Maps a `[num_users]` integer array of user rows to `[num_users, dim]` float32.
          candidates: `[num_businesses, dim]` float32 array.
        """
        self._embed = embed
        self._candidates = candidates

    def recommend(self, user_rows: np.ndarray, k: int, seen: Bag) -> np.ndarray:
        """Lists the best businesses: see `RetrievalModel`."""
        return metrics.top_k(self._embed(user_rows), self._candidates, k, seen)

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`; new users and businesses are zeros."""
        del num_businesses
        sides = (self._embed(np.arange(num_users)), self._candidates)
        return tuple(np.pad(side, [(0, 1), (0, 0)]) for side in sides)  # type: ignore[return-value]


def by_row(
    popularity: Popularity, num_users: int, num_businesses: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lays out both sides for a scorer that goes by the row of a user.

    Returns:
      See `Servable`: the row comes first; inner products are the popularity, below 0, so that
      whatever is scored over it comes before.
    """
    ones, places = popularity.embeddings(num_users, num_businesses)
    queries = np.hstack([np.arange(num_users + 1)[:, None], ones])
    return queries, np.hstack([np.zeros_like(places), places - 1.0])


def rank_dense(scores: np.ndarray, k: int, seen: Bag) -> np.ndarray:
    """Ranks a block of dense scores.

    Args:
      scores: `[num_users, num_businesses]` float array; it is overwritten.
      k: Length of the lists.
      seen: Business rows to leave out, by user.

    Returns:
      `[num_users, min(k, num_businesses)]` int32 array, best first, -1 where a list ran out.
    """
    k = min(k, scores.shape[1])
    scores[np.repeat(np.arange(len(scores)), seen.lengths()), seen.values] = -np.inf
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    best_scores = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -best_scores), axis=1)
    best, best_scores = (np.take_along_axis(x, order, axis=1) for x in (best, best_scores))
    return np.where(np.isfinite(best_scores), best, -1).astype(np.int32)


def rank_sparse(
    scores: scipy.sparse.csr_matrix, k: int, seen: Bag, popularity: Popularity
) -> np.ndarray:
    """Ranks a block of sparse scores; the most visited businesses fill up short lists.

    Args:
      scores: `[num_users, num_businesses]` sparse matrix; only what is over 0 is ranked.
      k: Length of the lists.
      seen: Business rows to leave out, by user.
      popularity: Fills up.

    Returns:
      `[num_users, min(k, num_businesses)]` int32 array, best first, -1 where a list ran out.
    """
    num_users, k = scores.shape[0], min(k, scores.shape[1])
    left_out = scipy.sparse.csr_matrix(
        (np.full(len(seen.values), np.inf), seen.values, seen.row_splits), scores.shape
    )
    found = keep_largest(scores - left_out, k)
    num_found = np.diff(found.indptr)
    rows = np.repeat(np.arange(num_users), num_found)
    not_again = Bag.from_pairs(
        np.concatenate([rows, np.repeat(np.arange(num_users), seen.lengths())]),
        np.concatenate([found.indices, seen.values]),
        num_users,
    )
    popular = popularity.recommend(np.arange(num_users), k, not_again)
    # Row by row: what was found, then as many of the popular ones as are missing.
    shifted = np.maximum(np.arange(k) - num_found[:, None], 0)
    lists = np.take_along_axis(popular, shifted, axis=1)
    lists[rows, np.arange(len(rows)) - found.indptr[rows]] = found.indices
    return lists
