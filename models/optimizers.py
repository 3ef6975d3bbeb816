"""Adam for large tables: all rows in one fused pass, or only those that a step used.

Keras's Adam takes a dozen passes over a variable and decays the moments of all rows at every step;
for a large table that is the step.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1.
"""

import tensorflow as tf


class TableAdam(tf.Module):
    """Adam that updates a whole table at each step."""

    def __init__(
        self, table: tf.Variable, learning_rate, beta_1: float, beta_2: float, epsilon: float = 1e-8
    ):
        """Creates the moments: see `RowAdam`."""
        super().__init__(name="table_adam")
        self._table = table
        self._learning_rate = learning_rate
        self._betas = (beta_1, beta_2)
        self._epsilon = epsilon
        self._first = tf.Variable(tf.zeros_like(table), trainable=False, name="first_moment")
        self._second = tf.Variable(tf.zeros_like(table), trainable=False, name="second_moment")
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")

    def apply(self, rows: tf.Tensor, gradient: tf.Tensor) -> None:
        """Updates the table: see `RowAdam`; the rows are all of them, in order."""
        del rows
        rate = tf.cast(self._learning_rate(self._steps), tf.float32)
        updates = tf.cast(self._steps.assign_add(1), tf.float32)
        beta_1, beta_2 = self._betas
        tf.raw_ops.ResourceApplyAdam(
            var=self._table.handle,
            m=self._first.handle,
            v=self._second.handle,
            beta1_power=beta_1**updates,
            beta2_power=beta_2**updates,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self._epsilon,
            grad=gradient,
        )


class RowAdam(tf.Module):
    """Adam that updates only the rows that a step used.

    Bias corrections count a row's own updates, so that with all rows at every step it does what
    `TableAdam` does.
    """

    def __init__(
        self, table: tf.Variable, learning_rate, beta_1: float, beta_2: float, epsilon: float = 1e-8
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
        self._steps.assign_add(1)
        updates = tf.gather(self._updates, rows) + 1.0
        first = beta_1 * tf.gather(self._first, rows) + (1.0 - beta_1) * gradient
        second = beta_2 * tf.gather(self._second, rows) + (1.0 - beta_2) * gradient**2
        step = (first / (1.0 - beta_1**updates)) / (
            tf.sqrt(second / (1.0 - beta_2**updates)) + self._epsilon
        )
        self._updates.scatter_update(tf.IndexedSlices(updates, rows))
        self._first.scatter_update(tf.IndexedSlices(first, rows))
        self._second.scatter_update(tf.IndexedSlices(second, rows))
        self._table.scatter_sub(tf.IndexedSlices(rate * step, rows))
