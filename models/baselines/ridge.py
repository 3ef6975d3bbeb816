"""Linear regression on ids and covariates."""

import numpy as np

from models.baselines.choosing import choose, rmse
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.bias import additive_embeddings, choose_shrinkages
from models.ridge import Covariates, fit_ridge
from models.tables import Interactions

# Penalties of covariates, and multiples of the bias model's shrinkages for the ids', tried in this
# order.
PENALTIES = ((10.0, 1.0), (100.0, 1.0), (3.0, 1.0), (1000.0, 1.0), (10.0, 0.7), (10.0, 1.5))

_MAX_STEPS = 200
# Measured, in one step of the solver, there and back: of an entry of the tables; of a rating.
_SECONDS_PER_ENTRY, _SECONDS_PER_RATING = 4e-9, 2e-8


class Ridge:
    """Predicts stars as a linear function of both ids and both sides' covariates."""

    def __init__(
        self,
        interactions: Interactions,
        covariates: Covariates,
        penalties: tuple[float, float, float],
    ):
        """Solves for the weights: see `models.ridge.fit_ridge`."""
        self._fit = fit_ridge(interactions, covariates, penalties, _MAX_STEPS)

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs: see `RatingModel`."""
        return self._fit.rate(user_rows, business_rows)

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`; a new user is as the mean of all."""
        of_users, of_businesses = self._fit.user_parts, self._fit.business_parts
        return additive_embeddings(
            self._fit.mean_stars,
            np.append(of_users, of_users.mean()),
            np.append(of_businesses, of_businesses.mean()),
        )


def _cost(data: BaselineData) -> Cost:
    users, businesses = data.users, data.businesses
    # Beside covariates an id and an intercept.
    entries = users.num_rows * (2 + users.numeric.shape[1])
    entries += businesses.num_rows * (2 + businesses.numeric.shape[1] + len(businesses.categorical))
    entries += sum(len(bag.values) for bag in businesses.bags.values())
    step = _SECONDS_PER_ENTRY * entries + _SECONDS_PER_RATING * len(data.fitted)
    return Cost(num_bytes=40 * entries + 48 * len(data.fitted), seconds=_MAX_STEPS * step)


def _fit(data: BaselineData) -> Fitted[Ridge]:
    covariates = Covariates.of(data.users, data.businesses)
    shrinkages = choose_shrinkages(data.train, data.held_out, data.num_users, data.num_businesses)

    def penalties(choice: tuple[float, float]) -> tuple[float, float, float]:
        of_covariate, multiple = choice
        return shrinkages[0] * multiple, shrinkages[1] * multiple, of_covariate

    chosen = choose(
        PENALTIES,
        lambda choice: rmse(Ridge(data.train, covariates, penalties(choice)), data),
        data.tuning_seconds,
    )
    return Fitted(Ridge(data.fitted, covariates, penalties(chosen.value)), chosen.loss)


RIDGE = Baseline(_cost, _fit)
