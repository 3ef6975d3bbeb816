"""Writes exports of the size of the Yelp Open Dataset, whose embeddings are drawn, not trained."""

import os
import sys
import tempfile

import numpy as np

from models import export
from models.aggregates import NUM_SUMS
from models.places import Places
from models.query_encoder import USER_COVARIATES
from models.recommender import Recommender
from models.recommender_tables import RecommenderTables
from models.tables import Bag

NUM_USERS, NUM_BUSINESSES = 200_000, 150_000
_DIRECTION_DIM, _RATING_DIM = 64, 8
_NUM_CLUSTERS = 500
_NUM_CITIES, _NUM_CATEGORIES = 50, 200
_SEEN_A_USER = 30
# Embeddings drawn at once: in 64 bits, ten million would take gigabytes.
_BLOCK_ROWS = 1_000_000
_NUM_TUNING_QUERIES, _TARGET_RECALL = 1_000, 0.99


def write(root: str, num_users: int, num_businesses: int, approximate: bool) -> None:
    """Writes version 1 of a model.

    Args:
      root: Gets `t2rec/1`, or `t2rec_scann/1`.
      num_users: Users, named `user-N`.
      num_businesses: Size of the catalogue.
      approximate: Whether to search with ScaNN.
    """
    tables = make_tables(num_users, num_businesses)
    name = "t2rec_scann" if approximate else "t2rec"
    with tempfile.TemporaryDirectory() as assets:
        recommender = Recommender(tables, _encoder(), assets)
        if approximate:
            from models.index_tuning import tune

            queries = tables.query_embeddings[:_NUM_TUNING_QUERIES].astype(np.float32)
            recommender = tune(tables, queries, _TARGET_RECALL).recommender(
                tables, _encoder(), assets
            )
        export.save(recommender, os.path.join(root, name, "1"))


def make_tables(num_users: int, num_businesses: int) -> RecommenderTables:
    """Draws clustered embeddings.

    Args:
      num_users: Users, named `user-N`.
      num_businesses: Size of the catalogue.
    """
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(_NUM_CLUSTERS, _DIRECTION_DIM))

    def embeddings(count: int) -> np.ndarray:
        drawn = np.empty([count, _DIRECTION_DIM + 1 + _RATING_DIM], np.float32)
        for start in range(0, count, _BLOCK_ROWS):
            block = drawn[start : start + _BLOCK_ROWS]
            block[:] = draw(len(block))
        return drawn

    def draw(count: int) -> np.ndarray:
        directions = centres[rng.integers(_NUM_CLUSTERS, size=count)]
        directions = directions + 0.7 * rng.normal(size=directions.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        rest = rng.normal(scale=0.1, size=(count, 1 + _RATING_DIM))
        return np.concatenate([directions, rest], axis=1)

    rows = np.repeat(np.arange(num_users), _SEEN_A_USER)
    seen = rng.integers(num_businesses, size=len(rows)).astype(np.int32)
    businesses = np.arange(num_businesses, dtype=np.int32)
    return RecommenderTables(
        user_ids=np.array([b"user-%d" % row for row in range(num_users)], object),
        business_ids=np.array([b"business-%013d" % row for row in range(num_businesses)], object),
        query_embeddings=embeddings(num_users + 1).astype(np.float16),
        candidate_embeddings=embeddings(num_businesses + 1),
        retrieval_weight=1.0,
        rating_weight=0.0,
        rating_dim=_RATING_DIM,
        seen=Bag.from_pairs(rows, seen, num_users),
        mean_stars=3.5,
        mean_age_years=1.0,
        business_bias=np.zeros(num_businesses, np.float32),
        taste=np.zeros([num_businesses, 0], np.float32),
        history_weights=np.ones(num_businesses, np.float32),
        factor_ridge=np.zeros(0, np.float32),
        factor_weight=0.0,
        places=Places.unknown(
            num_businesses,
            categories=_label("Category", businesses, _NUM_CATEGORIES),
            cities=_label("City", businesses, _NUM_CITIES),
        ),
    )


def _label(name: str, rows: np.ndarray, num_labels: int) -> dict[bytes, np.ndarray]:
    return {f"{name} {n}".encode(): rows[n::num_labels] for n in range(num_labels)}


def _encoder():
    """Makes a stand-in for the query tower: the sum of the history's directions."""
    import tensorflow as tf

    ragged = tf.RaggedTensorSpec([None, None], tf.int32, row_splits_dtype=tf.int64)

    class SumEncoder(tf.Module):
        @tf.function(
            input_signature=[
                {key: tf.TensorSpec([None], tf.int64, name=key) for key in USER_COVARIATES},
                tf.TensorSpec([None, NUM_SUMS], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None], tf.float32),
                ragged,
            ]
        )
        def encode(self, covariates, sums, vectors, directions, counts, histories):
            visited = tf.ragged.map_flat_values(lambda rows: tf.gather(directions, rows), histories)
            rest = tf.ones([tf.shape(sums)[0], 1 + _RATING_DIM])
            embedding = tf.concat([tf.reduce_sum(visited, axis=1), rest], axis=1)
            return tf.ensure_shape(embedding, [None, _DIRECTION_DIM + 1 + _RATING_DIM])

    return SumEncoder()


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "approximate")
