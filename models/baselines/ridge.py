"""Linear regression on ids and covariates."""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, lsmr

from models.baselines.choosing import choose, clip, rmse
from models.baselines.interface import Baseline, BaselineData, Cost
from models.bias import choose_shrinkages
from models.tables import EntityTable, Interactions

# Penalties of covariates, and multiples of the bias model's shrinkages for the ids', tried in this
# order.
PENALTIES = ((10.0, 1.0), (100.0, 1.0), (3.0, 1.0), (1000.0, 1.0), (10.0, 0.7), (10.0, 1.5))

_MAX_STEPS = 200
# Measured, in one step of the solver, there and back: of an entry of the tables; of a rating.
_SECONDS_PER_ENTRY, _SECONDS_PER_RATING = 4e-9, 2e-8


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
        user_columns = _columns(users, of_user, of_covariate)
        business_columns = _columns(businesses, of_business, of_covariate)
        user_rows, business_rows = interactions.user_rows, interactions.business_rows
        num_of_users = user_columns.shape[1]

        def predict(weights: np.ndarray) -> np.ndarray:
            of_users = user_columns @ weights[:num_of_users]
            of_businesses = business_columns @ weights[num_of_users:]
            return of_users[user_rows] + of_businesses[business_rows]

        def collect(residuals: np.ndarray) -> np.ndarray:
            of_users = np.bincount(user_rows, residuals, users.num_rows)
            of_businesses = np.bincount(business_rows, residuals, businesses.num_rows)
            return np.concatenate([user_columns.T @ of_users, business_columns.T @ of_businesses])

        # The rows of the design are never laid out: a rating adds two rows of the tables.
        shape = (len(interactions), num_of_users + business_columns.shape[1])
        design = LinearOperator(shape, matvec=predict, rmatvec=collect, dtype=np.float64)
        target = interactions.stars.astype(np.float64) - self._mean_stars
        weights = lsmr(design, target, damp=1.0, atol=1e-5, btol=1e-5, maxiter=_MAX_STEPS)[0]
        self._user_part = user_columns @ weights[:num_of_users]
        self._business_part = business_columns @ weights[num_of_users:]

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
    users, businesses = data.users, data.businesses
    # Beside covariates an id and an intercept.
    entries = users.num_rows * (2 + users.numeric.shape[1])
    entries += businesses.num_rows * (2 + businesses.numeric.shape[1] + len(businesses.categorical))
    entries += sum(len(bag.values) for bag in businesses.bags.values())
    step = _SECONDS_PER_ENTRY * entries + _SECONDS_PER_RATING * len(data.fitted)
    return Cost(num_bytes=40 * entries + 48 * len(data.fitted), seconds=_MAX_STEPS * step)


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
