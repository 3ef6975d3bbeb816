"""What a baseline is given, what it costs, and what it can do once it is fitted."""

import dataclasses
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import tensorflow as tf

from models.tables import Bag, EntityTable, Interactions

FittedModel = TypeVar("FittedModel", covariant=True)


class RatingModel(Protocol):
    """Predicts stars."""

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs.

        Args:
          user_rows: `[num_pairs]` integer array; users without ratings are welcome.
          business_rows: `[num_pairs]` integer array, likewise.

        Returns:
          `[num_pairs]` float64 array, within the range of stars.
        """


class RetrievalModel(Protocol):
    """Ranks the catalogue."""

    def recommend(self, user_rows: np.ndarray, k: int, seen: Bag) -> np.ndarray:
        """Lists each user's best businesses.

        Args:
          user_rows: `[num_users]` integer array; users without interactions are welcome.
          k: Length of the lists.
          seen: Rows to leave out, one list a user.

        Returns:
          `[num_users, min(k, num_businesses)]` int32 array of business rows, best first, -1 where
          a list ran out.
        """


@runtime_checkable
class Servable(Protocol):
    """A model of either kind that can be served: by inner products, unless it has a scorer."""

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides.

        Args:
          num_users: Rows of the users table.
          num_businesses: Rows of the businesses table.

        Returns:
          `[num_users + 1, dim]` and `[num_businesses + 1, dim]` arrays, the last rows those of a
          new user and an unknown business; ratings are clipped afterwards.
        """


@runtime_checkable
class PairScores(Protocol):
    """A rating model whose predictions are no inner products."""

    def pair_scorer(self) -> tf.Module:
        """Makes what predicts stars from `[num_pairs, dim]` queries and candidates, clipped."""


@runtime_checkable
class ListScores(Protocol):
    """A retrieval model whose scores are no inner products."""

    def list_scorer(self) -> tf.Module | None:
        """Makes what scores the catalogue for `[batch, dim]` queries; None if nothing does.

        It returns `[batch, num_businesses + 1]` scores, the last of no business; where it has
        nothing to say, `scorers.NOTHING`, and the inner product holds.
        """


@dataclasses.dataclass(frozen=True)
class BaselineData:
    """All that a baseline may learn from.

    Attributes:
      fitted: Interactions to fit in the end, with what was chosen.
      train: Interactions to fit while choosing.
      held_out: Interactions of the eval split to choose on.
      users: All users, after Transform.
      businesses: All businesses, after Transform.
      seed: Seed of everything random.
      tuning_seconds: How long one baseline may try values; the first is always tried.
    """

    fitted: Interactions
    train: Interactions
    held_out: Interactions
    users: EntityTable
    businesses: EntityTable
    seed: int = 0
    tuning_seconds: float = 10.0

    @property
    def num_users(self) -> int:
        """Rows of the users table."""
        return self.users.num_rows

    @property
    def num_businesses(self) -> int:
        """Rows of the businesses table."""
        return self.businesses.num_rows


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a baseline is expected to take.

    Estimates come from counts alone and are rough: they keep out what is hopeless. Seconds are
    those of one core of 2020s make, measured on 100,000 ratings.

    Attributes:
      num_bytes: Memory at the peak, beside the data itself.
      seconds: Of one fit and its predictions; the first trial and the final fit take two.
    """

    num_bytes: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Fitted(Generic[FittedModel]):
    """A fitted baseline.

    Attributes:
      model: Fitted on `BaselineData.fitted`, with what was chosen.
      eval_loss: RMSE in stars, or 1 - recall@20, on the eval split, of the same choice fitted on
        train; baselines are ranked by it.
    """

    model: FittedModel
    eval_loss: float


@dataclasses.dataclass(frozen=True)
class Baseline(Generic[FittedModel]):
    """How to fit a baseline, and what that costs.

    Attributes:
      cost: Estimates the cost before anything starts; must itself cost next to nothing.
      fit: Chooses on `train` and `held_out`, then fits `fitted`.
    """

    cost: Callable[[BaselineData], Cost]
    fit: Callable[[BaselineData], Fitted[FittedModel]]
