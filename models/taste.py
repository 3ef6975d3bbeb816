"""Taste coordinates: where users and businesses stand by who visited what, and by their tags.

Sums of a user's residual stars along these coordinates say what the user likes more than others
do: the towers learn from them what a factor model would learn from ids, and a history that comes
with a request gives the same sums.
"""

import dataclasses

import numpy as np

from models.content import project_tokens
from models.preprocessing import CATEGORIES
from models.spectral import incidence, right_singular_vectors
from models.tables import EntityTable, Interactions

# Tags (categories) get more coordinates than visits: they are there for cold businesses, too.
TAG_DIMS_PER_TASTE_DIM = 2
# Farthest that a coordinate reaches, in standard deviations over ratings.
_MAX_COORDINATE = 4.0


@dataclasses.dataclass(frozen=True)
class Taste:
    """Coordinates with mean square 1 over ratings.

    Attributes:
      users: `[num_users, taste_dim]` float32 array; zeros for a user without interactions.
      businesses: `[num_businesses, business_dim]` float32 array: `taste_dim` coordinates from
        visits, zeros for a business without any, then those from tags.
    """

    users: np.ndarray
    businesses: np.ndarray

    @classmethod
    def none(cls, num_users: int, num_businesses: int) -> "Taste":
        """Returns coordinates of dimension 0."""
        return cls(np.zeros([num_users, 0], np.float32), np.zeros([num_businesses, 0], np.float32))

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
    by_tags = project_tokens(businesses, [CATEGORIES], TAG_DIMS_PER_TASTE_DIM * taste_dim, seed)
    return Taste(
        users=_scale(by_user, user_counts),
        businesses=np.concatenate([_scale(by_visits, counts), _scale(by_tags, counts)], axis=1),
    )


def _scale(coordinates: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Scales each coordinate to mean square 1 over ratings; an empty one stays zero."""
    squares = counts @ coordinates.astype(np.float64) ** 2 / max(counts.sum(), 1)
    scales = 1.0 / np.sqrt(np.where(squares > 1e-12, squares, np.inf))
    return np.clip(coordinates * scales, -_MAX_COORDINATE, _MAX_COORDINATE).astype(np.float32)
