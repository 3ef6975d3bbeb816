"""The regularised bias model: what a rating would be without any taste."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from models import features
from models.ridge import Priors
from models.tables import Interactions

# Pseudo-counts tried for users and for businesses when eval ratings choose them.
SHRINKAGE_GRID = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclasses.dataclass(frozen=True)
class BiasModel:
    """Predicts stars as mean + user bias + business bias.

    Source: Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems"
    (2009), equation 3, with ridge penalties on the biases.

    Attributes:
      mean_stars: Mean rating of the training interactions, in stars.
      user_bias: `[num_users]` float64 array, in stars; the prior of a user without ratings.
      business_bias: `[num_businesses]` float64 array, in stars; the prior likewise.
      user_shrinkage: Pseudo-count that pulls a user's bias to the prior.
      business_shrinkage: Pseudo-count that pulls a business's bias to the prior.
      priors: What covariates say of the biases; 0 without them.
    """

    mean_stars: float
    user_bias: np.ndarray
    business_bias: np.ndarray
    user_shrinkage: float
    business_shrinkage: float
    priors: Priors

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs.

        Args:
          user_rows: `[num_pairs]` integer array.
          business_rows: `[num_pairs]` integer array.

        Returns:
          `[num_pairs]` float64 array, within the range of stars.
        """
        stars = self.mean_stars + self.user_bias[user_rows] + self.business_bias[business_rows]
        return np.clip(stars, features.MIN_STARS, features.MAX_STARS)

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out predictions as inner products.

        Args:
          num_users: Rows of the users table, one a bias.
          num_businesses: Rows of the businesses table, likewise.

        Returns:
          `[num_users + 1, 2]` and `[num_businesses + 1, 2]` arrays, the last rows those of a new
          user and of an unknown business.
        """
        priors = self.priors
        return additive_embeddings(
            self.mean_stars,
            np.append(self.user_bias, priors.user_intercept),
            np.append(self.business_bias, priors.business_intercept),
        )


def additive_embeddings(
    mean_stars: float, users: np.ndarray, businesses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lays out mean + user's part + business's part as an inner product of two coordinates.

    Args:
      mean_stars: The mean, in stars.
      users: `[num_users]` array of their parts, in stars.
      businesses: `[num_businesses]` array, likewise.

    Returns:
      `[num_users, 2]` and `[num_businesses, 2]` arrays.
    """
    return (
        np.stack([users + mean_stars, np.ones(len(users))], axis=1),
        np.stack([np.ones(len(businesses)), businesses], axis=1),
    )


def fit_bias(
    interactions: Interactions,
    num_users: int,
    num_businesses: int,
    user_shrinkage: float,
    business_shrinkage: float,
    num_sweeps: int = 10,
    priors: Priors | None = None,
) -> BiasModel:
    """Fits the biases by alternating least squares, the users' last.

    Args:
      interactions: Training ratings, at least one.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      user_shrinkage: Pseudo-count of a user's bias, over 0.
      business_shrinkage: Pseudo-count of a business's bias, over 0.
      num_sweeps: Alternations; ten bring the biases to within .001 stars.
      priors: What the biases are pulled to; 0 by default.
    """
    users, businesses = interactions.user_rows, interactions.business_rows
    mean = interactions.mean_stars
    priors = priors or Priors.none(num_users, num_businesses)
    centred = interactions.stars.astype(np.float64) - mean
    centred -= priors.users[users] + priors.businesses[businesses]

    # What remains of a side's totals without the other side's biases: fewer passes over the ratings
    # than to take the biases off each of them.
    user_total = np.bincount(users, centred, num_users)
    business_total = np.bincount(businesses, centred, num_businesses)
    user_norm = np.bincount(users, minlength=num_users) + user_shrinkage
    business_norm = np.bincount(businesses, minlength=num_businesses) + business_shrinkage
    user_bias, business_bias = np.zeros(num_users), np.zeros(num_businesses)
    for _ in range(num_sweeps):
        of_users = np.bincount(businesses, user_bias[users], num_businesses)
        business_bias = (business_total - of_users) / business_norm
        of_businesses = np.bincount(users, business_bias[businesses], num_users)
        user_bias = (user_total - of_businesses) / user_norm
    return BiasModel(
        mean,
        priors.users + user_bias,
        priors.businesses + business_bias,
        user_shrinkage,
        business_shrinkage,
        priors,
    )


def choose_shrinkages(
    train: Interactions,
    held_out: Interactions,
    num_users: int,
    num_businesses: int,
    grid: Sequence[float] = SHRINKAGE_GRID,
) -> tuple[float, float]:
    """Chooses the shrinkages with the least squared error on held-out ratings.

    One side after the other, from the middle of the grid until neither moves: the error has one
    valley, so that a few of the pairs are enough.

    Args:
      train: Ratings to fit on.
      held_out: Ratings of the eval split; never those of the test split.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      grid: Pseudo-counts to try for either side.

    Returns:
      The pseudo-counts of users and of businesses.
    """
    # Sums by user, of whom there are the most, then go through memory in order.
    train = train.by_user()

    @functools.cache
    def squared_error(of_users: float, of_businesses: float) -> float:
        model = fit_bias(train, num_users, num_businesses, of_users, of_businesses, num_sweeps=5)
        predicted = model.rate(held_out.user_rows, held_out.business_rows)
        return float(np.square(held_out.stars - predicted).sum())

    chosen, before = (grid[len(grid) // 2],) * 2, None
    while chosen != before:
        before = chosen
        of_users = min(grid, key=lambda tried: squared_error(tried, before[1]))
        chosen = of_users, min(grid, key=lambda tried: squared_error(of_users, tried))
    return chosen
