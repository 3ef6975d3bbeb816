"""Baselines that are no inner products, as TensorFlow ops that a fallback is served with.

An embedding then holds what its scorer looks the rest up by. Rows of users and businesses are
such coordinates: single precision counts to 16 million without a gap, beyond any table that a
quadratic baseline is fitted on.
"""

import numpy as np
import scipy.sparse
import tensorflow as tf

from models import features
from models.baselines.sparse_rows import SparseRows
from models.baselines.tree_ensemble import TreeEnsemble

# Bounds the memory of a block of similarities, and of the products that they are sums of.
_BLOCK_CELLS = 8_000_000
_MAX_BLOCK_PAIRS = 256

# Where a scorer of lists has nothing to say, the inner product of the embeddings does.
NOTHING = float("-inf")


class TreeScorer(tf.Module):
    """Predicts stars by trees: the features of a pair are the sum of both its embeddings."""

    def __init__(self, trees: TreeEnsemble):
        super().__init__(name="tree_scorer")
        self._trees = trees

    def __call__(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Predicts: see `interface.PairScores`."""
        stars = self._trees(queries + candidates)
        return tf.clip_by_value(stars, features.MIN_STARS, features.MAX_STARS)


class NeighbourScorer(tf.Module):
    """Predicts stars as `rating_neighbours.RatingNeighbours` does.

    The inner product is what the bias model says; the user's row is the last but one coordinate of
    queries, the business's the last of candidates, each 0 on the other side.
    """

    def __init__(
        self,
        scaled: scipy.sparse.csr_matrix,
        residuals: scipy.sparse.csr_matrix,
        by_user: bool,
        num_neighbours: int,
        weight: float,
    ):
        """Takes what the model has learnt.

        Args:
          scaled: `[num_rows, num_columns]`: inner products of its rows are similarities.
          residuals: `[num_columns, num_rows]`, in stars.
          by_user: Whether rows are users and columns businesses, or the other way.
          num_neighbours: Neighbours that count at most.
          weight: Added to the sum of similarities.
        """
        super().__init__(name="neighbour_scorer")
        by_column = scaled.T.tocsr()
        self._scaled, self._scaled_by_column = SparseRows(scaled), SparseRows(by_column)
        stored = scipy.sparse.csr_matrix(
            (np.ones(scaled.nnz), scaled.indices, scaled.indptr), scaled.shape
        )
        most = max(scaled.shape[0], (stored @ np.diff(by_column.indptr)).max(initial=1))
        self._block_pairs = int(np.clip(_BLOCK_CELLS // most, 1, _MAX_BLOCK_PAIRS))
        self._residuals = SparseRows(residuals)
        self._by_user, self._num_neighbours, self._weight = by_user, num_neighbours, weight

    def __call__(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Predicts: see `interface.PairScores`."""
        rows, columns = as_row(queries[:, -2]), as_row(candidates[:, -1])
        if not self._by_user:
            rows, columns = columns, rows
        num_pairs = tf.size(rows)
        missing = -num_pairs % self._block_pairs
        blocks = [
            tf.reshape(
                tf.pad(side, [[0, missing]], constant_values=nobody), [-1, self._block_pairs]
            )
            for side, nobody in ((rows, self._scaled.num_rows), (columns, self._residuals.num_rows))
        ]
        deviations = tf.map_fn(
            lambda pairs: self._deviations(*pairs), tuple(blocks), fn_output_signature=tf.float32
        )
        deviations = tf.reshape(deviations, [-1])[:num_pairs]
        stars = tf.reduce_sum(queries * candidates, axis=1) + deviations
        return tf.clip_by_value(stars, features.MIN_STARS, features.MAX_STARS)

    def _deviations(self, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Averages the neighbours' residuals, `[num_pairs]`."""
        asked, places = tf.unique(rows)
        similarity = self._scaled.matmul(asked, self._scaled_by_column)
        raters, residuals = self._residuals.gather(columns)
        pairs = raters.value_rowids()
        cells = tf.stack([tf.gather(places, pairs), raters.values], axis=1)
        itself = raters.values == tf.gather(rows, pairs)
        weights = tf.where(itself, 0.0, tf.nn.relu(tf.gather_nd(similarity, cells)))
        weights, residuals = raters.with_values(weights).to_tensor(), residuals.to_tensor()
        nearest = tf.math.top_k(weights, tf.minimum(self._num_neighbours, tf.shape(weights)[1]))
        residuals = tf.gather(residuals, nearest.indices, batch_dims=1)
        total = tf.reduce_sum(nearest.values * residuals, axis=1)
        return total / (tf.reduce_sum(nearest.values, axis=1) + self._weight)


class ItemNeighbourScorer(tf.Module):
    """Scores the catalogue as `item_neighbours.ItemNeighbours` does.

    The user's row is the first coordinate of queries.
    """

    def __init__(self, visits: scipy.sparse.csr_matrix, similarity: scipy.sparse.csr_matrix):
        """Takes what the model has learnt.

        Args:
          visits: `[num_users, num_businesses]`, ones where a user was.
          similarity: `[num_businesses, num_businesses]`, a row the neighbours of a business.
        """
        super().__init__(name="item_neighbour_scorer")
        self._visits, self._similarity = SparseRows(visits), SparseRows(similarity)

    def __call__(self, queries: tf.Tensor) -> tf.Tensor:
        """Scores: see `interface.ListScores`."""
        scores = self._visits.matmul(as_row(queries[:, 0]), self._similarity)
        scores = tf.where(scores > 0, scores, NOTHING)
        return tf.pad(scores, [[0, 0], [0, 1]], constant_values=NOTHING)


class EaseScorer(tf.Module):
    """Scores the catalogue as `ease.Ease` does.

    The user's row is the first coordinate of queries.
    """

    def __init__(
        self,
        visits: scipy.sparse.csr_matrix,
        user_places: np.ndarray,
        business_places: np.ndarray,
        inverse: np.ndarray,
        diagonal: np.ndarray,
        by_user: bool,
    ):
        """Takes what the model has learnt.

        Args:
          visits: `[num_active_users, num_active_businesses]`, ones where a user was.
          user_places: `[num_users]` integer array of rows of `visits`, -1 for none.
          business_places: `[num_businesses]` integer array of columns of `visits`, -1 for none.
          inverse: Of the users' Gram matrix or of the businesses', float32.
          diagonal: `[num_active_businesses]` float32 array: what smoothed visits are divided by.
          by_user: Whose Gram matrix it is.
        """
        super().__init__(name="ease_scorer")
        self._visits = SparseRows(visits)
        # Who is unknown, and the row that is no business, have no place either.
        self._user_places, self._business_places = (
            tf.Variable(np.append(places, -1).astype(np.int32), trainable=False)
            for places in (user_places, business_places)
        )
        self._inverse = tf.Variable(inverse, trainable=False)
        self._diagonal = tf.Variable(diagonal, trainable=False)
        self._by_user = by_user

    def __call__(self, queries: tf.Tensor) -> tf.Tensor:
        """Scores: see `interface.ListScores`."""
        places = tf.gather(self._user_places, as_row(queries[:, 0]))
        is_known = places >= 0
        places = tf.maximum(places, 0)
        visited = self._visits.to_sparse(places)
        if self._by_user:
            everything = self._visits.to_sparse(tf.range(self._visits.num_rows))
            weights = tf.gather(self._inverse, places)
            smoothed = tf.transpose(
                tf.sparse.sparse_dense_matmul(everything, weights, adjoint_a=True, adjoint_b=True)
            )
        else:
            smoothed = tf.sparse.sparse_dense_matmul(visited, self._inverse)
        scores = tf.sparse.add(visited, -smoothed / self._diagonal)
        # What nobody visited is scored 0.
        columns = tf.where(
            self._business_places < 0, self._visits.num_columns, self._business_places
        )
        scores = tf.gather(tf.pad(scores, [[0, 0], [0, 1]]), columns, axis=1)
        return tf.where(is_known[:, None], scores, NOTHING)


def as_row(coordinate: tf.Tensor) -> tf.Tensor:
    """Returns the row of a table that a coordinate of an embedding holds, int32."""
    return tf.cast(tf.round(coordinate), tf.int32)
