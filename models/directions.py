"""Unit vectors and sums of many rows, with gradients that cost few passes over them."""

import tensorflow as tf

_SHORTEST = 1e-6


@tf.custom_gradient
def unit_rows(vectors: tf.Tensor):
    """Scales rows to length 1; a row of zeros stays.

    By hand, as automatic differentiation takes twice as many passes: over a catalogue each of them
    costs as much as the exponentials of forty users.

    Args:
      vectors: `[num_rows, dim]` float32 tensor.

    Returns:
      `[num_rows, dim]` float32 tensor u, and the gradient's function: of a gradient g by u it makes
      (g - u⟨u, g⟩) / |v|.
    """
    norms = tf.math.reduce_euclidean_norm(vectors, axis=1, keepdims=True)
    inverse = 1.0 / tf.maximum(norms, _SHORTEST)
    units = vectors * inverse

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        along = tf.reduce_sum(units * upstream, axis=1, keepdims=True)
        return (upstream - units * along) * inverse

    return units, gradient


def sum_lists(vectors: tf.RaggedTensor) -> tf.Tensor:
    """Sums the vectors of each list; zeros for an empty one.

    The gradient is a plain gather: automatic differentiation would first look for negative rows.

    Args:
      vectors: `[num_lists, None, dim]` float32 ragged tensor.

    Returns:
      `[num_lists, dim]` float32 tensor.
    """
    rows, num_lists = vectors.value_rowids(), vectors.nrows()

    @tf.custom_gradient
    def total(values: tf.Tensor):
        sums = tf.math.unsorted_segment_sum(values, rows, num_lists)
        return sums, lambda upstream: tf.gather(upstream, rows)

    return total(vectors.values)
