"""The two towers: f maps users, f̃ maps businesses, and ⟨f, f̃⟩ answers both questions.

Each tower ends in two blocks. The retrieval blocks' inner product is the logit of a visit, the
rating blocks' is the predicted stars; biases are constant coordinates, so that each block, and
their concatenation, is a pure inner product.

Source: arXiv 2403.00802, section 3 (the two-stage model R(x_u, x_i) = ⟨f(x_u), f̃(x_i)⟩).
"""

from collections.abc import Mapping

import tensorflow as tf

from models.aggregates import aggregate_features, shrunken_bias
from models.directions import sum_lists, unit_rows
from models.hidden import Dropout, hidden_layers
from models.options import ModelOptions
from models.preprocessing import CATEGORIES, NUMERIC
from models.ridge import Priors

# Keys of the towers' inputs beside the transformed covariates.
SUMS = "sums"  # [batch, sums_dim] float32: models.aggregates.
PRIOR = "prior"  # [batch, 1] float32: models.ridge, of businesses only, in stars.
TASTE = "taste"  # [batch, business_dim] float32: models.taste, of businesses only.
ROW = "row"  # [batch] int32: row in the businesses table, -1 for a new business.
CONTENT = "content"  # [batch, content_dim] float32: models.content, of businesses only.
HISTORY_VECTOR = "history_vector"  # [batch, embedding_dim] float32: `history_vector`.
HISTORY_COUNT = "history_count"  # [batch] float32: number of businesses in the history.
USER_VECTOR = "user_vector"  # [batch, embedding_dim] float32: learnt of a user; zeros of a new one.

_TOKEN_DIM = 16  # Of the embeddings of cities, categories and attributes in the rating block.


def history_vector(directions: tf.RaggedTensor, weights: tf.RaggedTensor) -> tf.Tensor:
    """Sums the candidate directions of each history by weight, over the root of its length.

    With weights 1 / √d_i, d_i the ratings of a business, that is the normalisation of the bipartite
    graph's adjacency.

    Args:
      directions: `[batch, None, embedding_dim]` float32 ragged tensor: the unit directions of the
        businesses of each history.
      weights: `[batch, None]` float32 ragged tensor: what each of them weighs.

    Returns:
      `[batch, embedding_dim]` float32 tensor; zeros for an empty history.
    """
    sums = sum_lists(directions.with_values(directions.values * weights.values[:, None]))
    lengths = tf.cast(weights.row_lengths(), tf.float32)
    return sums * tf.math.rsqrt(tf.maximum(lengths, 1.0))[:, None]


def history_inputs(
    user_vectors: tf.Tensor, directions: tf.RaggedTensor, weights: tf.RaggedTensor
) -> dict[str, tf.Tensor]:
    """Assembles what a query's retrieval block reads beside covariates.

    Training, the export and requests all come through here.

    Args:
      user_vectors: `[batch, embedding_dim]` float32 tensor; zeros for a new user.
      directions: `[batch, None, >= embedding_dim]` float32 ragged tensor, as in `history_vector`;
        what is behind the direction is left out.
      weights: `[batch, None]` float32 ragged tensor: what each business weighs.
    """
    return {
        USER_VECTOR: user_vectors,
        # Cut after the sum: of each business the gradient's padding would cost more than the sum.
        HISTORY_VECTOR: history_vector(directions, weights)[:, : user_vectors.shape[1]],
        HISTORY_COUNT: tf.cast(weights.row_lengths(), tf.float32),
    }


