"""The bridge to Surprise: its training sets know users and items by dense numbers of their own."""

import collections

import numpy as np
import surprise

from models import features
from models.tables import Interactions

# Measured: of the lists of tuples that Surprise keeps, of both sides.
BYTES_PER_RATING = 250
SECONDS_PER_RATING = 1.5e-6


class SurpriseData:
    """Ratings as Surprise takes them, and the way back to the rows of the tables.

    Attributes:
      trainset: The `surprise.Trainset`.
      users: `[num_rated_users]` array: the row of each of Surprise's users.
      businesses: `[num_rated_businesses]` array, likewise.
    """

    def __init__(self, interactions: Interactions, scale: float = 1.0):
        """Numbers users and businesses with ratings, and only those.

        Args:
          interactions: Ratings to learn from.
          scale: Stars are multiplied by it.
        """
        self.users, users = np.unique(interactions.user_rows, return_inverse=True)
        self.businesses, businesses = np.unique(interactions.business_rows, return_inverse=True)
        stars = (interactions.stars.astype(np.float64) * scale).tolist()
        by_user, by_business = collections.defaultdict(list), collections.defaultdict(list)
        for user, business, rating in zip(users.tolist(), businesses.tolist(), stars, strict=True):
            by_user[user].append((business, rating))
            by_business[business].append((user, rating))
        self.trainset = surprise.Trainset(
            by_user,
            by_business,
            n_users=len(self.users),
            n_items=len(self.businesses),
            n_ratings=len(interactions),
            rating_scale=(features.MIN_STARS * scale, features.MAX_STARS * scale),
            raw2inner_id_users={},
            raw2inner_id_items={},
        )


def spread(values: np.ndarray, rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Puts values of Surprise's numbers at the rows of a table, zeros elsewhere.

    Args:
      values: `[num_rated, ...]` array.
      rows: `[num_rated]` integer array.
      num_rows: Rows of the table.
    """
    table = np.zeros((num_rows, *values.shape[1:]))
    table[rows] = values
    return table
