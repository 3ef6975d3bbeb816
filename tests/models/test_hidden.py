import math

import numpy as np
import pytest
import tensorflow as tf

from models.hidden import Dropout, gelu, hidden_layers


def test_gelu_by_hand():
    # x Φ(x), with Φ(1) = .841345; far out it is the identity, or nothing.
    values = gelu(tf.constant([0.0, 1.0, -1.0, 9.0, -9.0])).numpy()
    np.testing.assert_allclose(values, [0.0, 0.841345, -0.158655, 9.0, 0.0], atol=1e-6)


def test_gelu_and_its_gradient_equal_those_of_tensorflow():
    inputs = tf.constant(np.linspace(-5, 5, 101, dtype=np.float32))
    upstream = tf.constant(np.random.default_rng(0).normal(size=101).astype(np.float32))
    found = []
    for function in (gelu, tf.nn.gelu):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        found.append((outputs, tape.gradient(outputs, inputs, upstream)))
    np.testing.assert_allclose(found[0], found[1], atol=2e-6)


@pytest.mark.parametrize("width", [1, 7, 64])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(width, rate):
    tf.keras.utils.set_random_seed(1)
    rows = 60_000 // width
    dropped = Dropout(rate)(tf.ones([rows, width]), training=True).numpy()
    assert dropped.shape == (rows, width)
    share = (dropped == 0).mean()
    # Four standard deviations of a share of 60,000 draws.
    assert share == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / 60_000))
    np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-3)


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.1])
def test_dropout_drops_its_share_on_average_of_steps(rate):
    tf.keras.utils.set_random_seed(4)
    layer, steps, units = Dropout(rate), 400, 16_384
    step = tf.function(lambda: tf.reduce_mean(layer(tf.ones([units // 64, 64]), training=True)))
    means = np.array([step().numpy() for _ in range(steps)])
    # A step drops a whole number of 256ths: by at most 1 / 512 of standard deviation, and by units.
    deviation = math.sqrt((1 / 512) ** 2 + rate * (1 - rate) / units) / (1 - rate)
    assert means.mean() == pytest.approx(1.0, abs=4 * deviation / math.sqrt(steps))


def test_dropout_drops_units_independently():
    tf.keras.utils.set_random_seed(2)
    keep = Dropout(0.5)(tf.ones([40_000, 4]), training=True).numpy() > 0
    # Neighbours are quarters of one draw.
    correlations = np.corrcoef(keep.T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(40_000)
    assert abs(np.corrcoef(keep[:-1, 0], keep[1:, 0])[0, 1]) < 4 / math.sqrt(40_000)


def test_dropout_goes_by_the_global_seed_and_changes_from_step_to_step():
    def two():
        tf.keras.utils.set_random_seed(3)
        layer = Dropout(0.5)
        return [layer(tf.ones([8, 5]), training=True).numpy() for _ in range(2)]

    first, again = two(), two()
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    layer = Dropout(0.5)
    step = tf.function(lambda: layer(tf.ones([8, 5]), training=True))
    assert (step().numpy() != step().numpy()).any()


@pytest.mark.parametrize("rate, training", [(0.5, False), (0.0, True)])
def test_dropout_leaves_inputs_alone_where_it_should(rate, training):
    inputs = tf.random.normal([3, 2])
    np.testing.assert_array_equal(Dropout(rate)(inputs, training=training), inputs)


def test_gradient_reaches_the_kept_units_alone():
    inputs = tf.ones([50, 6])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = Dropout(0.5)(inputs, training=True)
    # Of ones, the outputs are what each unit is multiplied by.
    np.testing.assert_array_equal(tape.gradient(outputs, inputs), outputs)


def test_hidden_layers_have_the_given_widths():
    network = hidden_layers([7, 3], 0.0)
    assert network(tf.zeros([2, 5])).shape == [2, 3]
    assert [tuple(v.shape) for v in network.trainable_variables] == [(5, 7), (7,), (7, 3), (3,)]
