"""The retrieval task: one exact softmax over the catalogue for all businesses of a user."""

import tensorflow as tf
import tensorflow_recommenders as tfrs

_LEFT_OUT = float("-inf")


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
        queries = positive_embeddings.value_rowids()
        # Their own inner products: gathered out of the logits, their gradient would be a second
        # matrix of that size.
        chosen = tf.reduce_sum(
            tf.gather(query_embeddings, queries) * positive_embeddings.values, axis=1
        )
        total = tf.reduce_sum(tf.gather(log_normalizer, queries) - chosen)
        return total / tf.maximum(tf.cast(tf.size(queries), tf.float32), 1.0)


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
            of_table = tf.convert_to_tensor(of_table)
            for places, values in zip(rows, of_rows, strict=True):
                of_table = tf.tensor_scatter_nd_add(of_table, places[:, None], values)
            return of_table

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
    # No logit of the query exceeds this (Cauchy and Schwarz); as two more coordinates of the
    # product, bound and offset cost no pass of their own.
    length = tf.reduce_max(tf.where(offsets > _LEFT_OUT, tf.norm(candidates, axis=1), 0.0))
    bound = tf.norm(queries, axis=1, keepdims=True) * length
    ones = tf.ones_like(offsets)[:, None]
    highest = tf.reduce_max(offsets)
    left = tf.concat([queries, -bound, tf.ones_like(bound)], axis=1)
    right = tf.concat([candidates, ones, tf.maximum(offsets - highest, -1e4)[:, None]], axis=1)
    exponentials = tf.exp(tf.matmul(left, right, transpose_b=True))
    sums = tf.matmul(exponentials, right)
    # The bound may lie so far above every logit that all exponentials vanish.
    normalizer = tf.maximum(sums[:, -2:-1], 1e-30)

    def gradient(upstream):
        # A gather above hands its gradient down as slices.
        scale = tf.convert_to_tensor(upstream)[:, None] / normalizer
        return (
            scale * sums[:, :-2],
            tf.matmul(exponentials, scale * queries, transpose_a=True),
            None,
        )

    return tf.math.log(normalizer)[:, 0] + bound[:, 0] + highest, gradient
