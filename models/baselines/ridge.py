"""Linear regression on ids and covariates."""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import lsmr

from models.baselines.choosing import choose, clip, rmse
from models.baselines.interface import Baseline, BaselineData, Cost
from models.bias import choose_shrinkages
from models.tables import EntityTable, Interactions

# Penalties of covariates, and multiples of the bias model's shrinkages for the ids', tried in this
# order.
PENALTIES = ((10.0, 1.0), (100.0, 1.0), (3.0, 1.0), (1000.0, 1.0), (10.0, 0.7), (10.0, 1.5))

_MAX_STEPS = 200
# Measured: of one entry of the design matrix in one step of the solver, there and back.
_SECONDS_PER_ENTRY = 4e-9


class Ridge:
    """Predicts stars as a linear function of both ids and both sides' covariates.

    Minimises Σ (y - μ - xᵀw)² + Σ λ_g w_g², with a penalty λ_g for each group of columns: ids of
    users, ids of businesses, covariates.

    Source: Hoerl and Kennard, "Ridge regression" (1970), with penalties by group; solved by LSMR
    (Fong and Saunders, 2011) on columns scaled by λ_g^-½.
    """

    def __init__(
        self,
        interactions: Interactions,
        users: EntityTable,
        businesses: EntityTable,
        penalties: tuple[float, float, float],
    ):
        """Solves for the weights.

        Args:
          interactions: Ratings to learn from.
          users: All users.
          businesses: All businesses.
          penalties: Of users' ids, of businesses' ids and of covariates, over 0.
        """
        of_user, of_business, of_covariate = penalties
        self._mean_stars = float(interactions.stars.mean())
        sides = [
            (_columns(users, of_user, of_covariate), interactions.user_rows),
            (_columns(businesses, of_business, of_covariate), interactions.business_rows),
        ]
        design = scipy.sparse.hstack([columns[rows] for columns, rows in sides], format="csr")
        target = interactions.stars.astype(np.float64) - self._mean_stars
        weights = lsmr(design, target, damp=1.0, atol=1e-5, btol=1e-5, maxiter=_MAX_STEPS)[0]
        num_of_users = sides[0][0].shape[1]
        # Both sides' parts are summed up once; a prediction is then two look-ups.
        self._user_part = sides[0][0] @ weights[:num_of_users]
        self._business_part = sides[1][0] @ weights[num_of_users:]

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs: see `RatingModel`."""
        parts = self._user_part[user_rows] + self._business_part[business_rows]
        return clip(self._mean_stars + parts)


def _columns(table: EntityTable, of_id: float, of_covariate: float):
    """Lays an entity's columns side by side, scaled: `[num_rows, num_columns]` sparse.

    Ids, an intercept, numbers, categories, and bags as shares: a row's tokens sum to 1.
    """
    rows = np.arange(table.num_rows)
    blocks = [np.ones([table.num_rows, 1]), table.numeric]
    for key, positions in table.categorical.items():
        shape = (table.num_rows, table.vocabulary_sizes[key])
        ones = np.ones(table.num_rows)
        blocks.append(scipy.sparse.csr_matrix((ones, (rows, positions)), shape))
    for key, bag in table.bags.items():
        shape = (table.num_rows, table.vocabulary_sizes[key])
        shares = np.repeat(1.0 / np.maximum(bag.lengths(), 1), bag.lengths())
        blocks.append(scipy.sparse.csr_matrix((shares, bag.values, bag.row_splits), shape))
    covariates = scipy.sparse.hstack([scipy.sparse.csr_matrix(block) for block in blocks])
    ids = scipy.sparse.identity(table.num_rows) / np.sqrt(of_id)
    return scipy.sparse.hstack([ids, covariates / np.sqrt(of_covariate)], format="csr")


def _cost(data: BaselineData) -> Cost:
    tokens = sum(len(bag.values) for bag in data.businesses.bags.values())
    width = 4.0 + data.users.numeric.shape[1] + data.businesses.numeric.shape[1]
    width += len(data.businesses.categorical) + tokens / max(data.num_businesses, 1)
    entries = width * len(data.fitted)
    return Cost(num_bytes=30 * entries, seconds=_SECONDS_PER_ENTRY * _MAX_STEPS * entries)


def _fit(data: BaselineData) -> Ridge:
    tables = (data.users, data.businesses)
    shrinkages = choose_shrinkages(data.train, data.held_out, data.num_users, data.num_businesses)

    def penalties(choice: tuple[float, float]) -> tuple[float, float, float]:
        covariates, multiple = choice
        return shrinkages[0] * multiple, shrinkages[1] * multiple, covariates

    chosen = choose(
        PENALTIES,
        lambda choice: rmse(Ridge(data.train, *tables, penalties(choice)), data),
        data.tuning_seconds,
    )
    return Ridge(data.fitted, *tables, penalties(chosen))


RIDGE = Baseline(_cost, _fit)
