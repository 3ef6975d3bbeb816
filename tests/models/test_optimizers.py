import numpy as np
import pytest
import tensorflow as tf

from models.optimizers import DenseAdam, RowAdam, WeightAverage

_ROWS, _DIM = 5, 3


def constant(rate):
    return lambda step: tf.constant(rate)


def table(seed=0):
    start = np.random.default_rng(seed).normal(size=(_ROWS, _DIM)).astype(np.float32)
    return tf.Variable(start)


def state_of(optimizer):
    """What the optimizer remembers of each row: two moments, and how often it was updated."""
    names = ("first_moment", "second_moment", "updates")
    variables = {variable.name.split(":")[0]: variable for variable in optimizer.variables}
    return [variables[name].numpy() for name in names]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_equals_keras_adam_where_every_step_updates_all_rows(betas):
    schedule = tf.keras.optimizers.schedules.PolynomialDecay(3e-2, 12, 0.0)
    rows_first, keras_own = table(), table()
    ours = RowAdam(rows_first, schedule, *betas)
    theirs = tf.keras.optimizers.Adam(schedule, *betas, epsilon=1e-8)
    rng = np.random.default_rng(1)
    for _ in range(12):
        gradient = rng.normal(size=(_ROWS, _DIM)).astype(np.float32)
        order = rng.permutation(_ROWS).astype(np.int32)
        ours.apply(tf.constant(order), tf.constant(gradient[order]))
        theirs.apply_gradients([(tf.constant(gradient), keras_own)])
        np.testing.assert_allclose(rows_first, keras_own, rtol=1e-5, atol=1e-6)
    assert np.abs(rows_first - table()).min() > 1e-3


def test_a_row_goes_as_if_it_were_alone():
    # Its own updates count, not the steps in between: row 2 is updated at every other step.
    together, alone = table(), table()
    both = RowAdam(together, constant(0.1), 0.9, 0.999)
    single = RowAdam(alone, constant(0.1), 0.9, 0.999)
    rng = np.random.default_rng(2)
    for step in range(10):
        gradient = tf.constant(rng.normal(size=(2, _DIM)), tf.float32)
        rows = [0, 2] if step % 2 else [0, 3]
        both.apply(tf.constant(rows), gradient)
        if step % 2:
            single.apply(tf.constant([2]), gradient[1:])
    np.testing.assert_allclose(together[2], alone[2], rtol=1e-6)


def test_rows_that_a_step_does_not_use_stay_as_they_are():
    variable = table()
    optimizer = RowAdam(variable, constant(0.1), 0.9, 0.999)
    optimizer.apply(tf.range(_ROWS), tf.ones([_ROWS, _DIM]))
    before = [variable.numpy(), *state_of(optimizer)]
    optimizer.apply(tf.constant([3, 1]), tf.fill([2, _DIM], -2.0))
    for old, new in zip(before, [variable.numpy(), *state_of(optimizer)], strict=True):
        np.testing.assert_array_equal(new[[0, 2, 4]], old[[0, 2, 4]])
        assert (new[[1, 3]] != old[[1, 3]]).all()


@pytest.mark.parametrize("late", [False, True])
def test_the_first_update_of_a_row_is_the_learning_rate_in_the_gradient_s_direction(late):
    # m / (1 - β₁) = g and v / (1 - β₂) = g², so the step is rate · g / |g|, at any step.
    variable = table()
    optimizer = RowAdam(variable, constant(0.01), 0.9, 0.999)
    for _ in range(20 if late else 0):
        optimizer.apply(tf.constant([0]), tf.ones([1, _DIM]))
    before = variable.numpy()
    optimizer.apply(tf.constant([4]), tf.constant([[5.0, -1e-3, 0.0]]))
    moved = variable.numpy()[4] - before[4]
    np.testing.assert_allclose(moved, [-0.01, 0.01, 0.0], rtol=1e-4)


def test_two_updates_by_hand():
    # Gradients 1 and -3, β = 1/2 and 3/4, rate 1. First: the step is 1. Second:
    #   m = (1/2)(1/2) + (1/2)(-3) = -5/4,  over 1 - 1/4: -5/3;
    #   v = (3/4)(1/4) + (1/4) 9 = 39/16,   over 1 - 9/16: 39/7;
    # so the step is -(5/3) / √(39/7).
    variable = tf.Variable([[0.0]])
    optimizer = RowAdam(variable, constant(1.0), 0.5, 0.75)
    optimizer.apply(tf.constant([0]), tf.constant([[1.0]]))
    assert variable.numpy()[0, 0] == pytest.approx(-1.0)
    optimizer.apply(tf.constant([0]), tf.constant([[-3.0]]))
    assert variable.numpy()[0, 0] == pytest.approx(-1.0 + 5 / 3 / np.sqrt(39 / 7))


