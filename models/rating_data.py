"""What rating models learn from: ratings, their sums, and what each is shown of the others."""

import dataclasses
import functools
from collections.abc import Callable

from models.aggregates import CrossFitted, RatingSums, cross_fit, sum_ratings
from models.bias import fit_bias
from models.options import TrainingOptions
from models.ridge import Covariates, Priors, fit_priors
from models.tables import EntityTable, Interactions
from models.taste import Taste, taste_coordinates


@dataclasses.dataclass(frozen=True)
class RatingData:
    """Ratings to learn from, with the sums that each row is shown.

    Attributes:
      interactions: The ratings.
      known: What each row is shown of its user and business, from the other folds.
      sums: Sums over all of the ratings, as at serving time.
    """

    interactions: Interactions
    known: CrossFitted
    sums: RatingSums


class RatingSource:
    """Makes of some ratings what rating models and their training ask for, when they ask.

    Sums are a few numbers a user and business, and stay. What single rows are shown takes minutes
    and gigabytes of millions of ratings: there is that of one taste dimension at a time, until
    `forget_rows`.
    """

    def __init__(
        self,
        interactions: Interactions,
        users: EntityTable,
        businesses: EntityTable,
        shrinkages: tuple[float, float],
        penalty: float,
        options: TrainingOptions,
        align: Callable[[Taste], Taste] | None = None,
    ):
        """Keeps what is to be summed.

        Args:
          interactions: The ratings.
          users: All users.
          businesses: All businesses.
          shrinkages: Pseudo-counts of users and businesses.
          penalty: Of covariates in the priors of biases.
          options: Folds, seed and memory.
          align: Turns the coordinates onto those of an earlier model (`models.warm_start`).
        """
        self._interactions = interactions
        self._users = users
        self._businesses = businesses
        self._sizes = (users.num_rows, businesses.num_rows)
        self._shrinkages = shrinkages
        self._penalty = penalty
        self._options = options
        self._align = align
        self._sums: dict[int, RatingSums] = {}
        self._rows: dict[int, CrossFitted] = {}

    def sums(self, taste_dim: int) -> RatingSums:
        """Sums all of the ratings, along so many coordinates of visits."""
        if taste_dim not in self._sums:
            others = next(iter(self._sums.values()), None)
            if not taste_dim and others is not None:
                self._sums[taste_dim] = others.without_taste()
            else:
                self._sums[taste_dim] = self._sum(taste_dim)
        return self._sums[taste_dim]

    def rows(self, taste_dim: int) -> RatingData:
        """Sums, for each rating, those of the other folds, along so many coordinates of visits."""
        if taste_dim not in self._rows:
            others = next(iter(self._rows.values()), None)
            if not taste_dim and others is not None:
                return RatingData(self._interactions, others.without_taste(), self.sums(taste_dim))
            self._rows = {}
            self._rows[taste_dim] = self._cross_fit(self.sums(taste_dim).taste)
        return RatingData(self._interactions, self._rows[taste_dim], self.sums(taste_dim))

    def forget_rows(self) -> None:
        """Drops what rows are shown: no loop over ratings will follow."""
        self._rows = {}

    def _sum(self, taste_dim: int) -> RatingSums:
        ratings, seed = self._interactions, self._options.seed
        taste = taste_coordinates(ratings, self._sizes[0], self._businesses, taste_dim, seed)
        if self._align is not None:
            taste = self._align(taste)
        priors = self._priors()(ratings)
        bias = fit_bias(ratings, *self._sizes, *self._shrinkages, priors=priors)
        return sum_ratings(ratings, bias, taste=taste)

    def _cross_fit(self, taste: Taste) -> CrossFitted:
        options = self._options
        return cross_fit(
            self._interactions,
            *self._sizes,
            self._shrinkages,
            int(options.num_folds),
            options.seed,
            taste,
            self._priors(),
            options.max_memory_gb * 1e9,
        )

    def _priors(self) -> Callable[[Interactions], Priors]:
        """Returns what fits, on some of the ratings, what covariates say of biases."""
        return functools.partial(
            fit_priors,
            covariates=Covariates.of(self._users, self._businesses),
            shrinkages=self._shrinkages,
            penalty=self._penalty,
            seed=self._options.seed,
        )
