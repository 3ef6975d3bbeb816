"""The best baselines as one SavedModel that answers `rate` and `recommend` as ours does."""

import tempfile

import numpy as np
import tensorflow as tf

from models import export
from models.baselines.interface import BaselineData, ListScores, PairScores, Servable
from models.places import Places
from models.recommender import RECOMMEND_FEATURES, SIMILAR, Recommender
from models.recommender_tables import RecommenderTables
from models.search import ExactSearch


class ScoredSearch(ExactSearch):
    """Scores the catalogue by a baseline, and by inner products where that has nothing to say."""

    def __init__(self, exact: ExactSearch, scorer: tf.Module):
        """Takes the place of exact search.

        Args:
          exact: The search by inner products.
          scorer: See `interface.ListScores`.
        """
        super().__init__(exact.candidates, exact.rating_dim, exact.filters)
        self._scorer = scorer

    def scores(self, queries: tf.Tensor, columns: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Scores some businesses: see `ExactSearch`."""
        said = tf.gather(self._scorer(queries), columns, axis=1)
        otherwise = super().scores(queries, columns, candidates)
        return tf.where(tf.math.is_finite(said), said, otherwise)


class FallbackRecommender(Recommender):
    """Ranks by one baseline and rates by another.

    In place of our blocks, embeddings hold those of the baselines; of what is no inner product,
    what its scorer reads.
    """

    def __init__(
        self,
        tables: RecommenderTables,
        assets_dir: str,
        pair_scorer: tf.Module | None = None,
        list_scorer: tf.Module | None = None,
    ):
        """Builds the module.

        Args:
          tables: See `build_tables`.
          assets_dir: Folder for the lists of ids.
          pair_scorer: What rates, None for the inner product of the rating blocks.
          list_scorer: What ranks, None for that of the retrieval blocks.
        """
        make_search = (lambda exact: ScoredSearch(exact, list_scorer)) if list_scorer else None
        super().__init__(tables, None, assets_dir, make_search)
        self._pair_scorer = pair_scorer
        self._list_scorer = list_scorer  # A search is no module: its variables are held here.
        # What a scorer says is no inner product: it has no weight, and nothing is searched by it.
        unsupported = {"retrieval_weight", "rating_weight"} if pair_scorer or list_scorer else set()
        for key in unsupported | ({"min_stars"} if pair_scorer else set()):
            del self.optional_inputs[key]

    def signatures(self) -> dict:
        """Returns the signatures of a `Recommender`, but for those that embed something new."""
        left_out = (RECOMMEND_FEATURES, SIMILAR)
        return {key: f for key, f in super().signatures().items() if key not in left_out}

    def _stars(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        if self._pair_scorer is None:
            return super()._stars(queries, candidates)
        shape = tf.broadcast_dynamic_shape(tf.shape(queries)[:-1], tf.shape(candidates)[:-1])
        width = self.tables.rating_dim
        of_both = [
            tf.reshape(tf.broadcast_to(side[..., -width:], tf.concat([shape, [width]], 0)),
                       [-1, width])
            for side in (queries, candidates)
        ]  # fmt: skip
        return tf.reshape(self._pair_scorer(*of_both), shape)


def build_tables(data: BaselineData, rating: Servable, retrieval: Servable) -> RecommenderTables:
    """Lays out what both models know.

    Args:
      data: What they learnt from.
      rating: A fitted rating baseline.
      retrieval: Likewise of lists.
    """
    sizes = (data.num_users, data.num_businesses)
    lists, rates = retrieval.embeddings(*sizes), rating.embeddings(*sizes)
    queries, candidates = (
        np.hstack(sides).astype(np.float32) for sides in zip(lists, rates, strict=True)
    )
    return RecommenderTables(
        user_ids=data.users.ids,
        business_ids=data.businesses.ids,
        query_embeddings=queries,
        candidate_embeddings=candidates,
        retrieval_weight=1.0,
        rating_weight=0.0,
        rating_dim=rates[0].shape[1],
        seen=data.fitted.histories(sizes[0]),
        mean_stars=data.fitted.mean_stars,
        mean_age_years=0.0,
        business_bias=np.zeros(sizes[1], np.float32),
        taste=np.zeros([sizes[1], 0], np.float32),
        history_weights=np.zeros(sizes[1], np.float32),
        factor_ridge=np.zeros(0, np.float32),
        factor_weight=0.0,
        places=Places.unknown(sizes[1]),
    )


def save(data: BaselineData, rating: Servable, retrieval: Servable, path: str) -> None:
    """Writes the SavedModel.

    Args:
      data: What the models learnt from.
      rating: A fitted rating baseline.
      retrieval: Likewise of lists.
      path: Folder of the SavedModel.
    """
    pair_scorer = rating.pair_scorer() if isinstance(rating, PairScores) else None
    list_scorer = retrieval.list_scorer() if isinstance(retrieval, ListScores) else None
    tables = build_tables(data, rating, retrieval)
    with tempfile.TemporaryDirectory() as assets:
        export.save(FallbackRecommender(tables, assets, pair_scorer, list_scorer), path)