def test_the_schedule_goes_by_steps_whichever_rows_they_update():
    # The first update of each row moves by the rate of that step: 3, 2 and 1, from the line
    # 3 - step, and nothing after its end.
    variable = tf.Variable(tf.zeros([4, 1]))
    schedule = tf.keras.optimizers.schedules.PolynomialDecay(3.0, 3, 0.0)
    optimizer = RowAdam(variable, schedule, 0.9, 0.999)
    for row in range(4):
        optimizer.apply(tf.constant([row]), tf.constant([[1.0]]))
    np.testing.assert_allclose(variable.numpy()[:, 0], [-3.0, -2.0, -1.0, 0.0], rtol=1e-5)


def test_is_the_same_inside_a_graph():
    eager, traced = table(), table()
    plain = RowAdam(eager, constant(0.1), 0.9, 0.999)
    inside = RowAdam(traced, constant(0.1), 0.9, 0.999)
    apply = tf.function(inside.apply, reduce_retracing=True, autograph=False)
    rng = np.random.default_rng(4)
    for size in (2, 5, 3):
        rows = tf.constant(rng.permutation(_ROWS)[:size].astype(np.int32))
        gradient = tf.constant(rng.normal(size=(size, _DIM)), tf.float32)
        plain.apply(rows, gradient)
        apply(rows, gradient)
    np.testing.assert_allclose(traced, eager, rtol=1e-5, atol=1e-6)


def test_no_rows_at_all():
    variable = table()
    RowAdam(variable, constant(0.1), 0.9, 0.999).apply(tf.zeros([0], tf.int32), tf.zeros([0, _DIM]))
    np.testing.assert_array_equal(variable, table())


def test_dense_adam_equals_keras_adam():
    schedule = tf.keras.optimizers.schedules.PolynomialDecay(3e-2, 12, 0.0)
    ours, theirs = ([table(), tf.Variable(0.5), table(1)] for _ in range(2))
    own = DenseAdam(ours, schedule, epsilon=1e-7)
    keras = tf.keras.optimizers.Adam(schedule)
    rng = np.random.default_rng(1)
    apply = tf.function(own.apply, autograph=False)
    for _ in range(12):
        dense = tf.constant(rng.normal(size=(_ROWS, _DIM)), tf.float32)
        # As of an embedding: a row twice, others not at all.
        slices = tf.IndexedSlices(
            tf.constant(rng.normal(size=(3, _DIM)), tf.float32),
            tf.constant([4, 1, 4]),
            tf.constant([_ROWS, _DIM]),
        )
        gradients = [dense, tf.constant(rng.normal(), tf.float32), slices]
        apply(gradients)
        keras.apply_gradients(zip(gradients, theirs, strict=True))
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    assert own.steps.numpy() == 12


class TestWeightAverage:
    def test_by_hand(self):
        # After the first update 2/11 is kept: (2/11) 1 + (9/11) 12 = 10. After the second 3/12:
        # (1/4) 10 + (3/4) 2 = 4.
        variable = tf.Variable([[1.0]])
        average = WeightAverage([variable], 0.98)
        for step, (value, expected) in enumerate([(12.0, 10.0), (2.0, 4.0)], start=1):
            variable.assign([[value]])
            average.update(tf.constant(step, tf.int64))
            assert average.values()[0] == pytest.approx(expected)

    def test_equals_tensorflow_s_for_every_variable(self):
        variables = [table(), tf.Variable(2.0), tf.Variable([1.0, -1.0])]
        own = WeightAverage(variables, 0.5)
        steps = tf.Variable(0, dtype=tf.int64)
        theirs = tf.train.ExponentialMovingAverage(0.5, num_updates=steps)
        theirs.apply(variables)
        rng = np.random.default_rng(0)
        for _ in range(20):
            for variable in variables:
                variable.assign_add(rng.normal(size=variable.shape).astype(np.float32))
            steps.assign_add(1)
            theirs.apply(variables)
            own.update(steps)
        for value, variable in zip(own.values(), variables, strict=True):
            assert value.shape == variable.shape
            np.testing.assert_allclose(value, theirs.average(variable), rtol=1e-5)
