"""T²Rec as a TensorFlow Recommenders model: two towers, two tasks, one set of tables."""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.aggregates import RatingSums
from models.candidate_prior import CandidatePrior, blend
from models.factors import Factors
from models.hidden import Dropout
from models.low_pass import LowPass
from models.options import ModelOptions
from models.preprocessing import CITY, NUMERIC
from models.tables import Bag, EntityTable
from models.tasks import UserSoftmaxRetrieval, spread
from models.towers import (
    CONTENT,
    HISTORY_COUNT,
    HISTORY_VECTOR,
    PRIOR,
    ROW,
    SUMS,
    TASTE,
    USER_VECTOR,
    CandidateRatingBlock,
    CandidateRetrievalBlock,
    CandidateTower,
    QueryRatingBlock,
    QueryRetrievalBlock,
    QueryTower,
    history_vector,
)

_BLOCK_ROWS = 4_096


class TwoTowerModel(tfrs.Model):
    """R(x_u, x_i) = ⟨f(x_u), f̃(x_i)⟩, trained for retrieval and rating together.

    The model holds the covariates of all users and businesses and gathers them by row number, so
    that a training batch is a handful of integers.
    """

    def __init__(
        self,
        options: ModelOptions,
        users: EntityTable,
        businesses: EntityTable,
        sums: RatingSums,
        histories: Bag,
        initial_directions: np.ndarray,
    ):
        """Builds the model on the tables of one data set.

        Args:
          options: Sizes and weights.
          users: All users.
          businesses: All businesses: the catalogue.
          sums: Rating sums over the training interactions.
          histories: Each user's training businesses, as rows.
          initial_directions: `[num_businesses, embedding_dim]` float32 array.
        """
        super().__init__()
        self.options = options
        self.sums = sums
        # In closed form, once the towers are trained.
        self.candidate_prior: CandidatePrior | None = None
        self.low_pass = LowPass.none(businesses.num_rows)
        self.factors = Factors.none(users.num_rows, businesses.num_rows)
        self._users = users
        self.businesses = businesses
        self._histories = histories
        counts = np.bincount(histories.values, minlength=businesses.num_rows)
        self.counts = tf.constant(counts, tf.float32)
        self.history_weights = (self.counts + 1.0) ** -float(options.history_power)
        self.query_tower = QueryTower(
            QueryRetrievalBlock(options),
            QueryRatingBlock(
                options, sums.bias.mean_stars, sums.bias.user_shrinkage, sums.bias.priors
            ),
            name="query_tower",
        )
        self.candidate_tower = CandidateTower(
            CandidateRetrievalBlock(options, self.counts, initial_directions),
            CandidateRatingBlock(
                options, businesses.vocabulary_sizes, sums.bias.business_shrinkage
            ),
            name="candidate_tower",
        )
        # Zero for everybody at first: a user is what they did.
        self.user_vectors = tf.Variable(
            tf.zeros([users.num_rows if options.user_embedding else 0, options.embedding_dim]),
            name="user_vectors",
        )
        self._keep_users = Dropout(options.user_cold_dropout)
        self._keep_businesses = Dropout(options.business_cold_dropout)
        self._keep_profiles = Dropout(options.user_profile_dropout)
        self.retrieval_task = UserSoftmaxRetrieval()
        # It takes the mean over a batch in any case; Keras lets no other reduction into a strategy.
        self.rating_task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(tf.keras.losses.Reduction.NONE)
        )
        self._user_numeric = tf.constant(users.numeric)
        self._business_numeric = tf.constant(businesses.numeric)
        self._city = tf.constant(businesses.categorical[CITY])
        self._taste = tf.constant(sums.taste.businesses)
        self._business_priors = tf.constant(sums.bias.priors.businesses, tf.float32)
        self._content = tf.constant(businesses.content)
        self._bags = {
            key: tf.RaggedTensor.from_row_splits(bag.values, bag.row_splits)
            for key, bag in businesses.bags.items()
        }

    @property
    def retrieval_block_dim(self) -> int:
        """Coordinates of the retrieval block: direction, popularity and the low-pass block."""
        return self.options.retrieval_block_dim + self.low_pass.dim

    @property
    def rating_block_dim(self) -> int:
        """Coordinates of the rating block: factors, interaction and one for each side's bias."""
        return self.factors.factor_dim + int(self.options.rating_dim) + 2

    @property
    def total_dim(self) -> int:
        """Coordinates of a whole query or candidate embedding."""
        return self.retrieval_block_dim + self.rating_block_dim

    @property
    def retrieval_variables(self) -> list[tf.Variable]:
        """Trainable variables of the retrieval blocks; the rating task does not touch them.

        Those of single users and businesses are left out: see `user_vectors` and
        `candidate_ids`.
        """
        return [
            variable
            for block in (self.query_tower.retrieval, self.candidate_tower.retrieval)
            for variable in block.trainable_variables
            if variable is not self.candidate_ids
        ]

    @property
    def candidate_ids(self) -> tf.Variable:
        """`[num_businesses, embedding_dim]` float32: the candidates' id embeddings."""
        return self.candidate_tower.retrieval.ids

    @property
    def rating_variables(self) -> list[tf.Variable]:
        """Trainable variables of the rating blocks; the retrieval task does not touch them."""
        return (
            self.query_tower.rating.trainable_variables
            + self.candidate_tower.rating.trainable_variables
        )

    def candidate_inputs(self, rows: tf.Tensor, sums: tf.Tensor, priors: tf.Tensor) -> dict:
        """Gathers the candidate tower's inputs.

        Args:
          rows: `[batch]` int32 tensor of business rows.
          sums: `[batch, business_sums_dim]` float32 tensor of rating sums.
          priors: `[batch]` float32 tensor: what covariates say of the biases, in stars.
        """
        return {
            ROW: rows,
            SUMS: sums,
            PRIOR: priors[:, None],
            NUMERIC: tf.gather(self._business_numeric, rows),
            TASTE: tf.gather(self._taste, rows),
            CITY: tf.gather(self._city, rows),
            CONTENT: tf.gather(self._content, rows),
            **{key: tf.gather(bag, rows) for key, bag in self._bags.items()},
        }

    def compute_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the weighted loss of one mixed batch.

        The tasks share no variables, so that the training loops take them one by one, each at its
        own pace; the sum is for whoever trains with `fit`.

        Args:
          inputs: A rating batch, a retrieval batch or the union of both: see `rating_loss` and
            `retrieval_loss`.
          training: Whether to drop units, rating sums and ids.

        Returns:
          A float32 scalar.
        """
        loss = tf.zeros([])
        if self.options.objective.rating:
            loss += self.options.objective.rating * self.rating_loss(inputs, training)
        if self.options.objective.retrieval:
            loss += self.options.objective.retrieval * self.retrieval_loss(inputs, training)
        return loss

    def rating_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the mean squared error of a rating batch, in squared stars.

        Args:
          inputs: See `predict_stars`; and `stars`, `[batch]` float32.
          training: Whether to drop units and rating sums.
        """
        predicted = self.predict_stars(inputs, training)
        return self.rating_task(labels=inputs["stars"], predictions=predicted, training=training)

    def predict_stars(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Predicts ratings by the towers alone, without factors.

        Args:
          inputs: `user_rows` and `business_rows`, `[batch]` int32; `user_sums` and
            `business_sums`, `[batch, sums_dim]` float32, and `business_priors`, `[batch]` float32,
            cross-fitted.
          training: Whether to drop units and rating sums.

        Returns:
          `[batch]` float32 tensor, not clipped.
        """
        user_sums, business_sums = inputs["user_sums"], inputs["business_sums"]
        business_inputs = self.candidate_inputs(
            inputs["business_rows"], business_sums, inputs["business_priors"]
        )
        if training:
            user_sums = _drop_rows(user_sums, _draw_rows(self._keep_users, user_sums))
            keep = _draw_rows(self._keep_businesses, business_sums)
            business_inputs[SUMS] = _drop_rows(business_sums, keep)
            # Coordinates from visits are history as well, those from tags are not.
            visits, tags = tf.split(business_inputs[TASTE], [self.sums.taste.taste_dim, -1], axis=1)
            business_inputs[TASTE] = tf.concat([_drop_rows(visits, keep), tags], axis=1)
        query = self.query_tower.rating(
            {NUMERIC: self._gather_profiles(inputs["user_rows"], training), SUMS: user_sums},
            training,
        )
        candidate = self.candidate_tower.rating(business_inputs, training)
        return tf.reduce_sum(query * candidate, axis=1)

    def retrieval_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the softmax cross-entropy of a retrieval batch, in nats a positive.

        Args:
          inputs: `query_rows`, `[num_queries]` int32; `candidate_rows`, `[num_candidates]` int32,
            and their `candidate_offsets`, float32 (`models.tasks`); `histories` and `positives`,
            `[num_queries, None]` int32 ragged tensors of places in `candidate_rows`, gathered once
            if they are one object; and, if the caller differentiates by them, the gathered
            `candidate_ids` and `user_vectors`.
          training: Whether to drop units and ids.
        """
        rows = inputs["candidate_rows"]
        candidates = self.candidate_tower.retrieval(
            {
                ROW: rows,
                NUMERIC: tf.gather(self._business_numeric, rows),
                CONTENT: tf.gather(self._content, rows),
            },
            training,
            ids=inputs.get("candidate_ids"),
        )
        histories, positives = inputs["histories"], inputs["positives"]
        if positives is histories:
            candidates, visited = spread(candidates, histories.values)
            asked = visited
        else:
            candidates, visited, asked = spread(candidates, histories.values, positives.values)
        weights = tf.gather(self.history_weights, tf.gather(rows, histories.values))
        queries = self.query_tower.retrieval(
            query_inputs(
                self._gather_profiles(inputs["query_rows"], training),
                tf.zeros([1, 0]),
                inputs.get("user_vectors", self._gather_user_vectors(inputs["query_rows"])),
                histories.with_values(visited),
                histories.with_values(weights),
            ),
            training,
        )
        return self.retrieval_task(
            queries, candidates, positives.with_values(asked), inputs["candidate_offsets"]
        )

    def _gather_profiles(self, rows: tf.Tensor, training: bool) -> tf.Tensor:
        numeric = tf.gather(self._user_numeric, rows)
        return (
            _drop_rows(numeric, _draw_rows(self._keep_profiles, numeric)) if training else numeric
        )

    def _gather_user_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        if self.options.user_embedding:
            return tf.gather(self.user_vectors, rows)
        return tf.zeros([tf.size(rows), self.options.embedding_dim])

    def embed_candidates(self) -> np.ndarray:
        """Embeds the whole catalogue.

        Returns:
          `[num_businesses, total_dim]` float32 array.
        """
        blocks = [
            self._embed_candidates(
                tf.range(start, min(start + _BLOCK_ROWS, self.businesses.num_rows)),
                self.sums.businesses[start : start + _BLOCK_ROWS],
            )
            for start in range(0, self.businesses.num_rows, _BLOCK_ROWS)
        ]
        embedded = np.concatenate([block.numpy() for block in blocks])
        prior, cut = self.candidate_prior, self.options.retrieval_block_dim
        if prior is not None:
            told = blend(embedded[:, :cut], prior.businesses, self.counts, prior.visits)
            embedded[:, :cut] = told.numpy()
        return self._insert(embedded, self.low_pass.businesses, self.factors.businesses)

    def _insert(
        self, embedded: np.ndarray, low_pass: np.ndarray, factors: np.ndarray
    ) -> np.ndarray:
        """Puts what is in closed form between the towers' blocks: the end of one, then the next."""
        cut = self.options.retrieval_block_dim
        return np.concatenate([embedded[:, :cut], low_pass, factors, embedded[:, cut:]], axis=1)

    def _insert_zeros(self, embedded: np.ndarray) -> np.ndarray:
        """The same for what is new."""
        low_pass = np.zeros([len(embedded), self.low_pass.dim], np.float32)
        factors = np.zeros([len(embedded), self.factors.factor_dim], np.float32)
        return self._insert(embedded, low_pass, factors)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
        ],
    )
    def _embed_candidates(self, rows: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        sums = tf.ensure_shape(sums, [None, self.sums.businesses.shape[1]])
        priors = tf.gather(self._business_priors, rows)
        return self.candidate_tower(self.candidate_inputs(rows, sums, priors))

    def embed_new_candidate(self) -> np.ndarray:
        """Embeds a business of which nothing is known, `[1, total_dim]` float32."""
        empty = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int64), [0, 0])
        embedded = self.candidate_tower({
            ROW: tf.constant([-1]),
            SUMS: tf.zeros([1, self.sums.businesses.shape[1]]),
            PRIOR: tf.constant([[self.sums.bias.priors.business_intercept]], tf.float32),
            NUMERIC: tf.zeros([1, self._business_numeric.shape[1]]),
            TASTE: tf.zeros([1, self._taste.shape[1]]),
            CONTENT: tf.zeros([1, self._content.shape[1]]),
            CITY: tf.constant([self.businesses.vocabulary_sizes[CITY] - 1]),
            **{key: empty for key in self._bags},
        }).numpy()
        return self._insert_zeros(embedded)

    def embed_new_query(self) -> np.ndarray:
        """Embeds a user of whom nothing is known, `[1, total_dim]` float32."""
        dim = self.options.embedding_dim
        embedded = self.query_tower(
            query_inputs(
                tf.zeros([1, self._user_numeric.shape[1]]),
                tf.zeros([1, self.sums.users.shape[1]]),
                tf.zeros([1, dim]),
                tf.RaggedTensor.from_row_splits(tf.zeros([0, dim]), [0, 0]),
                tf.RaggedTensor.from_row_splits(tf.zeros([0]), [0, 0]),
            )
        ).numpy()
        return self._insert_zeros(embedded)

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
        directions = tf.constant(candidates[:, : self.options.embedding_dim])
        histories = self._histories.take(rows) if histories is None else histories
        width = self.options.retrieval_block_dim + int(self.options.rating_dim) + 2
        blocks = [np.zeros([0, width], np.float32)]
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = np.arange(start, min(start + _BLOCK_ROWS, len(rows)))
            bag = histories.take(block)
            blocks.append(
                self._embed_queries(
                    tf.gather(self._user_numeric, rows[block]),
                    self.sums.users[rows[block]],
                    self._gather_user_vectors(tf.constant(rows[block])),
                    directions,
                    tf.RaggedTensor.from_row_splits(bag.values, bag.row_splits),
                ).numpy()
            )
        return self._insert(
            np.concatenate(blocks), self.low_pass.users(histories), self.factors.users[rows]
        )

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
            tf.RaggedTensorSpec([None, None], tf.int32, row_splits_dtype=tf.int64),
        ],
    )
    def _embed_queries(
        self,
        numeric: tf.Tensor,
        sums: tf.Tensor,
        user_vectors: tf.Tensor,
        directions: tf.Tensor,
        histories: tf.RaggedTensor,
    ) -> tf.Tensor:
        dim = self.options.embedding_dim
        directions = tf.ensure_shape(directions, [None, dim])
        return self.query_tower(
            query_inputs(
                tf.ensure_shape(numeric, [None, self._user_numeric.shape[1]]),
                tf.ensure_shape(sums, [None, self.sums.users.shape[1]]),
                tf.ensure_shape(user_vectors, [None, dim]),
                histories.with_values(tf.gather(directions, histories.values)),
                histories.with_values(tf.gather(self.history_weights, histories.values)),
            )
        )


