"""The retrieval model: where users go, from where they have been."""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.candidate_prior import CandidatePrior, blend
from models.hidden import Dropout, draw_rows, drop_rows
from models.low_pass import LowPass
from models.options import ModelOptions
from models.preprocessing import NUMERIC
from models.tables import Bag, EntityTable
from models.tasks import UserSoftmaxRetrieval, spread
from models.towers import (
    CONTENT,
    ROW,
    CandidateRetrievalBlock,
    QueryRetrievalBlock,
    history_inputs,
)

_BLOCK_ROWS = 4_096


class RetrievalModel(tfrs.Model):
    """The retrieval blocks of both towers, and what stands beside them in closed form.

    The model holds what it reads of all users and businesses and gathers it by row number, so that
    a training batch is a handful of integers.

    Attributes:
      options: Sizes and what training hides.
      businesses: All businesses: the catalogue.
      counts: `[num_businesses]` float32 tensor: training visits of each.
      history_weights: `[num_businesses]` float32 tensor: what each weighs in a history.
      query: The block of the query tower.
      candidate: The block of the candidate tower.
      user_vectors: `[num_users, embedding_dim]` float32 variable: what is learnt of each user
        beside their history; without rows if nothing is.
      candidate_prior: What covariates say of businesses, once the blocks are trained.
      low_pass: The block beside the direction, once the blocks are trained.
    """

    def __init__(
        self,
        options: ModelOptions,
        users: EntityTable,
        businesses: EntityTable,
        histories: Bag,
        initial_directions: np.ndarray,
    ):
        """Builds the model on the tables of one data set.

        Args:
          options: Sizes and what training hides.
          users: All users.
          businesses: All businesses: the catalogue.
          histories: Each user's training businesses, as rows.
          initial_directions: `[num_businesses, embedding_dim]` float32 array.
        """
        super().__init__()
        self.options = options
        self.businesses = businesses
        self.candidate_prior: CandidatePrior | None = None
        self.low_pass = LowPass.none(businesses.num_rows)
        self._histories = histories
        counts = np.bincount(histories.values, minlength=businesses.num_rows)
        self.counts = tf.constant(counts, tf.float32)
        self.history_weights = (self.counts + 1.0) ** -float(options.history_power)
        self.query = QueryRetrievalBlock(options)
        self.candidate = CandidateRetrievalBlock(options, self.counts, initial_directions)
        # Zero for everybody at first: a user is what they did.
        self.user_vectors = tf.Variable(
            tf.zeros([users.num_rows if options.user_embedding else 0, options.embedding_dim]),
            name="user_vectors",
        )
        self._keep_profiles = Dropout(options.user_profile_dropout)
        self._task = UserSoftmaxRetrieval()
        # Millions of rows that the block would not read are not copied.
        width = users.numeric.shape[1] if options.query_covariates else 0
        self._user_numeric = tf.constant(users.numeric[:, :width])
        self._business_numeric = tf.constant(businesses.numeric)
        self._content = tf.constant(businesses.content)

    @property
    def block_dim(self) -> int:
        """Coordinates of an embedding: direction, popularity and the low-pass block."""
        return self.options.retrieval_block_dim + self.low_pass.dim

    @property
    def shared_variables(self) -> list[tf.Variable]:
        """Trainable variables but those of single users and businesses."""
        return [
            variable
            for block in (self.query, self.candidate)
            for variable in block.trainable_variables
            if variable is not self.candidate_ids
        ]

    @property
    def candidate_ids(self) -> tf.Variable:
        """`[num_businesses, embedding_dim]` float32: the candidates' id embeddings."""
        return self.candidate.ids

    def compute_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the softmax cross-entropy of a batch, in nats a positive.

        Args:
          inputs: `query_rows`, `[num_queries]` int32; `candidate_rows`, `[num_candidates]` int32,
            and their `candidate_offsets`, float32 (`models.tasks`); `histories` and `positives`,
            `[num_queries, None]` int32 ragged tensors of places in `candidate_rows`, gathered once
            if they are one object; and, if the caller differentiates by them, the gathered
            `candidate_ids` and `user_vectors`.
          training: Whether to drop units and ids.

        Returns:
          A float32 scalar.
        """
        rows = inputs["candidate_rows"]
        candidates = self.candidate(
            self._candidate_inputs(rows), training, ids=inputs.get("candidate_ids")
        )
        histories, positives = inputs["histories"], inputs["positives"]
        if positives is histories:
            candidates, visited = spread(candidates, histories.values)
            asked = visited
        else:
            candidates, visited, asked = spread(candidates, histories.values, positives.values)
        numeric = tf.gather(self._user_numeric, inputs["query_rows"])
        if training and self.options.query_covariates:
            numeric = drop_rows(numeric, draw_rows(self._keep_profiles, numeric))
        weights = tf.gather(self.history_weights, tf.gather(rows, histories.values))
        queries = self.query(
            {
                NUMERIC: numeric,
                **history_inputs(
                    inputs.get("user_vectors", self._gather_user_vectors(inputs["query_rows"])),
                    histories.with_values(visited),
                    histories.with_values(weights),
                ),
            },
            training,
        )
        return self._task(
            queries, candidates, positives.with_values(asked), inputs["candidate_offsets"]
        )

    def embed_candidates(self) -> np.ndarray:
        """Embeds the whole catalogue.

        Returns:
          `[num_businesses, block_dim]` float32 array.
        """
        num_rows = self.businesses.num_rows
        blocks = [
            self._embed_candidates(tf.range(start, min(start + _BLOCK_ROWS, num_rows))).numpy()
            for start in range(0, num_rows, _BLOCK_ROWS)
        ]
        embedded, prior = np.concatenate(blocks), self.candidate_prior
        if prior is not None:
            embedded = blend(embedded, prior.businesses, self.counts, prior.visits).numpy()
        return np.concatenate([embedded, self.low_pass.businesses], axis=1)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])
    def _embed_candidates(self, rows: tf.Tensor) -> tf.Tensor:
        return self.candidate(self._candidate_inputs(rows))

    def embed_queries(
        self, candidates: np.ndarray, rows: np.ndarray, histories: Bag | None = None
    ) -> np.ndarray:
        """Embeds users from their covariates and histories.

        Args:
          candidates: What `embed_candidates` returned.
          rows: `[num_queries]` array of user rows.
          histories: Histories to use in place of the training ones, one a query.

        Returns:
          `[num_queries, block_dim]` float32 array.
        """
        directions = tf.constant(candidates[:, : self.options.embedding_dim])
        histories = self._histories.take(rows) if histories is None else histories
        blocks = [np.zeros([0, self.options.retrieval_block_dim], np.float32)]
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = np.arange(start, min(start + _BLOCK_ROWS, len(rows)))
            bag = histories.take(block)
            visited = tf.RaggedTensor.from_row_splits(bag.values, bag.row_splits)
            users = tf.constant(rows[block], tf.int32)
            blocks.append(self._embed_queries(users, directions, visited).numpy())
        return np.concatenate([np.concatenate(blocks), self.low_pass.users(histories)], axis=1)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
            tf.RaggedTensorSpec([None, None], tf.int32, row_splits_dtype=tf.int64),
        ],
    )
    def _embed_queries(
        self, rows: tf.Tensor, directions: tf.Tensor, histories: tf.RaggedTensor
    ) -> tf.Tensor:
        directions = tf.ensure_shape(directions, [None, self.options.embedding_dim])
        return self.query({
            NUMERIC: tf.gather(self._user_numeric, rows),
            **history_inputs(
                self._gather_user_vectors(rows),
                histories.with_values(tf.gather(directions, histories.values)),
                histories.with_values(tf.gather(self.history_weights, histories.values)),
            ),
        })

    def embed_new_candidate(self) -> np.ndarray:
        """Embeds a business of which nothing is known, `[1, block_dim]` float32."""
        embedded = self.candidate({
            ROW: tf.constant([-1]),
            NUMERIC: tf.zeros([1, self._business_numeric.shape[1]]),
            CONTENT: tf.zeros([1, self._content.shape[1]]),
        })
        return np.pad(embedded, [(0, 0), (0, self.low_pass.dim)])

    def embed_new_query(self) -> np.ndarray:
        """Embeds a user of whom nothing is known, `[1, block_dim]` float32."""
        dim = self.options.embedding_dim
        embedded = self.query({
            NUMERIC: tf.zeros([1, self._user_numeric.shape[1]]),
            **history_inputs(
                tf.zeros([1, dim]),
                tf.RaggedTensor.from_row_splits(tf.zeros([0, dim]), [0, 0]),
                tf.RaggedTensor.from_row_splits(tf.zeros([0]), [0, 0]),
            ),
        })
        return np.pad(embedded, [(0, 0), (0, self.low_pass.dim)])

    def _candidate_inputs(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            ROW: rows,
            NUMERIC: tf.gather(self._business_numeric, rows),
            CONTENT: tf.gather(self._content, rows),
        }

    def _gather_user_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        if self.options.user_embedding:
            return tf.gather(self.user_vectors, rows)
        return tf.zeros([tf.size(rows), self.options.embedding_dim])
