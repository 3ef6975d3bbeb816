import numpy as np
import scipy.sparse

from models.baselines.neighbours import keep_largest


def test_keeps_the_largest_positive_entries_best_first():
    matrix = scipy.sparse.csr_matrix(np.array([[1.0, 3.0, -2.0, 2.0], [0, 0, 0, 0], [0, 0, 0, -1]]))
    kept = keep_largest(matrix, 2)
    assert kept.indptr.tolist() == [0, 2, 2, 2]
    assert kept.indices.tolist() == [1, 3]
    assert kept.data.tolist() == [3.0, 2.0]


def test_keeps_what_a_full_sort_keeps():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(30, 40))
    kept = keep_largest(scipy.sparse.csr_matrix(dense), 7)
    for row in range(30):
        cells = slice(kept.indptr[row], kept.indptr[row + 1])
        np.testing.assert_array_equal(kept.indices[cells], np.argsort(-dense[row])[:7])