class QueryRetrievalBlock(tf.keras.layers.Layer):
    """Where a user would go: `[direction / temperature, weight of popularity]`."""

    def __init__(self, options: ModelOptions, **kwargs):
        """Builds the block.

        Args:
          options: Sizes of the blocks and layers, and what training hides.
          **kwargs: Keras's own, such as `name`.
        """
        super().__init__(**kwargs)
        self._temperature = float(options.temperature)
        self._covariates = float(options.query_covariates)
        if self._covariates:
            self._hidden = hidden_layers(options.hidden_widths, options.dropout)
            self._direction = tf.keras.layers.Dense(
                options.embedding_dim, use_bias=False, kernel_initializer="zeros"
            )
        # Without a history there must be some direction all the same: at zero its gradient has no
        # bound.
        self._start = self.add_weight(
            "start",
            [options.embedding_dim],
            initializer=tf.keras.initializers.RandomNormal(0, 0.02),
        )
        self._popularity = tf.keras.layers.Dense(1, kernel_initializer="zeros")
        self._history_scale = self.add_weight("history_scale", initializer="ones")

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns `[batch, retrieval_block_dim]` float32."""
        count = tf.math.log1p(inputs[HISTORY_COUNT])[:, None]
        direction = self._history_scale * inputs[HISTORY_VECTOR] + self._start
        direction += inputs[USER_VECTOR]
        if self._covariates:
            # A user starts as their history alone; covariates earn their say.
            known = self._covariates * inputs[NUMERIC]
            hidden = self._hidden(tf.concat([known, count], axis=1), training=training)
            hidden = tf.concat([known, hidden], axis=1)
            direction += self._direction(hidden)
            popularity = self._popularity(hidden)
        else:
            popularity = self._popularity(count)
        direction = tf.math.l2_normalize(direction, axis=1) / self._temperature
        return tf.concat([direction, 1.0 + popularity], axis=1)


class QueryRatingBlock(tf.keras.layers.Layer):
    """How a user rates: `[interaction, own bias + mean, 1]`; see `models.factors` for the rest."""

    def __init__(
        self,
        options: ModelOptions,
        mean_stars: float,
        shrinkage: float,
        priors: Priors,
        **kwargs,
    ):
        """Builds the block.

        Args:
          options: Sizes of the blocks and layers, and what training hides.
          mean_stars: Mean training rating, in stars.
          shrinkage: Pseudo-count of a user's bias.
          priors: The weights of the users' covariates count.
          **kwargs: Keras's own, such as `name`.
        """
        super().__init__(**kwargs)
        # Weights rather than a prior a user: a new user's covariates come with the request.
        self._prior_weights = tf.constant(priors.user_weights[:, None], tf.float32)
        self._prior_intercept = priors.user_intercept
        self._mean_stars = mean_stars
        self._shrinkage = shrinkage
        self._hidden = hidden_layers(options.hidden_widths, options.dropout)
        self._interaction = tf.keras.layers.Dense(options.rating_dim)
        self._bias = tf.keras.layers.Dense(1, kernel_initializer="zeros")

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns `[batch, rating_block_dim]` float32."""
        aggregates = aggregate_features(inputs[SUMS], self._shrinkage)
        prior = tf.matmul(inputs[NUMERIC], self._prior_weights) + self._prior_intercept
        hidden = self._hidden(
            tf.concat([inputs[NUMERIC], prior, aggregates], axis=1), training=training
        )
        # The shrunken bias is the start, the network its correction.
        start = shrunken_bias(inputs[SUMS], prior, self._shrinkage)
        bias = self._bias(hidden) + start + self._mean_stars
        return tf.concat([self._interaction(hidden), bias, tf.ones_like(bias)], axis=1)


class QueryTower(tf.keras.layers.Layer):
    """f: embeds users from covariates, rating aggregates and their history of businesses."""

    def __init__(self, retrieval: QueryRetrievalBlock, rating: QueryRatingBlock, **kwargs):
        """Joins the two blocks."""
        super().__init__(**kwargs)
        self.retrieval = retrieval
        self.rating = rating

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns `[batch, total_dim]` float32: the retrieval block, then the rating block."""
        return tf.concat([self.retrieval(inputs, training), self.rating(inputs, training)], axis=1)


class CandidateRetrievalBlock(tf.keras.layers.Layer):
    """What draws visits to a business: `[unit direction, log popularity]`."""

    def __init__(
        self, options: ModelOptions, counts: tf.Tensor, initial_directions: tf.Tensor, **kwargs
    ):
        """Builds the block.

        Args:
          options: Sizes of the blocks and layers, and what training hides.
          counts: `[num_businesses]` float32 tensor: training ratings of each.
          initial_directions: `[num_businesses, embedding_dim]` float32 array: where the id
            embeddings start.
          **kwargs: Keras's own, such as `name`.
        """
        super().__init__(**kwargs)
        self._counts = counts
        self._keep_ids = Dropout(options.id_dropout) if options.id_dropout else None
        self._covariates = float(options.candidate_covariates)
        if self._covariates:
            self._direction = tf.keras.layers.Dense(
                options.embedding_dim, use_bias=False, kernel_initializer="zeros"
            )
        self.ids = self.add_weight(
            "ids",
            shape=initial_directions.shape,
            initializer=tf.keras.initializers.Constant(initial_directions),
        )
        # The direction of a business of which nothing is known.
        self._start = self.add_weight(
            "start",
            [options.embedding_dim],
            initializer=tf.keras.initializers.RandomNormal(0, 0.02),
        )
        self._popularity_scale = self.add_weight(
            "popularity_scale", initializer=tf.keras.initializers.Constant(0.5)
        )

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        ids: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Embeds candidates.

        Args:
          inputs: `ROW`, `NUMERIC` and `CONTENT`.
          training: Whether to drop ids.
          ids: `[batch, embedding_dim]` float32 tensor: the id embeddings of the rows, where the
            caller has gathered them.

        Returns:
          `[batch, retrieval_block_dim]` float32 tensor.
        """
        known = tf.cast(inputs[ROW] >= 0, tf.float32)
        rows = tf.maximum(inputs[ROW], 0)
        counts = tf.gather(self._counts, rows) * known
        if ids is None:
            # Of the value: to be gathered from, a variable is copied at every later reading.
            ids = tf.gather(tf.convert_to_tensor(self.ids), rows)
        if self._keep_ids or not training:
            # A business without training ratings has learnt nothing under its id but being
            # refused; the softmax of training leaves it out.
            warm = tf.cast(counts > 0, tf.float32)[:, None]
            if self._keep_ids:
                kept = self._keep_ids(tf.ones_like(warm), training=training)
                warm *= tf.cast(kept > 0, tf.float32)
            ids *= warm
        direction = ids + self._start
        if self._covariates:
            # No hidden layers: over the whole catalogue they cost half of a step again, and they
            # gained nothing on real data.
            content = tf.concat([inputs[NUMERIC], inputs[CONTENT]], axis=1)
            direction += self._direction(self._covariates * content)
        popularity = self._popularity_scale * tf.math.log1p(counts)
        return tf.concat([unit_rows(direction), popularity[:, None]], axis=1)


