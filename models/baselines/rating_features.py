"""Numbers that trees read: cross-fitted aggregates and covariates of a user and a business.

The one place where the baselines touch the towers' aggregates.
"""

from collections.abc import Callable

import numpy as np

from models.aggregates import NUM_AGGREGATES, aggregate_features, cross_fit, sum_ratings
from models.bias import fit_bias
from models.content import token_coordinates
from models.tables import EntityTable, Interactions

_NUM_FOLDS = 20
# Directions that a bag of tokens, such as categories, is projected on.
_BAG_DIM = 16


class RatingFeatures:
    """Builds the features of pairs of users and businesses.

    Columns: categorical features of the business, such as its city; the sum of both shrunken
    biases; aggregates of the user and of the business; numeric covariates of both; the business's
    bags of tokens along their leading directions.
    """

    def __init__(
        self,
        users: EntityTable,
        businesses: EntityTable,
        shrinkages: tuple[float, float],
        seed: int,
    ):
        """Projects the bags of tokens.

        Args:
          users: All users.
          businesses: All businesses.
          shrinkages: Pseudo-counts of users' and businesses' biases.
          seed: Seed of the folds and of the decomposition of bags.
        """
        self._users, self._businesses = users, businesses
        self._shrinkages, self._seed = shrinkages, seed
        projected = [
            token_coordinates(businesses, [key], _BAG_DIM, seed)[0] for key in businesses.bags
        ]
        self._of_business = np.concatenate([businesses.numeric, *projected], axis=1)

    @staticmethod
    def width(users: EntityTable, businesses: EntityTable) -> int:
        """Counts the columns."""
        covariates = users.numeric.shape[1] + businesses.numeric.shape[1]
        tokens = len(businesses.categorical) + _BAG_DIM * len(businesses.bags)
        return 1 + 2 * NUM_AGGREGATES + covariates + tokens

    @property
    def categorical(self) -> list[int]:
        """Columns that hold vocabulary positions."""
        return list(range(len(self._businesses.categorical)))

    def of_training_rows(self, interactions: Interactions) -> np.ndarray:
        """Builds the features of training rows, their aggregates from the other folds only.

        Returns:
          `[num_interactions, num_features]` float32 array.
        """
        known = cross_fit(
            interactions,
            self._users.num_rows,
            self._businesses.num_rows,
            self._shrinkages,
            _NUM_FOLDS,
            self._seed,
        )
        return self._join(
            interactions.user_rows,
            interactions.business_rows,
            self._aggregates(known.user_sums, self._shrinkages[0]),
            self._aggregates(known.business_sums, self._shrinkages[1]),
        )

    def from_all_of(
        self, interactions: Interactions
    ) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Prepares the features of other rows, their aggregates from all these interactions.

        Returns:
          A function of `[num_pairs]` user rows and business rows that builds a
          `[num_pairs, num_features]` float32 array.
        """
        of_users, of_businesses = self._all_aggregates(interactions)
        return lambda user_rows, business_rows: self._join(
            user_rows, business_rows, of_users[user_rows], of_businesses[business_rows]
        )

    def sides(
        self, interactions: Interactions, num_users: int, num_businesses: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Divides the same features by side: those of a pair are the sum of its two rows.

        Args:
          interactions: What aggregates are taken from.
          num_users: Rows of the users table.
          num_businesses: Rows of the businesses table.

        Returns:
          `[num_users + 1, num_features]` and `[num_businesses + 1, num_features]` float32 arrays,
          0 where a column is of the other side; the last rows are of a user and a business without
          ratings or covariates.
        """
        of_users, of_businesses = self._all_aggregates(interactions)
        sides = []
        for is_user, rows in ((True, num_users), (False, num_businesses)):
            users, businesses = np.zeros([2, rows], np.int64)
            users, businesses = (
                (np.arange(rows), businesses) if is_user else (users, np.arange(rows))
            )
            joined = self._join(
                users,
                businesses,
                of_users[users] * is_user,
                of_businesses[businesses] * (not is_user),
            )
            joined[:, ~self._is_of(is_user)] = 0.0
            sides.append(np.pad(joined, [(0, 1), (0, 0)]))
        return sides[0], sides[1]

    def _is_of(self, is_user: bool) -> np.ndarray:
        """Marks the columns that a side has a part in, in the order of `_join`."""
        widths = [
            (len(self._businesses.categorical), False),
            (1, is_user),  # The sum of both biases.
            (NUM_AGGREGATES, True),
            (NUM_AGGREGATES, False),
            (self._users.numeric.shape[1], True),
            (self._of_business.shape[1], False),
        ]
        return np.repeat([of == is_user for _, of in widths], [width for width, _ in widths])

    def _all_aggregates(self, interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
        sizes = (self._users.num_rows, self._businesses.num_rows)
        sums = sum_ratings(interactions, fit_bias(interactions, *sizes, *self._shrinkages))
        return (
            self._aggregates(sums.users, self._shrinkages[0]),
            self._aggregates(sums.businesses, self._shrinkages[1]),
        )

    @staticmethod
    def _aggregates(sums: np.ndarray, shrinkage: float) -> np.ndarray:
        return aggregate_features(sums, shrinkage).numpy()

    def _join(
        self,
        user_rows: np.ndarray,
        business_rows: np.ndarray,
        of_users: np.ndarray,
        of_businesses: np.ndarray,
    ) -> np.ndarray:
        positions = [
            values[business_rows, None] for values in self._businesses.categorical.values()
        ]
        # Trees find a sum of two columns hard to build.
        biases = of_users[:, :1] + of_businesses[:, :1]
        covariates = [self._users.numeric[user_rows], self._of_business[business_rows]]
        return np.concatenate(
            [*positions, biases, of_users, of_businesses, *covariates], axis=1, dtype=np.float32
        )
