import numpy as np
import pytest
import scipy.sparse

from models.spectral import Spectrum, incidence, right_singular_vectors
from models.tables import Interactions


def _visits(*pairs):
    users, businesses = np.array(pairs, np.int32).T
    return Interactions(users, businesses, np.full(len(pairs), 3.0, np.float32))


def test_incidence_by_hand():
    # User 0 has degree 2, user 1 degree 1; business 0 degree 2, business 1 degree 1.
    matrix = incidence(_visits((0, 0), (0, 1), (1, 0)), 3, 3)
    expected = [
        [1 / 2, 1 / np.sqrt(2), 0],  # 1/√(2·2), 1/√(2·1)
        [1 / np.sqrt(2), 0, 0],  # 1/√(1·2)
        [0, 0, 0],
    ]
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)


def test_exponents_hold_down_by_hand():
    matrix = incidence(_visits((0, 0), (0, 1), (1, 0)), 2, 2, 0.25, 1.0)
    expected = [[2**-0.25 / 2, 2**-0.25], [1 / 2, 0]]
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)


def test_largest_singular_value_of_the_normalised_incidence_is_one():
    rng = np.random.default_rng(0)
    visits = Interactions(
        rng.integers(30, size=300), rng.integers(20, size=300), np.ones(300, np.float32)
    )
    _, values = right_singular_vectors(incidence(visits, 30, 20), 3, seed=0)
    assert values[0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (40, 25)])
@pytest.mark.parametrize("rank", [1, 4])
def test_vectors_equal_those_of_a_full_decomposition(shape, rank):
    dense = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    vectors, values = right_singular_vectors(scipy.sparse.csr_matrix(dense), rank, seed=2)
    _, expected_values, expected = np.linalg.svd(dense)
    # The randomised method is exact where the oversampled width covers the matrix.
    tolerance = 1e-4 if min(shape) <= rank + 16 else 0.05
    np.testing.assert_allclose(values, expected_values[:rank], rtol=tolerance)
    assert vectors.shape == (shape[1], rank)
    # A singular vector is known up to its sign.
    cosines = np.abs((vectors * expected[:rank].T).sum(axis=0))
    np.testing.assert_allclose(cosines, 1.0, atol=tolerance)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-5)


def test_directions_that_the_matrix_lacks_are_zeros():
    rng = np.random.default_rng(4)
    dense = (rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))).astype(np.float32)
    dense[:, 7] = 0.0
    vectors, values = right_singular_vectors(scipy.sparse.csr_matrix(dense), 6, seed=0)
    assert (values[:2] > 0).all() and not values[2:].any()
    assert not vectors[:, 2:].any()
    np.testing.assert_allclose(vectors[7], 0.0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_rank_beyond_the_matrix_is_padded_with_zeros(shape):
    dense = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    vectors, values = right_singular_vectors(scipy.sparse.csr_matrix(dense), 8, seed=0)
    assert vectors.shape == (shape[1], 8)
    np.testing.assert_allclose(values[:3], np.linalg.svd(dense)[1], rtol=1e-4)
    assert values[3:].tolist() == [0.0] * 5
    assert not vectors[:, 3:].any()


def test_the_same_seed_gives_the_same_vectors():
    matrix = scipy.sparse.random(30, 20, 0.3, random_state=0, format="csr", dtype=np.float32)
    first, _ = right_singular_vectors(matrix, 2, seed=7)
    again, _ = right_singular_vectors(matrix, 2, seed=7)
    np.testing.assert_array_equal(first, again)


def test_directions_have_unit_length_and_follow_the_visitors():
    # Users 0-4 visit businesses 0-2 only, users 5-9 businesses 3-5 only.
    visits = _visits(
        *[(u, b) for u in range(5) for b in range(3)],
        *[(u, b) for u in range(5, 10) for b in range(3, 6)],
    )
    directions = Spectrum.of(visits, 10, 6, rank=2, seed=0).directions(2)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-5)
    same = directions @ directions.T
    np.testing.assert_allclose(same[:3, :3], 1.0, atol=1e-4)
    np.testing.assert_allclose(same[:3, 3:], 0.0, atol=1e-4)


# The last case has fewer independent columns than directions, so that the basis is incomplete.
@pytest.mark.parametrize(("num_visits", "dim"), [(200, 2), (200, 16), (200, 60), (20, 16)])
def test_a_business_without_visits_has_no_direction(num_visits, dim):
    rng = np.random.default_rng(2)
    never = np.arange(0, 40, 4)
    businesses = rng.choice(np.setdiff1d(np.arange(40), never), num_visits)
    visits = Interactions(
        rng.integers(30, size=num_visits), businesses, np.ones(num_visits, np.float32)
    )
    directions = Spectrum.of(visits, 30, 40, dim, seed=0).directions(dim)
    assert directions.shape == (40, dim)
    assert not directions[never].any()
    np.testing.assert_allclose(
        np.linalg.norm(directions[np.unique(businesses)], axis=1), 1.0, rtol=1e-5
    )
