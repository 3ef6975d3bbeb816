"""Sparse matrices as TensorFlow variables, for models that are served."""

import numpy as np
import scipy.sparse
import tensorflow as tf


class SparseRows(tf.Module):
    """Holds a matrix in compressed sparse row form, and an empty row behind the last."""

    def __init__(self, matrix: scipy.sparse.csr_matrix):
        """Takes the matrix.

        Args:
          matrix: `[num_rows, num_columns]`; zeros that are stored stay stored.
        """
        super().__init__(name="sparse_rows")
        self.num_rows, self.num_columns = matrix.shape
        self._values = tf.Variable(matrix.data.astype(np.float32), trainable=False)
        self._columns = tf.Variable(matrix.indices.astype(np.int32), trainable=False)
        row_splits = np.append(matrix.indptr, matrix.indptr[-1]).astype(np.int64)
        self._row_splits = tf.Variable(row_splits, trainable=False)

    def gather(self, rows: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Returns the columns, int32, and the float32 values of what the rows store.

        Args:
          rows: `[batch]` integer tensor, from 0 to `num_rows`, which stores nothing.
        """
        columns, values = (
            tf.RaggedTensor.from_row_splits(part, self._row_splits, validate=False)
            for part in (self._columns, self._values)
        )
        return tf.gather(columns, rows), tf.gather(values, rows)

    def matmul(self, rows: tf.Tensor, right: "SparseRows") -> tf.Tensor:
        """Multiplies some of the rows with another matrix.

        Args:
          rows: `[batch]` integer tensor, likewise.
          right: A matrix of `num_columns` rows.

        Returns:
          `[batch, right.num_columns]` float32 tensor.
        """
        inner, left_values = self.gather(rows)
        columns, values = right.gather(inner.values)
        counts = columns.row_lengths()
        products = values.values * tf.repeat(left_values.values, counts)
        width = tf.constant(right.num_columns, tf.int64)
        cells = tf.repeat(inner.value_rowids(), counts) * width + tf.cast(columns.values, tf.int64)
        batch = tf.size(rows, tf.int64)
        sums = tf.math.unsorted_segment_sum(products, cells, batch * width)
        return tf.reshape(sums, [batch, width])

    def to_sparse(self, rows: tf.Tensor) -> tf.sparse.SparseTensor:
        """Returns some of the rows, `[batch, num_columns]`."""
        columns, values = self.gather(rows)
        cells = tf.stack([columns.value_rowids(), tf.cast(columns.values, tf.int64)], axis=1)
        shape = tf.stack([tf.size(rows, tf.int64), self.num_columns])
        return tf.sparse.SparseTensor(cells, values.values, shape)
