"""Matrix factorisation of ratings with biases: SVD and SVD++."""

import dataclasses

import numpy as np
import surprise

from models.baselines.choosing import choose, clip, rmse
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.lists import visits
from models.baselines.surprise_data import (
    BYTES_PER_RATING,
    SECONDS_PER_RATING,
    SurpriseData,
    spread,
)
from models.tables import Interactions

# Pairs whose factors are gathered at a time, to bound memory.
_BLOCK_PAIRS = 100_000
# Measured, in one epoch: of one rating; of one factor of a rating; of one factor of each business
# that a user has visited.
_SECONDS_PER_STEP, _SECONDS_PER_FACTOR, _SECONDS_PER_VISIT = 1e-7, 5e-9, 1.5e-9


@dataclasses.dataclass(frozen=True)
class SgdOptions:
    """What stochastic gradient descent is tried with.

    Attributes:
      num_factors: Length of the factors.
      num_epochs: Passes over the ratings.
      penalty: Of squared biases and factors.
      learning_rate: Of every parameter.
    """

    num_factors: int
    num_epochs: int
    penalty: float
    learning_rate: float = 0.005


# Tried in this order. Sparse data wants short training and strong penalties, dense data the others.
SVD_OPTIONS = (
    SgdOptions(20, 40, 0.2),
    SgdOptions(50, 80, 0.15, 0.01),
    SgdOptions(20, 40, 0.1),
    SgdOptions(100, 40, 0.1),
    SgdOptions(100, 60, 0.05),
)
SVDPP_OPTIONS = (
    SgdOptions(5, 40, 0.2),
    SgdOptions(10, 60, 0.15, 0.01),
    SgdOptions(20, 20, 0.1),
)


@dataclasses.dataclass(frozen=True)
class FactorisedRatings:
    """Predicts mean + user bias + business bias + ⟨user factors, business factors⟩.

    Source: Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems"
    (2009), equation 4.

    Attributes:
      mean_stars: Mean rating.
      user_bias: `[num_users]` array, in stars; 0 for a user without ratings.
      business_bias: `[num_businesses]` array, likewise.
      user_factors: `[num_users, num_factors]` array; zeros for a user without ratings.
      business_factors: `[num_businesses, num_factors]` array, likewise.
    """

    mean_stars: float
    user_bias: np.ndarray
    business_bias: np.ndarray
    user_factors: np.ndarray
    business_factors: np.ndarray

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs: see `RatingModel`."""
        stars = self.mean_stars + self.user_bias[user_rows] + self.business_bias[business_rows]
        for start in range(0, len(stars), _BLOCK_PAIRS):
            block = slice(start, start + _BLOCK_PAIRS)
            stars[block] += np.einsum(
                "nd,nd->n",
                self.user_factors[user_rows[block]],
                self.business_factors[business_rows[block]],
            )
        return clip(stars)

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`."""
        of_users = np.column_stack([
            self.user_factors, self.mean_stars + self.user_bias, np.ones(num_users)
        ])  # fmt: skip
        of_businesses = np.column_stack([
            self.business_factors, np.ones(num_businesses), self.business_bias
        ])  # fmt: skip
        factors = self.user_factors.shape[1]
        unknown_user = [*np.zeros(factors), self.mean_stars, 1.0]
        unknown_business = [*np.zeros(factors), 1.0, 0.0]
        return np.vstack([of_users, unknown_user]), np.vstack([of_businesses, unknown_business])


def factorise(
    interactions: Interactions,
    num_users: int,
    num_businesses: int,
    options: SgdOptions,
    seed: int,
    with_visits: bool,
) -> FactorisedRatings:
    """Fits by stochastic gradient descent.

    Args:
      interactions: Ratings to learn from.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      options: Size, length and pace.
      seed: Seed of the initial factors.
      with_visits: Whether a user's factors get |N_u|^-½ Σ y_j over the businesses j that they
        rated added, which makes SVD++ of SVD (Koren 2008, equation 15).
    """
    data = SurpriseData(interactions)
    settings = {
        "n_factors": options.num_factors,
        "n_epochs": options.num_epochs,
        "lr_all": options.learning_rate,
        "reg_all": options.penalty,
        "random_state": seed,
    }
    fitted = (
        surprise.SVDpp(**settings, cache_ratings=True) if with_visits else surprise.SVD(**settings)
    ).fit(data.trainset)
    user_factors = spread(fitted.pu, data.users, num_users)
    if with_visits:
        visited = visits(interactions, num_users, num_businesses)
        total = visited @ spread(fitted.yj, data.businesses, num_businesses)
        user_factors += total / np.sqrt(np.maximum(np.diff(visited.indptr), 1))[:, None]
    return FactorisedRatings(
        data.trainset.global_mean,
        spread(fitted.bu, data.users, num_users),
        spread(fitted.bi, data.businesses, num_businesses),
        user_factors,
        spread(fitted.qi, data.businesses, num_businesses),
    )


def _baseline(choices: tuple[SgdOptions, ...], with_visits: bool) -> Baseline:
    def cost(data: BaselineData) -> Cost:
        ratings = float(len(data.fitted))
        per_factor = _SECONDS_PER_FACTOR * ratings
        if with_visits:
            # A user's whole history is read and written at each of their ratings.
            lengths = np.bincount(data.fitted.user_rows).astype(np.float64)
            per_factor += 2 * _SECONDS_PER_VISIT * (lengths**2).sum()
        seconds = max(
            option.num_epochs * (_SECONDS_PER_STEP * ratings + option.num_factors * per_factor)
            for option in choices
        )
        factors = max(option.num_factors for option in choices)
        rows = data.num_users + data.num_businesses * (2 if with_visits else 1)
        return Cost(
            num_bytes=BYTES_PER_RATING * ratings + 16 * factors * rows,
            seconds=SECONDS_PER_RATING * ratings + seconds,
        )

    def fit(data: BaselineData) -> Fitted[FactorisedRatings]:
        def fit_on(interactions: Interactions, options: SgdOptions) -> FactorisedRatings:
            sizes = (data.num_users, data.num_businesses)
            return factorise(interactions, *sizes, options, data.seed, with_visits)

        chosen = choose(
            choices, lambda options: rmse(fit_on(data.train, options), data), data.tuning_seconds
        )
        return Fitted(fit_on(data.fitted, chosen.value), chosen.loss)

    return Baseline(cost, fit)


SVD, SVDPP = _baseline(SVD_OPTIONS, with_visits=False), _baseline(SVDPP_OPTIONS, with_visits=True)
