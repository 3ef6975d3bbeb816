"""Taste coordinates: where users and businesses stand by who visited what, and by their tags.

Sums of a user's residual stars along these coordinates say what the user likes more than others
do: the towers learn from them what a factor model would learn from ids, and a history that comes
with a request gives the same sums.
"""

import dataclasses

import numpy as np

from models.content import token_coordinates
from models.preprocessing import CATEGORIES
from models.spectral import incidence, right_singular_vectors
from models.tables import EntityTable, Interactions

# Tags (categories) get more coordinates than visits: they are there for cold businesses, too.
TAG_DIMS_PER_TASTE_DIM = 2
# Farthest that a coordinate reaches, in standard deviations over ratings.
MAX_COORDINATE = 4.0


@dataclasses.dataclass(frozen=True)
class Taste:
    """Coordinates with mean square 1 over ratings.

    Attributes:
      users: `[num_users, taste_dim]` float32 array; zeros for a user without interactions.
      businesses: `[num_businesses, business_dim]` float32 array: `taste_dim` coordinates from
        visits, zeros for a business without any, then those from tags.
      tags: `[num_categories, business_dim - taste_dim]` float32 array: what each category adds to
        those from tags, which end at `MAX_COORDINATE`.
    """

    users: np.ndarray
    businesses: np.ndarray
    tags: np.ndarray

    @classmethod
    def none(cls, num_users: int, num_businesses: int) -> "Taste":
        """Returns coordinates of dimension 0."""
        return cls(*(np.zeros([size, 0], np.float32) for size in (num_users, num_businesses, 0)))

    @property
    def taste_dim(self) -> int:
        """Coordinates that come from visits."""
        return self.users.shape[1]


def taste_coordinates(
    interactions: Interactions,
    num_users: int,
    businesses: EntityTable,
    taste_dim: int,
    seed: int,
) -> Taste:
    """Computes coordinates from training interactions and tags; stars play no part.

    Those of visits are the leading singular vectors of the degree-normalised incidence, without
    the first, which is popularity alone.

    Args:
      interactions: Training interactions.
      num_users: Rows of the users table.
      businesses: All businesses.
      taste_dim: Coordinates from visits; 0 for none of either kind.
      seed: Seed of the randomised decomposition.
    """
    num_businesses = businesses.num_rows
    if not taste_dim:
        return Taste.none(num_users, num_businesses)
    user_counts = np.bincount(interactions.user_rows, minlength=num_users)
    counts = np.bincount(interactions.business_rows, minlength=num_businesses)
    visits = incidence(interactions, num_users, num_businesses)
    vectors, _ = right_singular_vectors(visits, taste_dim + 1, seed)
    # Rows of frequent businesses are long in proportion to the root of their visits.
    by_visits = vectors[:, 1:] / np.sqrt(np.maximum(counts, 1))[:, None]
    by_user = (visits @ vectors[:, 1:]) / np.sqrt(np.maximum(user_counts, 1))[:, None]
    tag_dim = TAG_DIMS_PER_TASTE_DIM * taste_dim
    by_tags, tags = token_coordinates(businesses, [CATEGORIES], tag_dim, seed)
    tag_scales = _scales(by_tags, counts)
    return Taste(
        users=_clip(by_user * _scales(by_user, user_counts)),
        businesses=np.concatenate(
            [_clip(by_visits * _scales(by_visits, counts)), _clip(by_tags * tag_scales)], axis=1
        ),
        tags=(tags * tag_scales).astype(np.float32),
    )


def _scales(coordinates: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Finds what scales each coordinate to mean square 1 over ratings; 0 for an empty one."""
    squares = counts @ coordinates.astype(np.float64) ** 2 / max(counts.sum(), 1)
    return 1.0 / np.sqrt(np.where(squares > 1e-12, squares, np.inf))


def _clip(coordinates: np.ndarray) -> np.ndarray:
    return np.clip(coordinates, -MAX_COORDINATE, MAX_COORDINATE).astype(np.float32)
