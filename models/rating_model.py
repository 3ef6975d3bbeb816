"""The rating model: how many stars users give, from covariates and rating sums."""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.aggregates import RatingSums
from models.factors import Factors
from models.hidden import Dropout, draw_rows, drop_rows
from models.options import ModelOptions
from models.preprocessing import CITY, NUMERIC
from models.tables import EntityTable
from models.towers import PRIOR, SUMS, TASTE, CandidateRatingBlock, QueryRatingBlock

_BLOCK_ROWS = 4_096


class RatingModel(tfrs.Model):
    """The rating blocks of both towers, and what stands beside them in closed form.

    The model holds the covariates of all users and businesses and gathers them by row number; a
    training batch brings the rating sums that its rows may be shown.

    Attributes:
      options: Sizes and what training hides.
      sums: Rating sums over the training interactions.
      query: The block of the query tower.
      candidate: The block of the candidate tower.
      factors: Factors of what the blocks leave over, once they are trained.
    """

    def __init__(
        self, options: ModelOptions, users: EntityTable, businesses: EntityTable, sums: RatingSums
    ):
        """Builds the model on the tables of one data set.

        Args:
          options: Sizes and what training hides.
          users: All users.
          businesses: All businesses.
          sums: Rating sums over the training interactions.
        """
        super().__init__()
        self.options = options
        self.sums = sums
        self.factors = Factors.none(users.num_rows, businesses.num_rows)
        bias = sums.bias
        self.query = QueryRatingBlock(options, bias.mean_stars, bias.user_shrinkage, bias.priors)
        self.candidate = CandidateRatingBlock(
            options, businesses.vocabulary_sizes, bias.business_shrinkage
        )
        self._keep_users = Dropout(options.user_cold_dropout)
        self._keep_businesses = Dropout(options.business_cold_dropout)
        self._keep_profiles = Dropout(options.user_profile_dropout)
        # It takes the mean over a batch in any case; Keras lets no other reduction into a strategy.
        self._task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(tf.keras.losses.Reduction.NONE)
        )
        self._user_numeric = tf.constant(users.numeric)
        self._business_numeric = tf.constant(businesses.numeric)
        self._city = tf.constant(businesses.categorical[CITY])
        self._new_city = businesses.vocabulary_sizes[CITY] - 1
        self._taste = tf.constant(sums.taste.businesses)
        self._business_priors = tf.constant(bias.priors.businesses, tf.float32)
        self._bags = {
            key: tf.RaggedTensor.from_row_splits(bag.values, bag.row_splits)
            for key, bag in businesses.bags.items()
        }

    @property
    def block_dim(self) -> int:
        """Coordinates of an embedding: factors, interaction and one for each side's bias."""
        return self.factors.factor_dim + int(self.options.rating_dim) + 2

    def compute_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the mean squared error of a batch, in squared stars.

        Args:
          inputs: See `predict_stars`; and `stars`, `[batch]` float32.
          training: Whether to drop units and rating sums.

        Returns:
          A float32 scalar.
        """
        predicted = self.predict_stars(inputs, training)
        return self._task(labels=inputs["stars"], predictions=predicted, training=training)

    def predict_stars(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Predicts ratings by the blocks alone, without factors.

        Args:
          inputs: `user_rows` and `business_rows`, `[batch]` int32; `user_sums` and
            `business_sums`, `[batch, sums_dim]` float32, and `business_priors`, `[batch]` float32,
            cross-fitted.
          training: Whether to drop units and rating sums.

        Returns:
          `[batch]` float32 tensor, not clipped.
        """
        numeric = tf.gather(self._user_numeric, inputs["user_rows"])
        user_sums, business_sums = inputs["user_sums"], inputs["business_sums"]
        business_inputs = self._candidate_inputs(
            inputs["business_rows"], business_sums, inputs["business_priors"]
        )
        if training:
            numeric = drop_rows(numeric, draw_rows(self._keep_profiles, numeric))
            user_sums = drop_rows(user_sums, draw_rows(self._keep_users, user_sums))
            keep = draw_rows(self._keep_businesses, business_sums)
            business_inputs[SUMS] = drop_rows(business_sums, keep)
            # Coordinates from visits are history as well, those from tags are not.
            visits, tags = tf.split(business_inputs[TASTE], [self.sums.taste.taste_dim, -1], axis=1)
            business_inputs[TASTE] = tf.concat([drop_rows(visits, keep), tags], axis=1)
        query = self.query({NUMERIC: numeric, SUMS: user_sums}, training)
        candidate = self.candidate(business_inputs, training)
        return tf.reduce_sum(query * candidate, axis=1)

    def embed_candidates(self) -> np.ndarray:
        """Embeds the whole catalogue.

        Returns:
          `[num_businesses, block_dim]` float32 array.
        """
        sums = self.sums.businesses
        blocks = [
            self._embed_candidates(
                tf.range(start, min(start + _BLOCK_ROWS, len(sums))),
                sums[start : start + _BLOCK_ROWS],
            ).numpy()
            for start in range(0, len(sums), _BLOCK_ROWS)
        ]
        return np.concatenate([self.factors.businesses, np.concatenate(blocks)], axis=1)

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)],
    )
    def _embed_candidates(self, rows: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        sums = tf.ensure_shape(sums, [None, self.sums.businesses.shape[1]])
        priors = tf.gather(self._business_priors, rows)
        return self.candidate(self._candidate_inputs(rows, sums, priors))

    def embed_queries(self, rows: np.ndarray) -> np.ndarray:
        """Embeds users from their covariates and rating sums.

        Args:
          rows: `[num_queries]` array of user rows.

        Returns:
          `[num_queries, block_dim]` float32 array.
        """
        blocks = [np.zeros([0, int(self.options.rating_dim) + 2], np.float32)]
        for start in range(0, len(rows), _BLOCK_ROWS):
            users = rows[start : start + _BLOCK_ROWS]
            embedded = self._embed_queries(tf.constant(users, tf.int32), self.sums.users[users])
            blocks.append(embedded.numpy())
        return np.concatenate([self.factors.users[rows], np.concatenate(blocks)], axis=1)

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)],
    )
    def _embed_queries(self, rows: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        sums = tf.ensure_shape(sums, [None, self.sums.users.shape[1]])
        return self.query({NUMERIC: tf.gather(self._user_numeric, rows), SUMS: sums})

    def embed_new_candidate(self) -> np.ndarray:
        """Embeds a business of which nothing is known, `[1, block_dim]` float32."""
        empty = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int64), [0, 0])
        embedded = self.candidate({
            SUMS: tf.zeros([1, self.sums.businesses.shape[1]]),
            PRIOR: tf.constant([[self.sums.bias.priors.business_intercept]], tf.float32),
            NUMERIC: tf.zeros([1, self._business_numeric.shape[1]]),
            TASTE: tf.zeros([1, self._taste.shape[1]]),
            CITY: tf.constant([self._new_city]),
            **dict.fromkeys(self._bags, empty),
        })
        return np.pad(embedded, [(0, 0), (self.factors.factor_dim, 0)])

    def embed_new_query(self) -> np.ndarray:
        """Embeds a user of whom nothing is known, `[1, block_dim]` float32."""
        embedded = self.query({
            NUMERIC: tf.zeros([1, self._user_numeric.shape[1]]),
            SUMS: tf.zeros([1, self.sums.users.shape[1]]),
        })
        return np.pad(embedded, [(0, 0), (self.factors.factor_dim, 0)])

    def _candidate_inputs(
        self, rows: tf.Tensor, sums: tf.Tensor, priors: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return {
            SUMS: sums,
            PRIOR: priors[:, None],
            NUMERIC: tf.gather(self._business_numeric, rows),
            TASTE: tf.gather(self._taste, rows),
            CITY: tf.gather(self._city, rows),
            **{key: tf.gather(bag, rows) for key, bag in self._bags.items()},
        }
