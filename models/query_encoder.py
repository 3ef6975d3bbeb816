"""The query tower from raw covariates on, for users who were never in training."""

import tensorflow as tf

from models import features
from models.preprocessing import NUMERIC
from models.towers import SUMS, history_inputs

# Raw user covariates of `recommend_features`; -1 stands for "not known".
USER_COVARIATES = (
    features.USER_YELPING_SINCE_SECONDS,
    features.USER_NUM_ELITE_YEARS,
    features.USER_NUM_FRIENDS,
    *features.USER_COUNTS,
)


class QueryEncoder(tf.Module):
    """The query tower from raw covariates on: the Transform graph, then f."""

    def __init__(
        self,
        tower: tf.keras.layers.Layer,
        transform: tf.keras.layers.Layer,
        sums_dim: int,
        embedding_dim: int,
    ):
        """Joins the two.

        Args:
          tower: A built `models.towers.QueryTower`.
          transform: The users' Transform graph as a layer (`transform_features_layer`).
          sums_dim: Width of the users' rating sums.
          embedding_dim: Coordinates of the retrieval direction.
        """
        super().__init__(name="query_encoder")
        self.tower = tower
        self.transform = transform
        self._embedding_dim = embedding_dim
        ragged = tf.RaggedTensorSpec([None, None], tf.int32, row_splits_dtype=tf.int64)
        self.encode = tf.function(
            self._encode,
            autograph=False,
            input_signature=[
                {key: tf.TensorSpec([None], tf.int64, name=key) for key in USER_COVARIATES},
                tf.TensorSpec([None, sums_dim], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None], tf.float32),
                ragged,
            ],
        )

    def _encode(
        self, covariates, sums, user_vectors, directions, history_weights, histories
    ) -> tf.Tensor:
        batch = tf.shape(sums)[0]
        raw = {key: _sparse(value) for key, value in covariates.items()}
        raw[features.USER_ID] = tf.fill([batch, 1], "")
        # The graph asks for the lists too, though it makes nothing of them.
        raw[features.USER_FRIENDS] = _sparse(tf.fill([batch], ""), missing="")
        raw[features.USER_ELITE_YEARS] = _sparse(tf.fill([batch], tf.constant(-1, tf.int64)))
        numeric = self.transform(raw)[NUMERIC]
        return self.tower({
            NUMERIC: numeric,
            SUMS: sums,
            **history_inputs(
                tf.ensure_shape(user_vectors, [None, self._embedding_dim]),
                histories.with_values(tf.gather(directions, histories.values)),
                histories.with_values(tf.gather(history_weights, histories.values)),
            ),
        })


def _sparse(values: tf.Tensor, missing=-1) -> tf.SparseTensor:
    """Makes the `[batch, 1]` sparse tensor that a Transform graph takes, without missing values."""
    rows = tf.where(values != missing)[:, 0]
    places = tf.stack([rows, tf.zeros_like(rows)], axis=1)
    shape = tf.stack([tf.size(values, tf.int64), 1])
    return tf.SparseTensor(places, tf.gather(values, rows), shape)
