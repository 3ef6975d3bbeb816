"""The mean rating: the floor of all rating models."""

import numpy as np

from models.baselines.choosing import rmse
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.tables import Interactions


class GlobalMean:
    """Predicts the mean training rating for every pair."""

    def __init__(self, interactions: Interactions):
        self._mean_stars = interactions.mean_stars

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the mean: see `RatingModel`."""
        del business_rows
        return np.full(len(user_rows), self._mean_stars)

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`."""
        return np.full([num_users + 1, 1], self._mean_stars), np.ones([num_businesses + 1, 1])


def _cost(data: BaselineData) -> Cost:
    return Cost(num_bytes=0, seconds=1e-9 * len(data.fitted))


def _fit(data: BaselineData) -> Fitted[GlobalMean]:
    return Fitted(GlobalMean(data.fitted), rmse(GlobalMean(data.train), data))


GLOBAL_MEAN = Baseline(_cost, _fit)
