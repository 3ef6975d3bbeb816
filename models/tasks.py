"""The retrieval task: one exact softmax over the catalogue for all businesses of a user."""

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.directions import sum_lists

_LEFT_OUT = float("-inf")
# Matrix products are a tenth faster where each row begins at a boundary of so many floats.
_ALIGNED = 8


class UserSoftmaxRetrieval(tf.keras.layers.Layer, tfrs.tasks.Task):
    """Cross-entropy of each user's businesses against all candidates.

    Scoring a user once serves all of their positives: they share one log-sum-exp. Over the whole
    catalogue the softmax is exact, so there is neither a sampling correction nor an accidental hit;
    over a sample, each candidate stands for 1 / (its chance of being drawn) others.

    L = (1/P) Σ_u Σ_{i ∈ P_u} (log Σ_j exp(⟨f(u), f̃(j)⟩ + o_j) - ⟨f(u), f̃(i)⟩)
    """

    def call(
        self,
        query_embeddings: tf.Tensor,
        candidate_embeddings: tf.Tensor,
        positive_embeddings: tf.RaggedTensor,
        candidate_offsets: tf.Tensor,
    ) -> tf.Tensor:
        """Computes the loss.

        Args:
          query_embeddings: `[num_queries, block_dim]` float32 tensor.
          candidate_embeddings: `[num_candidates, block_dim]` float32 tensor.
          positive_embeddings: `[num_queries, None, block_dim]` float32 ragged tensor: the
            candidates that each query should find.
          candidate_offsets: `[num_candidates]` float32 tensor o: minus the logarithm of the chance
            of being drawn, 0 where the catalogue is whole; -inf leaves a candidate out of the
            softmax, as one must that nobody could have visited in training.

        Returns:
          A float32 scalar, in nats a positive.
        """
        log_normalizer = _log_normalizer(query_embeddings, candidate_embeddings, candidate_offsets)
        # Their own inner products: gathered out of the logits, their gradient would be a second
        # matrix of that size. Those of a query are one with their sum.
        positives = sum_lists(positive_embeddings)
        count = tf.cast(positive_embeddings.row_lengths(), tf.float32)
        chosen = tf.reduce_sum(query_embeddings * positives)
        return (tf.reduce_sum(count * log_normalizer) - chosen) / tf.maximum(
            tf.reduce_sum(count), 1.0
        )


def spread(table: tf.Tensor, *rows: tf.Tensor):
    """Returns a table and some of its rows, whose gradients meet in one table of that size.

    Automatic differentiation would make a table of each.

    Args:
      table: `[num_rows, dim]` float32 tensor.
      *rows: `[num_values]` int32 tensors of row numbers.

    Returns:
      The table, and a `[num_values, dim]` float32 tensor of each.
    """

    @tf.custom_gradient
    def spread_out(table: tf.Tensor):
        def gradient(of_table: tf.Tensor, *of_rows: tf.Tensor):
            # A sum by row is twice as fast as scattering into a table.
            sums = tf.math.unsorted_segment_sum(
                tf.concat(of_rows, axis=0), tf.concat(rows, axis=0), tf.shape(table)[0]
            )
            return of_table + sums

        return (tf.identity(table), *(tf.gather(table, places) for places in rows)), gradient

    return spread_out(table)


@tf.custom_gradient
def _log_normalizer(queries: tf.Tensor, candidates: tf.Tensor, offsets: tf.Tensor):
    """Computes log Σ_j exp(⟨q, c_j⟩ + o_j) of each query, one pass over the matrix of logits.

    By hand, as automatic differentiation keeps and passes over that matrix many times: with
    E = exp(logits), one product E·[C, 1] gives both the normaliser and the queries' gradient.

    Returns:
      `[num_queries]` float32 tensor, and the gradient's function.
    """
    queries, candidates = tf.stop_gradient(queries), tf.stop_gradient(candidates)
    # No logit of the query exceeds this (Cauchy and Schwarz); as two more coordinates of the
    # product, bound and offset cost no pass of their own.
    norms = tf.math.reduce_euclidean_norm(candidates, axis=1)
    length = tf.reduce_max(tf.where(offsets > _LEFT_OUT, norms, 0.0))
    bound = tf.norm(queries, axis=1, keepdims=True) * length
    highest = tf.reduce_max(offsets)
    dim = candidates.shape[1]
    padding = -(dim + 2) % _ALIGNED
    left = tf.concat(
        [queries, -bound, tf.ones_like(bound), tf.zeros([tf.shape(queries)[0], padding])], axis=1
    )
    ones = tf.ones_like(offsets)[:, None]
    right = tf.concat(
        [
            candidates,
            ones,
            tf.maximum(offsets - highest, -1e4)[:, None],
            tf.zeros([tf.size(offsets), padding]),
        ],
        axis=1,
    )
    exponentials = tf.exp(tf.matmul(left, right, transpose_b=True))
    sums = tf.matmul(exponentials, right)
    # The bound may lie so far above every logit that all exponentials vanish.
    normalizer = tf.maximum(sums[:, dim : dim + 1], 1e-30)

    def gradient(upstream):
        scale = upstream[:, None] / normalizer
        return (
            scale * sums[:, :dim],
            tf.matmul(exponentials, scale * left, transpose_a=True)[:, :dim],
            None,
        )

    return tf.math.log(normalizer)[:, 0] + bound[:, 0] + highest, gradient
