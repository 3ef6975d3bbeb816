"""Measures models on the same test interactions: predicted ratings, and full-catalogue lists."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models import list_diversity, metrics
from models.bootstrap import UserBootstrap
from models.measurements import (
    ALL,
    CUT_OFFS,
    NUM_RATINGS,
    NUM_USERS,
    RATING_METRICS,
    RETRIEVAL_METRICS,
    STARS,
    Measurements,
    UserSums,
)
from models.slice_names import WARM, WARM_BUSINESS, WARM_USER
from models.slices import Known, Labels, business_slices, user_slices
from models.tables import Interactions, new_visits

_NUM_BINS = 10


class RatingEvaluation:
    """Several models' predictions of the same test ratings, overall and by slice."""

    def __init__(self, test: Interactions, known: Known, labels: Labels | None = None):
        """Prepares the slices.

        Args:
          test: Interactions of the test split.
          known: What the models had learnt from.
          labels: Cities and categories of businesses.
        """
        self.stars = test.stars.astype(np.float64)
        distinct, self._users = np.unique(test.user_rows, return_inverse=True)
        self._num_users = len(distinct)
        of_user = user_slices(known, distinct)
        of_business = business_slices(known, labels or Labels(), test.business_rows)
        self._masks = {ALL: np.ones(len(test), bool)}
        self._masks |= {name: mask[test.user_rows] for name, mask in of_user.items()}
        self._masks |= {name: mask[test.business_rows] for name, mask in of_business.items()}
        self._masks[WARM] = self._masks[WARM_USER] & self._masks[WARM_BUSINESS]

    @property
    def slices(self) -> Mapping[str, np.ndarray]:
        """By name, a `[num_interactions]` bool array; `ALL` is the whole split."""
        return self._masks

    def measure(self, predictions: Mapping[str, np.ndarray]) -> Measurements:
        """Measures all models.

        Args:
          predictions: By model, a `[num_interactions]` array of predicted stars.
        """
        by_user = np.argsort(self._users, kind="stable")
        splits = np.searchsorted(self._users, np.arange(self._num_users + 1), sorter=by_user)

        def read(start: int, stop: int) -> dict[str, UserSums]:
            rows = by_user[splits[start] : splits[stop]]
            return {
                name: self._sum(rows[mask[rows]], predictions) for name, mask in self._masks.items()
            }

        return Measurements(RATING_METRICS, read, UserBootstrap(self._num_users))

    def _sum(self, rows: np.ndarray, predictions: Mapping[str, np.ndarray]) -> UserSums:
        users, places = np.unique(self._users[rows], return_inverse=True)

        def by_user(values: np.ndarray) -> np.ndarray:
            return np.bincount(places, values, len(users))

        stars, numerators = self.stars[rows], {}
        for model, predictions_of_all in predictions.items():
            predicted = predictions_of_all[rows]
            error = predicted - stars
            numerators[model, "rmse"] = by_user(error**2)
            numerators[model, "mae"] = by_user(np.abs(error))
            numerators[model, "calibration"] = by_user(predicted)
        denominators = {NUM_RATINGS: by_user(np.ones(len(stars))), STARS: by_user(stars)}
        return UserSums(users, denominators, numerators)

    def reliability(self, predicted: np.ndarray) -> list[dict[str, float]]:
        """Compares mean predictions with mean stars, in tenths of the ratings by prediction.

        Source: the reliability diagram (Murphy and Winkler, 1977), for means in place of
        frequencies, with bins of equal size.

        Returns:
          By bin, `predicted` and `stars`, in stars, and `num_ratings`.
        """
        bins = np.array_split(np.argsort(predicted, kind="stable"), _NUM_BINS)
        return [
            {
                "predicted": round(float(predicted[rows].mean()), 4),
                "stars": round(float(self.stars[rows].mean()), 4),
                NUM_RATINGS: len(rows),
            }
            for rows in bins
            if len(rows)
        ]