def query_inputs(
    numeric: tf.Tensor,
    sums: tf.Tensor,
    user_vectors: tf.Tensor,
    history_directions: tf.RaggedTensor,
    history_weights: tf.RaggedTensor,
) -> dict[str, tf.Tensor]:
    """Assembles the query tower's inputs; training, the export and requests all come through here.

    Args:
      numeric: `[batch, num_numeric]` float32 tensor of transformed covariates.
      sums: `[batch, user_sums_dim]` float32 tensor of rating sums.
      user_vectors: `[batch, embedding_dim]` float32 tensor; zeros for a new user.
      history_directions: `[batch, None, >= embedding_dim]` float32 ragged tensor; what is behind
        the direction is left out.
      history_weights: `[batch, None]` float32 ragged tensor: what each business weighs.
    """
    return {
        NUMERIC: numeric,
        SUMS: sums,
        USER_VECTOR: user_vectors,
        # Cut after the sum: of each business the gradient's padding would cost more than the sum.
        HISTORY_VECTOR: history_vector(history_directions, history_weights)[
            :, : user_vectors.shape[1]
        ],
        HISTORY_COUNT: tf.cast(history_weights.row_lengths(), tf.float32),
    }


def _draw_rows(keep: Dropout, rows: tf.Tensor) -> tf.Tensor:
    """Draws the rows that training shows, `[batch, 1]` bool."""
    return keep(tf.ones([tf.shape(rows)[0], 1]), training=True) > 0


def _drop_rows(columns: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """Replaces the rows that are not kept by those of an entity of which nothing is known."""
    return tf.where(keep, columns, 0.0)
