"""Linear autoencoder in closed form: how each business predicts each other one."""

import numpy as np
import scipy.linalg
import scipy.sparse

from models.baselines.choosing import MissedShare, choose
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.lists import WithPopularity, rank_dense, visits
from models.baselines.scorers import EaseScorer
from models.tables import Bag, Interactions

# Penalties of squared weights, tried in this order.
PENALTIES = (100.0, 300.0, 30.0, 1000.0, 10.0)

# Bounds the memory of a block of scores: users x businesses.
_BLOCK_CELLS = 8_000_000
# Measured: of inverting an n x n matrix, for n³; of one product on the way to the scores.
_SECONDS_PER_CUBE, _SECONDS_PER_PRODUCT = 3e-11, 1e-9


class Ease:
    """Scores businesses by R B, B the weights that reproduce R best with an empty diagonal.

    With P = (RᵀR + λI)⁻¹ the weights are B = I - P diag(P)⁻¹.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data" (2019), equation 8. By
    Woodbury's identity RP = KR and λP = I - RᵀKR with K = (RRᵀ + λI)⁻¹, so that users, where they
    are fewer than businesses, give the same scores from a smaller inverse.
    """

    def __init__(
        self, interactions: Interactions, num_users: int, num_businesses: int, penalty: float
    ):
        """Inverts the smaller of both Gram matrices.

        Args:
          interactions: Who visited what.
          num_users: Rows of the users table.
          num_businesses: Rows of the businesses table.
          penalty: λ, over 0.
        """
        self._visits = visits(interactions, num_users, num_businesses)
        # Who did nothing, and what nobody visited, would only add to the size of the inverse.
        self._users = np.flatnonzero(np.diff(self._visits.indptr))
        self._businesses = np.flatnonzero(np.bincount(self._visits.indices))
        active = self._visits[self._users][:, self._businesses]
        self._active = active
        self._place = np.full(num_users, -1)
        self._place[self._users] = np.arange(len(self._users))
        self._by_user = len(self._users) < len(self._businesses)
        if self._by_user:
            self._inverse = _invert(active @ active.T, penalty)  # K
            quadratic = np.zeros(len(self._businesses))
            for rows in _blocks(len(self._users), len(self._businesses)):
                # diag(RᵀKR), a block of users at a time.
                product = self._inverse[rows] @ active
                quadratic += np.asarray(active[rows].multiply(product).sum(axis=0)).ravel()
            self._diagonal = ((1.0 - quadratic) / penalty).astype(np.float32)
        else:
            self._inverse = _invert(active.T @ active, penalty)  # P
            self._diagonal = self._inverse.diagonal().copy()

    def recommend(self, user_rows: np.ndarray, k: int, seen: Bag) -> np.ndarray:
        """Lists the best businesses: see `RetrievalModel`."""
        num_businesses = self._visits.shape[1]
        lists = np.empty([len(user_rows), min(k, num_businesses)], np.int32)
        for rows in _blocks(len(user_rows), num_businesses):
            lists[rows] = rank_dense(self.score(user_rows[rows]), k, seen.take(rows))
        return lists

    def list_scorer(self) -> EaseScorer:
        """Makes what scores: see `ListScores`."""
        business_places = np.full(self._visits.shape[1], -1)
        business_places[self._businesses] = np.arange(len(self._businesses))
        return EaseScorer(
            self._active,
            self._place,
            business_places,
            self._inverse,
            self._diagonal,
            self._by_user,
        )

    def score(self, user_rows: np.ndarray) -> np.ndarray:
        """Computes R B.

        Args:
          user_rows: `[num_users]` integer array of users with interactions.

        Returns:
          `[num_users, num_businesses]` float32 array, zeros for businesses that nobody visited.
        """
        users = self._place[user_rows]
        if self._by_user:
            smoothed = self._inverse[users] @ self._active
        else:
            smoothed = self._active[users] @ self._inverse
        scores = np.zeros([len(users), self._visits.shape[1]], np.float32)
        scores[:, self._businesses] = self._active[users] - smoothed / self._diagonal
        return scores


def _invert(gram: scipy.sparse.spmatrix, penalty: float) -> np.ndarray:
    """Inverts Gram matrix + λI by Cholesky's decomposition, in place and single precision."""
    matrix = np.asarray(gram.todense(order="F"), dtype=np.float32)
    matrix[np.diag_indices_from(matrix)] += penalty
    factor, info = scipy.linalg.lapack.spotrf(matrix, lower=1, clean=0, overwrite_a=1)
    inverse, failed = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if info or failed:
        raise ValueError(f"Expected a positive definite matrix; raise the penalty of {penalty}.")
    # LAPACK fills one triangle.
    for start in range(0, len(inverse), 1_024):
        block = slice(start, start + 1_024)
        inverse[block, start:] = inverse[start:, block].T
        corner = inverse[block, block]
        inverse[block, block] = np.tril(corner.T).T + np.tril(corner.T, -1)
    return inverse


def _blocks(num_rows: int, num_columns: int) -> list[np.ndarray]:
    size = max(1, _BLOCK_CELLS // max(1, num_columns))
    return [np.arange(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]


def _cost(data: BaselineData) -> Cost:
    num_users = len(np.unique(data.fitted.user_rows))
    num_businesses = len(np.unique(data.fitted.business_rows))
    size = min(num_users, num_businesses)
    products = float(size) * len(data.fitted)
    return Cost(
        num_bytes=12.0 * size**2 + 16 * _BLOCK_CELLS,
        seconds=_SECONDS_PER_CUBE * size**3 + _SECONDS_PER_PRODUCT * 2 * products,
    )


def _fit(data: BaselineData) -> Fitted[WithPopularity]:
    sizes = (data.num_users, data.num_businesses)
    missed = MissedShare(data)
    chosen = choose(
        PENALTIES,
        lambda penalty: missed(WithPopularity(Ease(data.train, *sizes, penalty), data.train, data)),
        data.tuning_seconds,
    )
    model = Ease(data.fitted, *sizes, chosen.value)
    return Fitted(WithPopularity(model, data.fitted, data), chosen.loss)


EASE = Baseline(_cost, _fit)
