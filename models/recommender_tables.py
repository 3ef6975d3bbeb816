"""The data of an export: ids, embeddings, and what is known of users and businesses."""

import dataclasses

import numpy as np

from models.places import Places
from models.tables import Bag


@dataclasses.dataclass(frozen=True)
class RecommenderTables:
    """Everything of an export that is not a function.

    Attributes:
      user_ids: `[num_users]` array of `bytes`.
      business_ids: `[num_businesses]` array of `bytes`: the catalogue.
      query_embeddings: `[num_users + 1, dim]` float16 array, float32 of a baseline; the last row is
        a new user's.
      candidate_embeddings: `[num_businesses + 1, dim]` float32 array; the last row is that of a
        business of which nothing is known.
      retrieval_weight: What the retrieval block counts in a list's score, unless a request says
        otherwise.
      rating_weight: What the rating block counts there, likewise.
      rating_dim: Trailing coordinates, those of the rating block.
      seen: By user, the rows of the businesses that they rated in training.
      mean_stars: Mean training rating, in stars.
      mean_age_years: How long before the newest training rating one was, on average.
      business_bias: `[num_businesses]` float32 array, in stars.
      taste: `[num_businesses, business_dim]` float32 array: `models.taste`.
      history_weights: `[num_businesses]` float32 array: what each weighs in a history.
      factor_ridge: `[factor_dim]` float32 array: `models.factors`; the factors of a business are
        the first coordinates of its rating block.
      factor_weight: What a user's factors count.
      places: What requests filter by.
      low_pass_dim: Trailing coordinates of the retrieval block: `models.low_pass`.
      low_pass_weight: Length of a user's there.
      low_pass_history_weights: `[num_businesses]` float32 array: what each counts in a history
        there; empty without such a block.
    """

    user_ids: np.ndarray
    business_ids: np.ndarray
    query_embeddings: np.ndarray
    candidate_embeddings: np.ndarray
    retrieval_weight: float
    rating_weight: float
    rating_dim: int
    seen: Bag
    mean_stars: float
    mean_age_years: float
    business_bias: np.ndarray
    taste: np.ndarray
    history_weights: np.ndarray
    factor_ridge: np.ndarray
    factor_weight: float
    places: Places
    low_pass_dim: int = 0
    low_pass_weight: float = 0.0
    low_pass_history_weights: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, np.float32)
    )

    @property
    def retrieval_dim(self) -> int:
        """Leading coordinates: a direction, one for popularity and the low-pass block."""
        return self.candidate_embeddings.shape[1] - self.rating_dim

    @property
    def direction_dim(self) -> int:
        """Coordinates of the direction, which come first."""
        return self.low_pass_start - 1

    @property
    def low_pass_start(self) -> int:
        """Where the retrieval tower's own coordinates end."""
        return self.retrieval_dim - self.low_pass_dim

    @property
    def score_weights(self) -> np.ndarray:
        """`[dim]` float32 array: what each coordinate counts in a list's score by default."""
        return self.spread(self.retrieval_weight, self.rating_weight)

    def spread(self, retrieval_weight: float, rating_weight: float) -> np.ndarray:
        """Spreads weights of the two blocks over their coordinates.

        Args:
          retrieval_weight: What the retrieval block counts.
          rating_weight: What the rating block counts.

        Returns:
          `[dim]` float32 array.
        """
        weights = np.array([retrieval_weight, rating_weight], np.float32)
        return np.repeat(weights, [self.retrieval_dim, self.rating_dim])
