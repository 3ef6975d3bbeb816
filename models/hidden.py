"""Hidden layers of the towers, and what training hides: few operations a step.

Small batches pay for each of them.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from models import replicas

# What dropout draws of, and in how many parts of it a rate is counted.
_DRAWS, _PARTS = 2**8, 2**8


def hidden_layers(widths: Sequence[int], dropout: float) -> tf.keras.Sequential:
    """Builds the deep part of a tower: dense GELU layers with dropout after each."""
    layers: list[tf.keras.layers.Layer] = []
    for width in widths:
        layers += [tf.keras.layers.Dense(width, activation=gelu), Dropout(dropout)]
    return tf.keras.Sequential(layers)


@tf.custom_gradient
def gelu(inputs: tf.Tensor):
    """Computes x Φ(x), whose derivative is Φ(x) + x φ(x).

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), without approximation.

    Args:
      inputs: Float32 tensor of any shape.

    Returns:
      A tensor of that shape, and the gradient's function.
    """
    below = 0.5 + 0.5 * tf.math.erf(inputs * math.sqrt(0.5))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-0.5 * tf.square(inputs)) * (1.0 / math.sqrt(2.0 * math.pi))
        return upstream * (below + inputs * density)

    return inputs * below, gradient


class Dropout(tf.keras.layers.Layer):
    """Drops units in training and scales the others up, so that the mean stays.

    Keras's own draws a float a unit, which is a fifth of a rating step; here it is 8 bits. A step
    drops one of the two nearest shares of 1 / 256, by chance, so that the rate is right on average.
    """

    def __init__(self, rate: float, **kwargs):
        """Builds the layer.

        Args:
          rate: Share of units to drop, from 0 to below 1; it is rounded to 1 / 65,536, and at most
            255 / 256.
          **kwargs: Keras's own, such as `name`.
        """
        super().__init__(**kwargs)
        self._threshold = min(round(rate * _DRAWS * _PARTS), (_DRAWS - 1) * _PARTS)
        # Its state is a variable, so that checkpoints hold it; the global seed governs it.
        seed = tf.random.uniform([], maxval=tf.int32.max, dtype=tf.int32)
        self._generator = tf.random.Generator.from_seed(int(seed))

    @property
    def random_state(self) -> tf.Variable:
        """What its draws come from."""
        return self._generator.state

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns a tensor of the inputs' shape, `[batch, width]` float32."""
        if not training or not self._threshold:
            return inputs
        batch, width = tf.shape(inputs)[0], inputs.shape[1]
        seeds = self._generator.make_seeds(2)
        seed = replicas.own_seed(seeds[:, 0])
        fours = tf.random.stateless_uniform([batch, -(-width // 4)], seed, None, None, tf.int32)
        draws = tf.reshape(tf.bitcast(fours, tf.int8), [batch, -1])[:, :width]
        # Draws begin at -128.
        threshold = (seeds[0, 1] % _PARTS + (self._threshold - _DRAWS // 2 * _PARTS)) // _PARTS
        keep = tf.cast(draws >= tf.cast(threshold, tf.int8), tf.float32)
        return inputs * (keep * (1.0 / (1.0 - self._threshold / (_DRAWS * _PARTS))))


def draw_rows(keep: Dropout, rows: tf.Tensor) -> tf.Tensor:
    """Draws which of some rows training shows, `[batch, 1]` bool."""
    return keep(tf.ones([tf.shape(rows)[0], 1]), training=True) > 0


def drop_rows(columns: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """Replaces the rows that are not kept by those of an entity of which nothing is known.

    Args:
      columns: `[batch, width]` float32 tensor.
      keep: `[batch, 1]` bool tensor.
    """
    return tf.where(keep, columns, 0.0)
