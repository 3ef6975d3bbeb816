"""Baseline-centred nearest neighbours, of users or of businesses.

Nothing quadratic is kept: similarities are computed for the rows that are asked for, a block at a
time, out of the sparse residuals.
"""

import dataclasses

import numpy as np
import scipy.sparse

from models.baselines.choosing import choose, clip, rmse
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.neighbours import keep_largest
from models.baselines.scorers import NeighbourScorer
from models.bias import BiasModel, choose_shrinkages, fit_bias
from models.tables import Interactions

# Similarities that a block of pairs takes at most, which bounds its memory.
_BLOCK_ENTRIES = 5_000_000
# Measured: of one product of residuals.
_SECONDS_PER_PRODUCT = 5e-8


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """How far neighbours are trusted.

    Attributes:
      norm: Added to a row's sum of squared residuals, in squared stars, before similarities are
        computed: rows with few ratings resemble nobody much.
      weight: Added to the sum of similarities that a prediction is divided by.
      num_neighbours: Raters of the same business (or businesses rated by the same user), the most
        similar ones, that count at most.
    """

    norm: float
    weight: float
    num_neighbours: int


# Tried in this order.
SMOOTHINGS = (
    *(Smoothing(norm, weight, 60) for weight in (0.5, 2.0, 0.1) for norm in (10.0, 50.0, 2.0)),
    Smoothing(10.0, 0.5, 20),
)


class RatingNeighbours:
    """Predicts bias + Σ s e / (Σ s + weight) over similar rows' residuals e of the same column.

    Similarity is the cosine of residuals from the bias model, unrated cells being 0:
    s = ⟨e_r, e_r'⟩ / √((|e_r|² + norm)(|e_r'|² + norm)); rows of negative similarity do not count.

    Source: Koren, "Factor in the neighbors: scalable and accurate collaborative filtering" (2010),
    section 3.1.
    """

    def __init__(
        self, interactions: Interactions, bias: BiasModel, by_user: bool, smoothing: Smoothing
    ):
        """Computes the residuals.

        Args:
          interactions: Ratings to learn from.
          bias: The bias model fitted on them.
          by_user: Whether rows are users and columns businesses, or the other way.
          smoothing: How far neighbours are trusted.
        """
        self._bias, self._by_user, self._smoothing = bias, by_user, smoothing
        rows, columns = self._sides(interactions.user_rows, interactions.business_rows)
        shape = self._sides(len(bias.user_bias), len(bias.business_bias))
        residuals = interactions.stars - self._baseline(
            interactions.user_rows, interactions.business_rows
        )
        total = scipy.sparse.csr_matrix((residuals, (rows, columns)), shape)
        counts = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
        total.data /= counts.data  # The mean of repeated ratings.
        squares = np.asarray(total.multiply(total).sum(axis=1)).ravel()
        scale = 1.0 / np.sqrt(squares + smoothing.norm)
        self._scaled = (scipy.sparse.diags(scale) @ total).tocsr()
        self._scaled_by_column = self._scaled.T.tocsr()
        self._raters = counts.T.tocsr()
        self._raters.data[:] = 1.0
        self._residuals = total.T.tocsr()
        # An upper bound: who has a column in common with a row, counted once for each.
        in_common = counts.astype(bool) @ np.diff(self._raters.indptr)
        self._num_similar = np.minimum(in_common, shape[0])

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs: see `RatingModel`."""
        predicted = self._baseline(user_rows, business_rows)
        rows, columns = self._sides(user_rows, business_rows)
        by_row = np.argsort(rows, kind="stable")
        ends = np.cumsum(self._num_similar[rows[by_row]]) // _BLOCK_ENTRIES
        for pairs in np.split(by_row, np.flatnonzero(np.diff(ends)) + 1):
            predicted[pairs] += self._deviation(rows[pairs], columns[pairs])
        return clip(predicted)

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out the bias model, and the rows that `pair_scorer` goes by: see `Servable`."""
        queries, candidates = self._bias.embeddings(num_users, num_businesses)
        users, businesses = np.arange(num_users + 1), np.arange(num_businesses + 1)
        return (
            np.column_stack([queries, users, np.zeros_like(users)]),
            np.column_stack([candidates, np.zeros_like(businesses), businesses]),
        )

    def pair_scorer(self) -> NeighbourScorer:
        """Makes what predicts from them: see `PairScores`."""
        smoothing = self._smoothing
        return NeighbourScorer(
            self._scaled,
            self._residuals,
            self._by_user,
            smoothing.num_neighbours,
            smoothing.weight,
        )

    def _deviation(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Averages the neighbours' residuals, `[num_pairs]`."""
        asked, places = np.unique(rows, return_inverse=True)
        similarity = (self._scaled[asked] @ self._scaled_by_column).tocsr()
        itself = np.repeat(asked, np.diff(similarity.indptr)) == similarity.indices
        similarity.data[itself] = 0.0
        weights = similarity[places].multiply(self._raters[columns]).tocsr()
        weights = keep_largest(weights, self._smoothing.num_neighbours)
        total = np.asarray(weights.multiply(self._residuals[columns]).sum(axis=1)).ravel()
        norm = np.asarray(weights.sum(axis=1)).ravel() + self._smoothing.weight
        return total / norm

    def _sides(self, of_users, of_businesses):
        return (of_users, of_businesses) if self._by_user else (of_businesses, of_users)

    def _baseline(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        bias = self._bias
        return bias.mean_stars + bias.user_bias[user_rows] + bias.business_bias[business_rows]


def _baseline(by_user: bool) -> Baseline:
    def cost(data: BaselineData) -> Cost:
        columns = data.fitted.business_rows if by_user else data.fitted.user_rows
        products = (np.bincount(columns).astype(np.float64) ** 2).sum()
        return Cost(
            num_bytes=100 * len(data.fitted) + 80 * _BLOCK_ENTRIES,
            seconds=_SECONDS_PER_PRODUCT * products + 1e-5 * len(data.fitted),
        )

    def fit(data: BaselineData) -> Fitted[RatingNeighbours]:
        sizes = (data.num_users, data.num_businesses)
        shrinkages = choose_shrinkages(data.train, data.held_out, *sizes)
        bias = fit_bias(data.train, *sizes, *shrinkages)
        chosen = choose(
            SMOOTHINGS,
            lambda smoothing: rmse(RatingNeighbours(data.train, bias, by_user, smoothing), data),
            data.tuning_seconds,
        )
        bias = fit_bias(data.fitted, *sizes, *shrinkages)
        return Fitted(RatingNeighbours(data.fitted, bias, by_user, chosen.value), chosen.loss)

    return Baseline(cost, fit)


KNN_USER, KNN_ITEM = _baseline(by_user=True), _baseline(by_user=False)
