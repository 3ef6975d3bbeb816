"""Sparse similarity: which entries of a row are worth keeping."""

import numpy as np
import scipy.sparse


def keep_largest(matrix, num_kept: int) -> scipy.sparse.csr_matrix:
    """Keeps the largest entries of each row.

    Args:
      matrix: `scipy.sparse.csr_matrix`; entries that are not over 0 go, too.
      num_kept: Entries that a row keeps at most.

    Returns:
      A matrix of the same shape; a row's entries are stored largest first, equal ones by column.
    """
    kept = matrix.data > 0
    for row in np.flatnonzero(np.diff(matrix.indptr) > num_kept):
        cells = slice(matrix.indptr[row], matrix.indptr[row + 1])
        values = matrix.data[cells]
        num_dropped = len(values) - num_kept
        kept[cells][np.argpartition(values, num_dropped)[:num_dropped]] = False
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    columns, values = matrix.indices[kept], matrix.data[kept]
    order = np.lexsort((columns, -values, rows))
    row_splits = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=matrix.shape[0]))])
    return scipy.sparse.csr_matrix((values[order], columns[order], row_splits), matrix.shape)
