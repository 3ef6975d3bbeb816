import numpy as np
import tensorflow as tf

from models.directions import sum_lists, unit_rows


def _both(function, reference, inputs, upstream):
    """Values and gradients of a function and of what automatic differentiation makes of another."""
    found = []
    for one in (function, reference):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = one(inputs)
        found.append((outputs.numpy(), tape.gradient(outputs, inputs, upstream).numpy()))
    return found


def test_a_unit_row_and_its_gradient_by_hand():
    # v = (3, 4), |v| = 5, u = (.6, .8). Of a gradient (1, 0) by u, what lies along u goes:
    # ((1, 0) - .6 (.6, .8)) / 5 = (.128, -.096).
    vectors = tf.constant([[3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        units = unit_rows(vectors)
    np.testing.assert_allclose(units, [[0.6, 0.8]])
    gradient = tape.gradient(units, vectors, tf.constant([[1.0, 0.0]]))
    np.testing.assert_allclose(gradient, [[0.128, -0.096]], rtol=1e-5)


def test_unit_rows_equals_l2_normalize():
    rng = np.random.default_rng(0)
    vectors = tf.constant(rng.normal(size=(6, 3)) * 10.0 ** np.arange(-3, 3)[:, None], tf.float32)
    upstream = tf.constant(rng.normal(size=(6, 3)), tf.float32)
    (units, gradient), (expected, expected_gradient) = _both(
        unit_rows, lambda v: tf.math.l2_normalize(v, axis=1), vectors, upstream
    )
    np.testing.assert_allclose(units, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-6)


def test_a_row_of_zeros_stays():
    np.testing.assert_array_equal(unit_rows(tf.zeros([2, 3])), np.zeros([2, 3]))


def test_sums_of_lists_and_their_gradient():
    splits = [0, 0, 2, 3, 3]
    values = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    upstream = tf.constant([[9.0, 9.0], [1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])
    found, expected = _both(
        lambda v: sum_lists(tf.RaggedTensor.from_row_splits(v, splits)),
        lambda v: tf.reduce_sum(tf.RaggedTensor.from_row_splits(v, splits), axis=1),
        values,
        upstream,
    )
    np.testing.assert_array_equal(found[0], [[0, 0], [4, 6], [5, 6], [0, 0]])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
