"""Compares models on the test split: ratings, full-catalogue lists, and the verdict."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from models import metrics
from models.tables import Bag, Interactions

CUT_OFFS = (10, 20, 50)
_ALL = "all"  # The group beside the slices.


@dataclasses.dataclass(frozen=True)
class Known:
    """What the models had learnt from when they were tested.

    Attributes:
      user_counts: `[num_users]` array: interactions of each user that models were fitted on.
      business_counts: `[num_businesses]` array, likewise.
    """

    user_counts: np.ndarray
    business_counts: np.ndarray

    @classmethod
    def from_interactions(
        cls, fitted: Interactions, num_users: int, num_businesses: int
    ) -> "Known":
        """Counts the interactions that models were fitted on."""
        return cls(
            np.bincount(fitted.user_rows, minlength=num_users),
            np.bincount(fitted.business_rows, minlength=num_businesses),
        )


class RatingEvaluation:
    """RMSE and MAE of several models on the same test ratings, overall and by slice."""

    def __init__(self, test: Interactions, known: Known):
        """Prepares the slices and the resamples of users.

        Args:
          test: Interactions of the test split.
          known: What the models had learnt from.
        """
        self._stars = test.stars.astype(np.float64)
        _, self._users = np.unique(test.user_rows, return_inverse=True)
        self._num_users = int(self._users.max(initial=-1)) + 1
        self._bootstrap = metrics.UserBootstrap(self._num_users)
        cold_user = known.user_counts[test.user_rows] == 0
        cold_business = known.business_counts[test.business_rows] == 0
        self._groups = _groups(
            len(test),
            cold_user=cold_user,
            cold_business=cold_business,
            warm=~cold_user & ~cold_business,
        )

    def evaluate(self, predicted: np.ndarray) -> dict:
        """Measures one model.

        Args:
          predicted: `[num_interactions]` array of predicted stars.

        Returns:
          `rmse` and `mae`, in stars, with intervals, `num_ratings`, and the same in `slices`;
          an empty slice is left out.
        """
        error = predicted - self._stars
        counts = self._by_group(np.ones(len(error)))
        rmse = self._bootstrap.ratios(self._by_group(error**2), counts, np.sqrt)
        mae = self._bootstrap.ratios(self._by_group(np.abs(error)), counts)
        measured = {
            name: {
                "rmse": rmse[place].to_json(),
                "mae": mae[place].to_json(),
                "num_ratings": int(mask.sum()),
            }
            for place, (name, mask) in enumerate(self._groups.items())
        }
        return {**measured.pop(_ALL), "slices": measured}

    def rmse_difference(self, predicted: np.ndarray, other: np.ndarray) -> metrics.Interval:
        """Estimates a model's RMSE minus another's, in stars, paired by user."""
        count = self._by_user(np.ones(len(self._stars)))
        return self._bootstrap.ratio_difference(
            self._by_user((predicted - self._stars) ** 2),
            self._by_user((other - self._stars) ** 2),
            count,
            np.sqrt,
        )

    def _by_group(self, values: np.ndarray) -> np.ndarray:
        """Adds up values by user, in each group: `[num_users, num_groups]`."""
        sums = [self._by_user(np.where(mask, values, 0.0)) for mask in self._groups.values()]
        return np.stack(sums, axis=1)

    def _by_user(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self._users, values, self._num_users)


class RetrievalEvaluation:
    """Quality of several models' lists for the same test users, overall and by slice.

    Lists rank the full catalogue without what the user has in train (and in eval, where models
    were fitted on it). A user counts who has a test business that is not among those.
    """

    def __init__(self, test: Interactions, fitted: Interactions, known: Known):
        """Collects the users, their relevant businesses and those to leave out.

        Args:
          test: Interactions of the test split.
          fitted: Interactions that the models learnt from.
          known: Counts of the same.
        """
        num_users = len(known.user_counts)
        self._num_businesses = len(known.business_counts)
        width = self._num_businesses
        # 64 bits: all users times all businesses exceed 32.
        pairs = np.unique(test.user_rows.astype(np.int64) * width + test.business_rows)
        seen = np.unique(fitted.user_rows.astype(np.int64) * width + fitted.business_rows)
        pairs = pairs[~np.isin(pairs, seen)]
        relevant = Bag.from_pairs(pairs // width, (pairs % width).astype(np.int32), num_users)
        self.users = np.flatnonzero(relevant.lengths())
        self.seen = fitted.histories(num_users).take(self.users)
        self._relevant = relevant.take(self.users)
        self._bootstrap = metrics.UserBootstrap(len(self.users))
        cold = known.user_counts[self.users] == 0
        self._groups = _groups(len(cold), cold_user=cold, warm=~cold)

    def evaluate(self, ranked: np.ndarray) -> dict:
        """Measures one model.

        Args:
          ranked: `[num_users, k]` array of business rows for `users`, best first, -1 for none.

        Returns:
          By metric, its mean over users with an interval; `coverage@k`, the share of the
          catalogue that is in somebody's list; `num_users`; and the means in `slices`.
        """
        by_user = self._by_user(ranked)
        values = np.stack(list(by_user.values()), axis=1)
        masks = np.stack(list(self._groups.values()), axis=1).astype(np.float64)
        intervals = iter(
            self._bootstrap.ratios(
                np.concatenate([values * mask[:, None] for mask in masks.T], axis=1),
                np.repeat(masks, len(by_user), axis=1),
            )
        )
        measured: dict[str, dict] = {
            name: {
                **{key: next(intervals).to_json() for key in by_user},
                "num_users": int(mask.sum()),
            }
            for name, mask in self._groups.items()
        }
        whole = measured.pop(_ALL)
        for k in CUT_OFFS:
            listed = np.unique(ranked[:, :k])
            share = np.count_nonzero(listed >= 0) / self._num_businesses
            whole[f"coverage@{k}"] = {"value": round(share, 6)}
        return {**whole, "slices": measured}

    def mean(self, ranked: np.ndarray, metric: str) -> float:
        """Computes one metric's mean over users, such as `recall@20`."""
        return float(self._by_user(ranked)[metric].mean())

    def recall_difference(self, ranked: np.ndarray, other: np.ndarray) -> metrics.Interval:
        """Estimates a model's recall@20 minus another's, paired by user."""
        key = "recall@20"
        return self._bootstrap.ratio_difference(
            self._by_user(ranked)[key], self._by_user(other)[key], np.ones(len(self.users))
        )

    def _by_user(self, ranked: np.ndarray) -> dict[str, np.ndarray]:
        hit = metrics.hits(ranked, self._relevant)
        count = self._relevant.lengths()
        by_user = {}
        for k in CUT_OFFS:
            by_user[f"recall@{k}"] = metrics.recall_at(hit, count, k)
            by_user[f"ndcg@{k}"] = metrics.ndcg_at(hit, count, k)
        by_user["mrr"] = metrics.reciprocal_rank(hit)
        return by_user


def _groups(num_rows: int, **slices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the masks of all rows and, by name, of the slices that are not empty."""
    whole = np.ones(num_rows, bool)
    return {_ALL: whole, **{name: mask for name, mask in slices.items() if mask.any()}}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a model may be pushed, and why.

    Attributes:
      blessed: Whether every check passed.
      reasons: One sentence a check, those passed too.
    """

    blessed: bool
    reasons: tuple[str, ...]


def judge(checks: Mapping[str, bool], left_out: Sequence[str] = ()) -> Verdict:
    """Blesses a model that passed every check.

    Args:
      checks: By sentence, whether what it says is good enough.
      left_out: Sentences on what the data gave no means to judge.
    """
    reasons = [f"{'passed' if ok else 'FAILED'}: {text}" for text, ok in checks.items()]
    reasons += [f"left out: {text}" for text in left_out]
    return Verdict(all(checks.values()), tuple(reasons))
