"""Clusters of users and of businesses, and the mean of each pair of clusters."""

import dataclasses

import numpy as np
import surprise

from models.baselines.choosing import choose, clip, rmse
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.surprise_data import (
    BYTES_PER_RATING,
    SECONDS_PER_RATING,
    SurpriseData,
    spread,
)
from models.tables import Interactions

# Clusters of users and of businesses, tried in this order.
NUM_CLUSTERS = ((3, 3), (1, 1), (2, 2), (5, 5))

_NUM_EPOCHS = 20
# Surprise's implementation cuts ratings to integers: doubled ones keep half stars.
_SCALE = 2.0
# Measured, in one epoch: of one user or business; of one rating for each cluster it may go to.
_SECONDS_PER_ENTITY, _SECONDS_PER_MOVE = 7e-6, 6e-8


@dataclasses.dataclass(frozen=True)
class CoClusters:
    """Predicts the mean of both clusters' meeting, plus how both deviate from their clusters.

    r = mean(C_u, C_i) + (mean_u - mean(C_u)) + (mean_i - mean(C_i)); the mean of the one side where
    only that has ratings; the mean of all where neither has.

    Source: George and Merugu, "A scalable collaborative filtering framework based on
    co-clustering" (2005).

    Attributes:
      mean_stars: Mean rating.
      user_deviation: `[num_users]` array: the user's mean minus the cluster's, in stars.
      business_deviation: `[num_businesses]` array, likewise.
      user_mean: `[num_users]` array, in stars; NaN for a user without ratings.
      business_mean: `[num_businesses]` array, likewise.
      user_cluster: `[num_users]` integer array.
      business_cluster: `[num_businesses]` integer array.
      cluster_mean: `[num_user_clusters, num_business_clusters]` array, in stars.
    """

    mean_stars: float
    user_deviation: np.ndarray
    business_deviation: np.ndarray
    user_mean: np.ndarray
    business_mean: np.ndarray
    user_cluster: np.ndarray
    business_cluster: np.ndarray
    cluster_mean: np.ndarray

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs: see `RatingModel`."""
        of_user, of_business = self.user_mean[user_rows], self.business_mean[business_rows]
        of_clusters = self.cluster_mean[
            self.user_cluster[user_rows], self.business_cluster[business_rows]
        ]
        stars = (
            of_clusters + self.user_deviation[user_rows] + self.business_deviation[business_rows]
        )
        one_side = np.where(np.isnan(of_user), of_business, of_user)
        one_side = np.where(np.isnan(one_side), self.mean_stars, one_side)
        is_known = ~(np.isnan(of_user) | np.isnan(of_business))
        return clip(np.where(is_known, stars, one_side))

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`.

        Each of the four cases, by which sides have ratings, has coordinates that are 0 in others.
        """
        known_user = np.append(~np.isnan(self.user_mean), False)[:, None]
        known_business = np.append(~np.isnan(self.business_mean), False)[:, None]
        of_clusters = np.pad(self.cluster_mean[self.user_cluster], [(0, 1), (0, 0)])
        is_in = np.eye(self.cluster_mean.shape[1])[self.business_cluster]
        of_user, of_business = (
            np.nan_to_num(np.append(values, 0.0))[:, None]
            for values in (self.user_mean, self.business_mean)
        )
        deviation, its_deviation = (
            np.append(values, 0.0)[:, None]
            for values in (self.user_deviation, self.business_deviation)
        )
        queries = np.hstack([
            known_user * np.hstack([of_clusters, deviation, np.ones_like(deviation), of_user]),
            ~known_user * np.array([[1.0, self.mean_stars]]),
        ])
        ones = np.ones_like(of_business)
        candidates = np.hstack([
            known_business * np.hstack([np.pad(is_in, [(0, 1), (0, 0)]), ones, its_deviation]),
            ~known_business * ones,
            known_business * of_business,
            ~known_business * ones,
        ])
        return queries, candidates


def fit_coclusters(
    interactions: Interactions,
    num_users: int,
    num_businesses: int,
    num_clusters: tuple[int, int],
    seed: int,
) -> CoClusters:
    """Fits by alternating assignments, as k-means does.

    Args:
      interactions: Ratings to learn from.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      num_clusters: Clusters of users and of businesses.
      seed: Seed of the first assignment.
    """
    data = SurpriseData(interactions, _SCALE)
    fitted = surprise.CoClustering(*num_clusters, n_epochs=_NUM_EPOCHS, random_state=seed)
    fitted.fit(data.trainset)

    def means(values: np.ndarray, rows: np.ndarray, num_rows: int) -> np.ndarray:
        table = np.full(num_rows, np.nan)
        table[rows] = values / _SCALE
        return table

    user_deviation = (fitted.user_mean - fitted.avg_cltr_u[fitted.cltr_u]) / _SCALE
    business_deviation = (fitted.item_mean - fitted.avg_cltr_i[fitted.cltr_i]) / _SCALE
    return CoClusters(
        mean_stars=interactions.mean_stars,
        user_deviation=spread(user_deviation, data.users, num_users),
        business_deviation=spread(business_deviation, data.businesses, num_businesses),
        user_mean=means(fitted.user_mean, data.users, num_users),
        business_mean=means(fitted.item_mean, data.businesses, num_businesses),
        user_cluster=spread(fitted.cltr_u, data.users, num_users).astype(int),
        business_cluster=spread(fitted.cltr_i, data.businesses, num_businesses).astype(int),
        cluster_mean=fitted.avg_cocltr / _SCALE,
    )


def _cost(data: BaselineData) -> Cost:
    num_ratings, entities = len(data.fitted), data.num_users + data.num_businesses
    clusters = max(sum(pair) for pair in NUM_CLUSTERS)
    epoch = _SECONDS_PER_ENTITY * entities + _SECONDS_PER_MOVE * clusters * num_ratings
    return Cost(
        num_bytes=BYTES_PER_RATING * num_ratings + 48 * entities,
        seconds=SECONDS_PER_RATING * num_ratings + _NUM_EPOCHS * epoch,
    )


def _fit(data: BaselineData) -> Fitted[CoClusters]:
    sizes = (data.num_users, data.num_businesses)
    chosen = choose(
        NUM_CLUSTERS,
        lambda pair: rmse(fit_coclusters(data.train, *sizes, pair, data.seed), data),
        data.tuning_seconds,
    )
    return Fitted(fit_coclusters(data.fitted, *sizes, chosen.value, data.seed), chosen.loss)


COCLUSTERING = Baseline(_cost, _fit)
