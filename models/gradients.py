"""Custom gradients of models that come and go."""

import contextlib
import gc
from collections.abc import Iterator

from tensorflow.python.framework import ops

_PREFIX = "CustomGradient-"


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """Forgets, in the end, the custom gradients that were traced meanwhile.

    TensorFlow keeps each of them until the process ends, and with it the graph that it is of and
    all that this reads: the variables of a model and the covariates of all users. What is traced
    within must not be differentiated any more after it.

    Then it looks for cycles of objects, as graphs are: else these might outlive the next model.
    """
    # Not public; `tests/models/test_gradients.py` sees if another version keeps them elsewhere.
    kept = ops.gradient_registry._registry
    before = set(kept)
    try:
        yield
    finally:
        for name in [name for name in kept if name.startswith(_PREFIX) and name not in before]:
            del kept[name]
        gc.collect()