class CandidateRatingBlock(tf.keras.layers.Layer):
    """How a business is rated: `[interaction, 1, own bias]`."""

    def __init__(
        self,
        options: ModelOptions,
        vocabulary_sizes: Mapping[str, int],
        shrinkage: float,
        **kwargs,
    ):
        """Builds the block.

        Args:
          options: Sizes of the blocks and layers, and what training hides.
          vocabulary_sizes: By categorical or bag feature, the number of positions.
          shrinkage: Pseudo-count of a business's bias.
          **kwargs: Keras's own, such as `name`.
        """
        super().__init__(**kwargs)
        self._shrinkage = shrinkage
        self._hidden = hidden_layers(options.hidden_widths, options.dropout)
        self._interaction = tf.keras.layers.Dense(options.rating_dim)
        self._bias = tf.keras.layers.Dense(1, kernel_initializer="zeros")
        self._tokens = _embeddings(vocabulary_sizes, _TOKEN_DIM)
        # Categories also reach the block directly, past the hidden layers.
        self._shortcut = _embeddings(
            {CATEGORIES: vocabulary_sizes[CATEGORIES]}, int(options.rating_dim) + 1, "zeros"
        )

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns `[batch, rating_block_dim]` float32."""
        aggregates = aggregate_features(inputs[SUMS], self._shrinkage)
        hidden = self._hidden(
            tf.concat(
                [
                    inputs[NUMERIC],
                    inputs[PRIOR],
                    inputs[TASTE],
                    aggregates,
                    *_pooled(self._tokens, inputs),
                ],
                axis=1,
            ),
            training=training,
        )
        (shortcut,) = _pooled(self._shortcut, inputs)
        to_bias, to_interaction = tf.split(shortcut, [1, -1], axis=1)
        start = shrunken_bias(inputs[SUMS], inputs[PRIOR], self._shrinkage)
        bias = self._bias(hidden) + start + to_bias
        interaction = self._interaction(hidden) + to_interaction
        return tf.concat([interaction, tf.ones_like(bias), bias], axis=1)


class CandidateTower(tf.keras.layers.Layer):
    """f̃: embeds businesses from covariates, rating aggregates and, where known, their id."""

    def __init__(self, retrieval: CandidateRetrievalBlock, rating: CandidateRatingBlock, **kwargs):
        """Joins the two blocks."""
        super().__init__(**kwargs)
        self.retrieval = retrieval
        self.rating = rating

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns `[batch, total_dim]` float32: the retrieval block, then the rating block."""
        return tf.concat([self.retrieval(inputs, training), self.rating(inputs, training)], axis=1)


def _embeddings(
    vocabulary_sizes: Mapping[str, int], dim: int, initializer: str = "uniform"
) -> dict[str, tf.keras.layers.Embedding]:
    return {
        key: tf.keras.layers.Embedding(size, dim, embeddings_initializer=initializer, name=key)
        for key, size in vocabulary_sizes.items()
    }


def _pooled(
    tables: Mapping[str, tf.keras.layers.Embedding], inputs: Mapping[str, tf.Tensor]
) -> list[tf.Tensor]:
    """Looks up each table's feature, a category or the mean over a bag; zeros if it is empty."""
    pooled = []
    for key, table in tables.items():
        tokens = inputs[key]
        if isinstance(tokens, tf.RaggedTensor):
            sums = sum_lists(tokens.with_values(table(tokens.values)))
            lengths = tf.cast(tokens.row_lengths(), tf.float32)
            pooled.append(sums / tf.maximum(lengths, 1.0)[:, None])
        else:
            pooled.append(table(tokens))
    return pooled
