import gc
import weakref

import tensorflow as tf

from models import gradients


@tf.custom_gradient
def _double(values):
    return 2.0 * values, lambda upstream: 2.0 * upstream


class _Model:
    """Has a step that is traced with a custom gradient."""

    def __init__(self):
        self.weights = tf.Variable([1.0, 2.0])

    @tf.function(autograph=False)
    def step(self):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(_double(self.weights))
        return tape.gradient(loss, self.weights)


def _train_and_drop() -> weakref.ref:
    model = _Model()
    assert model.step().numpy().tolist() == [2.0, 2.0]
    return weakref.ref(model.step.get_concrete_function().graph)


def test_what_was_traced_within_is_forgotten_with_its_graph():
    with gradients.forgotten():
        graph = _train_and_drop()
    assert graph() is None


def test_tensorflow_keeps_it_otherwise():
    """Once this fails, `forgotten` has nothing to do any more."""
    graph = _train_and_drop()
    gc.collect()
    assert graph() is not None


def test_what_was_traced_before_is_still_differentiated():
    model = _Model()

    @tf.function(autograph=False)
    def call():
        return tf.reduce_sum(_double(model.weights))

    call.get_concrete_function()
    with gradients.forgotten():
        _train_and_drop()
    with tf.GradientTape() as tape:
        loss = call()
    assert tape.gradient(loss, model.weights).numpy().tolist() == [2.0, 2.0]


def test_an_error_within_forgets_as_well():
    try:
        with gradients.forgotten():
            graph = _train_and_drop()
            raise ArithmeticError
    except ArithmeticError:
        pass
    assert graph() is None
