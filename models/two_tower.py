"""T²Rec's two towers: a retrieval and a rating model that were trained, side by side."""

import numpy as np

from models.options import ModelOptions
from models.rating_model import RatingModel
from models.retrieval_model import RetrievalModel
from models.tables import Bag
from models.towers import CandidateTower, QueryTower


class TwoTowerModel:
    """R(x_u, x_i) = ⟨f(x_u), f̃(x_i)⟩: each tower is a retrieval block, then a rating block.

    The two models share no variables; an embedding is one's coordinates, then the other's.

    Attributes:
      retrieval: The retrieval model.
      rating: The rating model.
      query_tower: f, without what stands beside the towers in closed form.
      candidate_tower: f̃, likewise.
    """

    def __init__(self, retrieval: RetrievalModel, rating: RatingModel):
        """Joins two models on the same tables and with the same options."""
        self.retrieval = retrieval
        self.rating = rating
        self.query_tower = QueryTower(retrieval.query, rating.query, name="query_tower")
        self.candidate_tower = CandidateTower(
            retrieval.candidate, rating.candidate, name="candidate_tower"
        )

    @property
    def options(self) -> ModelOptions:
        """Sizes and what training hid."""
        return self.retrieval.options

    @property
    def retrieval_block_dim(self) -> int:
        """Coordinates of the retrieval model, the first ones."""
        return self.retrieval.block_dim

    @property
    def rating_block_dim(self) -> int:
        """Coordinates of the rating model, the last ones."""
        return self.rating.block_dim

    @property
    def total_dim(self) -> int:
        """Coordinates of a whole query or candidate embedding."""
        return self.retrieval_block_dim + self.rating_block_dim

    def embed_candidates(self) -> np.ndarray:
        """Embeds the whole catalogue, `[num_businesses, total_dim]` float32."""
        return _join(self.retrieval.embed_candidates(), self.rating.embed_candidates())

    def embed_queries(
        self, candidates: np.ndarray, rows: np.ndarray, histories: Bag | None = None
    ) -> np.ndarray:
        """Embeds users from their covariates, rating sums and histories.

        Args:
          candidates: What `embed_candidates` returned.
          rows: `[num_queries]` array of user rows.
          histories: Histories to use in place of the training ones, one a query.

        Returns:
          `[num_queries, total_dim]` float32 array.
        """
        retrieval = self.retrieval.embed_queries(candidates, rows, histories)
        return _join(retrieval, self.rating.embed_queries(rows))

    def embed_new_candidate(self) -> np.ndarray:
        """Embeds a business of which nothing is known, `[1, total_dim]` float32."""
        return _join(self.retrieval.embed_new_candidate(), self.rating.embed_new_candidate())

    def embed_new_query(self) -> np.ndarray:
        """Embeds a user of whom nothing is known, `[1, total_dim]` float32."""
        return _join(self.retrieval.embed_new_query(), self.rating.embed_new_query())


def _join(retrieval: np.ndarray, rating: np.ndarray) -> np.ndarray:
    return np.concatenate([retrieval, rating], axis=1)
