"""Metrics of several models on the same users, by slice, with paired bootstrap intervals."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from models.bootstrap import Interval, ResampledSums, Transform, UserBootstrap

ALL = ""  # The name of the whole split among the slices.
CUT_OFFS = (10, 20, 50)
# Denominators.
NUM_RATINGS, NUM_USERS, STARS = "num_ratings", "num_users", "stars"


@dataclasses.dataclass(frozen=True)
class Metric:
    """A ratio of sums over users.

    Attributes:
      over: Name of the denominator, such as the number of ratings.
      transform: What is done to the ratio, such as a square root; nothing by default.
      is_loss: Whether less is better.
    """

    over: str
    transform: Transform | None = None
    is_loss: bool = False


RATING_METRICS: Mapping[str, Metric] = {
    # √(Σ (predicted - stars)² / n) and Σ |predicted - stars| / n, in stars. Source: Herlocker et
    # al., "Evaluating collaborative filtering recommender systems" (2004), section 4.1.
    "rmse": Metric(NUM_RATINGS, np.sqrt, is_loss=True),
    "mae": Metric(NUM_RATINGS, is_loss=True),
    # Σ predicted / Σ stars: over 1 where a model promises too much. Source: TensorFlow Model
    # Analysis, metric Calibration.
    "calibration": Metric(STARS),
}
RETRIEVAL_METRICS: Mapping[str, Metric] = {
    f"{name}@{k}": Metric(NUM_USERS) for name in ("recall", "ndcg", "hit_rate") for k in CUT_OFFS
} | {"mrr": Metric(NUM_USERS)}


@dataclasses.dataclass(frozen=True)
class UserSums:
    """What one slice adds up over a block of users, by user.

    Attributes:
      users: `[n]` ascending integer array: places of those users of the block that are in it.
      denominators: By name, an `[n]` array.
      numerators: By model and metric, an `[n]` array.
    """

    users: np.ndarray
    denominators: Mapping[str, np.ndarray]
    numerators: Mapping[tuple[str, str], np.ndarray]


class Measurements:
    """Metrics by model and slice, and differences between models.

    One pass over the resamples serves all of them.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        read: Callable[[int, int], Mapping[str, UserSums]],
        bootstrap: UserBootstrap,
    ):
        """Adds everything up in every resample.

        Args:
          metrics: By name; of each there is a numerator of each model.
          read: Called with the first user of a block and the one after its last; returns by name
            the slices, `ALL` among them. One without any users is left out.
          bootstrap: Resamples the users that `UserSums.users` counts.
        """
        self.metrics = metrics
        self._columns: dict[Any, int] = {}

        def stack(start: int, stop: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
            stacked = {}
            for name, part in read(start, stop).items():
                columns: dict[Any, np.ndarray] = {**part.denominators, **part.numerators}
                self._columns = {key: place for place, key in enumerate(columns)}
                stacked[name] = part.users, np.stack(list(columns.values()), axis=1)
            return stacked

        self._sums: dict[str, ResampledSums] = bootstrap.sums(stack)

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(key[0] for key in self._columns if isinstance(key, tuple)))

    @property
    def slices(self) -> list[str]:
        """Names of the slices that are not empty, the whole split aside."""
        return [name for name in self._sums if name != ALL]

    def interval(self, model: str, metric: str, of_slice: str = ALL) -> Interval:
        """Estimates a metric of a model."""
        spec = self.metrics[metric]
        return self._sums[of_slice].ratio(
            self._columns[model, metric], self._columns[spec.over], spec.transform
        )

    def difference(self, model: str, other: str, metric: str, of_slice: str = ALL) -> Interval:
        """Estimates by how much a model's metric exceeds another's, paired by user."""
        spec = self.metrics[metric]
        mine, its = (self._columns[name, metric] for name in (model, other))
        return self._sums[of_slice].difference(mine, its, self._columns[spec.over], spec.transform)

    def count(self, denominator: str, of_slice: str = ALL) -> int:
        """Adds a denominator up, such as the number of ratings of a slice."""
        return round(float(self._sums[of_slice].sums[self._columns[denominator]]))

    def num_users(self, of_slice: str = ALL) -> int:
        """Counts the users of a slice."""
        return self._sums[of_slice].num_users

    def to_json(self, model: str, counted: str) -> dict[str, Any]:
        """Lays out a model's metrics for `metrics.json`.

        Args:
          model: Its name.
          counted: The denominator to tell the size of slices by.

        Returns:
          By metric, its interval; `counted`; and the same by slice in `slices`. A slice of too few
          users for intervals has values only.
        """
        told = {
            name: {
                **{metric: self.interval(model, metric, name).to_json() for metric in self.metrics},
                counted: self.count(counted, name),
            }
            for name in self._sums
        }
        return {**told.pop(ALL, {counted: 0}), "slices": told}

    def differences_to_json(
        self, model: str, other: str, of_slices: Sequence[str]
    ) -> dict[str, Any]:
        """Lays out what a model has more than another.

        Args:
          model: Its name.
          other: Name of the other one.
          of_slices: What is compared in every slice.

        Returns:
          By metric, the difference; and that of some metrics by slice in `slices`.
        """
        told = {
            name: {
                metric: self.difference(model, other, metric, name).to_json()
                for metric in (self.metrics if name == ALL else of_slices)
            }
            for name in self._sums
        }
        return {**told.pop(ALL, {}), "slices": told}