class RetrievalEvaluation:
    """Several models' lists for the same test users, overall and by slice.

    Lists rank the full catalogue without what the user has in train (and in eval, where models
    were fitted on it). A user counts who has a test business that is not among those. In a slice
    of businesses only those are relevant.
    """

    def __init__(
        self,
        test: Interactions,
        fitted: Interactions,
        known: Known,
        labels: Labels | None = None,
    ):
        """Collects the users, their relevant businesses and those to leave out.

        Args:
          test: Interactions of the test split.
          fitted: Interactions that the models learnt from.
          known: Counts of the same.
          labels: Cities and categories of businesses.
        """
        num_users = len(known.user_counts)
        relevant = new_visits(test, fitted, num_users)
        self.users = np.flatnonzero(relevant.lengths())
        self.seen = fitted.histories(num_users).take(self.users)
        self._relevant = relevant.take(self.users)
        self._counts = known.business_counts
        of_user = user_slices(known, self.users)
        self._user_masks = {ALL: np.ones(len(self.users), bool)}
        self._user_masks |= {name: mask[self.users] for name, mask in of_user.items()}
        self._business_masks = business_slices(known, labels or Labels(), test.business_rows)
        self._warm = known.user_counts[self.users] > 0

    def measure(self, lists: Mapping[str, np.ndarray]) -> Measurements:
        """Measures all models.

        Args:
          lists: By model, a `[num_users, k]` array of business rows for `users`, best first, -1
            for none.
        """

        def read(start: int, stop: int) -> dict[str, UserSums]:
            return self._add_up(np.arange(start, stop), lists)

        return Measurements(RETRIEVAL_METRICS, read, UserBootstrap(len(self.users)))

    def _add_up(self, users: np.ndarray, lists: Mapping[str, np.ndarray]) -> dict[str, UserSums]:
        """Adds up all slices of some users, given by their places in `users`."""
        relevant = self._relevant.take(users)
        lists = {model: ranked[users] for model, ranked in lists.items()}
        hit = {model: metrics.hits(ranked, relevant) for model, ranked in lists.items()}
        whole = {model: _by_user(h, relevant.lengths()) for model, h in hit.items()}
        slices = {name: _sums(users, whole, mask[users]) for name, mask in self._user_masks.items()}
        for name, mask in self._business_masks.items():
            wanted = np.add.reduceat(
                np.append(mask[relevant.values], False).astype(np.int64), relevant.row_splits[:-1]
            )
            # Only users with something relevant in the slice count, so divide by those.
            among = wanted > 0
            part = {
                model: _by_user(hit[model][among] & mask[ranked[among]], wanted[among])
                for model, ranked in lists.items()
            }
            slices[name] = _sums(users[among], part)
            if name == WARM_BUSINESS:
                slices[WARM] = _sums(users[among], part, self._warm[users[among]])
        return slices

    def describe(self, ranked: np.ndarray) -> dict[str, Any]:
        """Tells what a model's lists are like: `models.list_diversity`, at each cut-off."""
        told: dict[str, Any] = {}
        for k in CUT_OFFS:
            first = ranked[:, :k]
            for name, value in (
                ("coverage", list_diversity.coverage(first, len(self._counts))),
                ("novelty", list_diversity.novelty(first, self._counts).mean()),
                ("popularity", list_diversity.popularity(first, self._counts).mean()),
                ("overlap", list_diversity.overlap(first)),
            ):
                told[f"{name}@{k}"] = {"value": round(float(value), 6)}
        return told

    def mean(self, ranked: np.ndarray, metric: str) -> float:
        """Computes one metric's mean over users, such as `recall@20`."""
        hit = metrics.hits(ranked, self._relevant)
        return float(_by_user(hit, self._relevant.lengths())[metric].mean())


def _by_user(hit: np.ndarray, num_relevant: np.ndarray) -> dict[str, np.ndarray]:
    by_user = {}
    for k in CUT_OFFS:
        by_user[f"recall@{k}"] = metrics.recall_at(hit, num_relevant, k)
        by_user[f"ndcg@{k}"] = metrics.ndcg_at(hit, num_relevant, k)
        by_user[f"hit_rate@{k}"] = metrics.hit_at(hit, k)
    by_user["mrr"] = metrics.reciprocal_rank(hit)
    return by_user


def _sums(
    users: np.ndarray,
    by_user: Mapping[str, Mapping[str, np.ndarray]],
    mask: np.ndarray | slice = slice(None),
) -> UserSums:
    numerators = {(model, m): v[mask] for model, of in by_user.items() for m, v in of.items()}
    users = users[mask]
    return UserSums(users, {NUM_USERS: np.ones(len(users))}, numerators)
