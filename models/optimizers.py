"""Adam in few passes: one over a whole variable, or none but over the rows that a step used.

Keras's Adam takes a dozen operations a variable, over all of its rows; for a large table, and for
many small variables, that is most of a step.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# All state is written by raw operations: under a strategy each replica writes its own copy, and all
# write the same.

# From the number of past steps, an int64 scalar, to a rate.
Schedule = Callable[[tf.Tensor], tf.Tensor]
# Decays of the two moments: the paper's.
_BETAS = (0.9, 0.999)
_MOMENTS = ("first_moment", "second_moment")


class DenseAdam(tf.Module):
    """Adam that updates whole variables at each step, each in one pass."""

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        learning_rate: Schedule,
        epsilon: float = 1e-8,
    ):
        """Creates the moments: see `RowAdam`.

        Args:
          variables: Float32 variables of any shape.
          learning_rate: Schedule: from the number of past steps to a rate.
          epsilon: Keeps the division finite.
        """
        super().__init__(name="dense_adam")
        self._variables = list(variables)
        self._learning_rate = learning_rate
        self._epsilon = epsilon
        self._moments = [
            [tf.Variable(tf.zeros_like(variable), trainable=False, name=name) for name in _MOMENTS]
            for variable in variables
        ]
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")

    def apply(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> None:
        """Updates the variables.

        Args:
          gradients: One a variable, of its shape; slices count as zeros elsewhere.
        """
        rate = tf.cast(self._learning_rate(self.steps), tf.float32)
        updates = tf.cast(_count(self.steps), tf.float32)
        beta_1, beta_2 = _BETAS
        powers = (beta_1**updates, beta_2**updates)
        for variable, moments, gradient in zip(
            self._variables, self._moments, gradients, strict=True
        ):
            first, second = moments
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=self._epsilon,
                grad=tf.convert_to_tensor(gradient),
            )


class RowAdam(tf.Module):
    """Adam that updates only the rows that a step used.

    Bias corrections count a row's own updates, so that with all rows at every step it does what
    `DenseAdam` does.
    """

    def __init__(
        self,
        table: tf.Variable,
        learning_rate: Schedule,
        beta_1: float = _BETAS[0],
        beta_2: float = _BETAS[1],
        epsilon: float = 1e-8,
    ):
        """Creates the moments.

        Args:
          table: `[num_rows, dim]` float32 variable.
          learning_rate: Schedule: from the number of past steps to a rate.
          beta_1: Decay of a row's first moment.
          beta_2: Decay of a row's second moment.
          epsilon: Keeps the division finite.
        """
        super().__init__(name="row_adam")
        self._table = table
        self._learning_rate = learning_rate
        self._betas = (beta_1, beta_2)
        self._epsilon = epsilon
        rows = table.shape[0]
        self._first = tf.Variable(tf.zeros_like(table), trainable=False, name="first_moment")
        self._second = tf.Variable(tf.zeros_like(table), trainable=False, name="second_moment")
        self._updates = tf.Variable(tf.zeros([rows, 1]), trainable=False, name="updates")
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")

    def apply(self, rows: tf.Tensor, gradient: tf.Tensor) -> None:
        """Updates some rows.

        Args:
          rows: `[num_updated]` int32 tensor, each row at most once.
          gradient: `[num_updated, dim]` float32 tensor.
        """
        beta_1, beta_2 = self._betas
        rate = self._learning_rate(self._steps)
        _count(self._steps)
        updates = tf.gather(self._updates, rows) + 1.0
        first = beta_1 * tf.gather(self._first, rows) + (1.0 - beta_1) * gradient
        second = beta_2 * tf.gather(self._second, rows) + (1.0 - beta_2) * gradient**2
        step = (first / (1.0 - beta_1**updates)) / (
            tf.sqrt(second / (1.0 - beta_2**updates)) + self._epsilon
        )
        for variable, values in (
            (self._updates, updates),
            (self._first, first),
            (self._second, second),
        ):
            tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=values)
        tf.raw_ops.ResourceScatterSub(
            resource=self._table.handle, indices=rows, updates=rate * step
        )


class WeightAverage(tf.Module):
    """An exponential moving average of variables, laid end to end so that it is one operation."""

    def __init__(self, variables: Sequence[tf.Variable], decay: float):
        """Starts at the variables as they are.

        Args:
          variables: Float32 variables.
          decay: The most that an update keeps of the average; early ones keep less.
        """
        super().__init__(name="weight_average")
        self._variables = list(variables)
        self._decay = decay
        self._average = tf.Variable(self._flat(), trainable=False, name="average")

    def update(self, steps: tf.Tensor) -> None:
        """Moves the average towards the variables.

        Args:
          steps: Int64 scalar: updates of the variables so far.
        """
        count = tf.cast(steps, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + count) / (10.0 + count))
        change = (1.0 - decay) * (self._average - self._flat())
        tf.raw_ops.AssignSubVariableOp(resource=self._average.handle, value=change)

    def values(self) -> list[np.ndarray]:
        """Copies the averages, one a variable."""
        sizes = [variable.shape.num_elements() for variable in self._variables]
        parts = np.split(self._average.numpy(), np.cumsum(sizes)[:-1])
        return [
            part.reshape(variable.shape)
            for part, variable in zip(parts, self._variables, strict=True)
        ]

    def _flat(self) -> tf.Tensor:
        return tf.concat([tf.reshape(variable, [-1]) for variable in self._variables], axis=0)


def _count(steps: tf.Variable) -> tf.Tensor:
    """Adds 1 to a number of steps and returns it."""
    count = tf.convert_to_tensor(steps) + 1
    tf.raw_ops.AssignVariableOp(resource=steps.handle, value=count)
    return count
