"""Metrics that TensorFlow Model Analysis looks up by module and class."""

import tensorflow as tf


class MeanAbsoluteStars(tf.keras.metrics.MeanAbsoluteError):
    """Computes the mean absolute error, in stars.

    Under Keras's own name TFMA (0.47.1) puts its own class in place, which counts the first of the
    accumulators that it merges twice.
    """
