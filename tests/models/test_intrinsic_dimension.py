import numpy as np
import pytest

from models.intrinsic_dimension import MAX_ROWS, MIN_ROWS, estimate_dimension


def _torus(dim, ambient, num_rows=3_000, seed=0):
    """Rows on a flat torus of some dimension, turned into a larger space."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * np.pi, (num_rows, dim))
    circles = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(ambient, 2 * dim)))
    return circles @ turn.T


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize("ambient", [8, 64])
def test_finds_the_dimension_of_a_manifold_whatever_the_space_around(dim, ambient):
    found = estimate_dimension(_torus(dim, ambient))
    assert found.num_columns == ambient
    assert found.two_nn == pytest.approx(dim, rel=0.1)
    assert found.mle == pytest.approx(dim, rel=0.1)
    assert found.value == (found.two_nn + found.mle) / 2


def test_repeated_rows_and_constant_columns_change_nothing():
    rows = _torus(2, 8, num_rows=1_000)
    plain = estimate_dimension(rows)
    padded = np.concatenate([np.full([1_000, 2], 7.0), rows], axis=1)
    assert estimate_dimension(np.repeat(padded, 3, axis=0)) == plain
    assert (plain.num_rows, plain.num_columns) == (1_000, 8)


def test_rows_that_are_not_finite_are_left_out():
    rows = _torus(2, 8, num_rows=1_000)
    broken = np.concatenate([rows, np.full([300, 8], np.nan), np.full([300, 8], np.inf)])
    assert estimate_dimension(broken) == estimate_dimension(rows)


def test_looks_at_a_bounded_number_of_rows():
    found = estimate_dimension(_torus(3, 8, num_rows=10 * MAX_ROWS))
    assert found.num_rows == MAX_ROWS
    assert found.value == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(
    ("rows", "num_rows", "num_columns"),
    [
        (np.zeros([0, 3]), 0, 3),
        (np.ones([1, 3]), 1, 0),
        (np.ones([500, 3]), 1, 0),
        (np.full([500, 3], np.nan), 0, 3),
        (np.zeros([500, 0]), 1, 0),
        (np.repeat(_torus(2, 4, MIN_ROWS - 1), 20, axis=0), MIN_ROWS - 1, 4),
    ],
)
def test_too_few_distinct_rows_give_no_estimate(rows, num_rows, num_columns):
    found = estimate_dimension(rows)
    assert found.value is None
    assert (found.num_rows, found.num_columns) == (num_rows, num_columns)
    assert str(found) == f"unknown ({num_rows} distinct rows, {num_columns} columns vary)"


def test_a_single_column_has_one_dimension():
    found = estimate_dimension(np.linspace(0, 1, 200)[:, None])
    assert (found.two_nn, found.mle) == (1.0, 1.0)


def test_no_estimate_is_larger_than_the_number_of_columns():
    # On a grid most neighbours are equally far, where both estimators have no bound.
    grid = np.stack(np.meshgrid(*[np.arange(9.0)] * 3), axis=-1).reshape(-1, 3)
    found = estimate_dimension(grid)
    assert 1.0 <= found.two_nn <= 3.0
    assert 1.0 <= found.mle <= 3.0


def test_the_same_seed_gives_the_same_estimate():
    rows = _torus(2, 8, num_rows=5 * MAX_ROWS)
    assert estimate_dimension(rows, seed=1) == estimate_dimension(rows, seed=1)
    assert estimate_dimension(rows, seed=1) != estimate_dimension(rows, seed=2)
