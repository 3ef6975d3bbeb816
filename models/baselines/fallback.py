"""The best baselines as one SavedModel that answers `rate` and `recommend` as ours does.

Only what is an inner product, or trees over what is known of either side, can be served so; of
neighbours and autoencoders there is no embedding.
"""

import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from models import export, features
from models.baselines.boosted_trees import BoostedTrees
from models.baselines.interface import BaselineData, InnerProducts
from models.baselines.lists import WithPopularity
from models.places import Places
from models.recommender import RECOMMEND_FEATURES, SIMILAR, Recommender
from models.recommender_tables import RecommenderTables
from models.tree_ensemble import TreeEnsemble


def can_be_served(model: Any) -> bool:
    """Tells whether a fitted baseline can be put into a fallback."""
    if isinstance(model, WithPopularity):
        return model.is_inner_product
    return isinstance(model, BoostedTrees | InnerProducts)


class FallbackRecommender(Recommender):
    """Ranks by one baseline and rates by another, where both exist.

    In place of our blocks, embeddings hold those of the baselines; of trees, what they read of
    either side.
    """

    def __init__(self, tables: RecommenderTables, trees: TreeEnsemble | None, assets_dir: str):
        """Builds the module.

        Args:
          tables: See `build_tables`.
          trees: What rates, None for the inner product of the rating blocks.
          assets_dir: Folder for the lists of ids.
        """
        super().__init__(tables, None, assets_dir)
        self._trees = trees
        if trees is not None:
            # What trees say of a pair is no inner product: nothing can be searched by it.
            for key in ("min_stars", "retrieval_weight", "rating_weight"):
                del self.optional_inputs[key]

    def signatures(self) -> dict:
        """Returns the signatures of a `Recommender`, but for those that embed something new."""
        left_out = (RECOMMEND_FEATURES, SIMILAR)
        return {key: f for key, f in super().signatures().items() if key not in left_out}

    def _stars(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        if self._trees is None:
            return super()._stars(queries, candidates)
        shape = tf.broadcast_dynamic_shape(tf.shape(queries)[:-1], tf.shape(candidates)[:-1])
        width = self.tables.rating_dim
        of_both = [
            tf.reshape(tf.broadcast_to(side[..., -width:], tf.concat([shape, [width]], 0)),
                       [-1, width])
            for side in (queries, candidates)
        ]  # fmt: skip
        # Of every column, one side holds the value and the other 0, except for the sums.
        stars = self._trees(of_both[0] + of_both[1])
        return tf.reshape(tf.clip_by_value(stars, features.MIN_STARS, features.MAX_STARS), shape)


def build_tables(
    data: BaselineData, rating: Any | None, retrieval: Any | None
) -> RecommenderTables:
    """Lays out what both models know.

    Args:
      data: What they learnt from.
      rating: A fitted rating baseline that can be served, or None.
      retrieval: Likewise of lists.
    """
    sizes = (data.num_users, data.num_businesses)
    nothing = np.zeros([sizes[0] + 1, 1]), np.zeros([sizes[1] + 1, 1])
    lists = retrieval.embeddings(*sizes) if retrieval is not None else nothing
    rates = rating.embeddings(*sizes) if rating is not None else nothing
    widths = lists[0].shape[1], rates[0].shape[1]
    # Where there are no lists, the best are those of the highest ratings.
    by_retrieval = retrieval is not None
    queries, candidates = (
        np.hstack(sides).astype(np.float32) for sides in zip(lists, rates, strict=True)
    )
    return RecommenderTables(
        user_ids=data.users.ids,
        business_ids=data.businesses.ids,
        query_embeddings=queries,
        candidate_embeddings=candidates,
        retrieval_weight=float(by_retrieval),
        rating_weight=float(not by_retrieval),
        rating_dim=widths[1],
        seen=data.fitted.histories(sizes[0]),
        mean_stars=float(data.fitted.stars.mean()),
        business_bias=np.zeros(sizes[1], np.float32),
        taste=np.zeros([sizes[1], 0], np.float32),
        history_weights=np.zeros(sizes[1], np.float32),
        factor_ridge=np.zeros(0, np.float32),
        factor_weight=0.0,
        places=Places.unknown(sizes[1]),
    )


def save(data: BaselineData, rating: Any | None, retrieval: Any | None, path: str) -> None:
    """Writes the SavedModel.

    Args:
      data: What the models learnt from.
      rating: A fitted rating baseline that can be served, or None.
      retrieval: Likewise of lists; at least one of both is given.
      path: Folder of the SavedModel.
    """
    trees = TreeEnsemble(rating.dump()) if isinstance(rating, BoostedTrees) else None
    tables = build_tables(data, rating, retrieval)
    with tempfile.TemporaryDirectory() as assets:
        export.save(FallbackRecommender(tables, trees, assets), path)
