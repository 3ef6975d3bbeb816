import numpy as np
import pytest

from models.baselines.ease import EASE, Ease


def test_two_businesses_by_hand(make_ratings):
    ratings = make_ratings([(0, 0, 5), (0, 1, 5), (1, 0, 5), (2, 1, 5), (3, 1, 5)])
    scores = Ease(ratings, 4, 2, penalty=1.0).score(np.arange(4))
    # Visits 2 and 3, 1 in common: P is proportional to [[3 + λ, -1], [-1, 2 + λ]], so that
    # B01 = 1 / (2 + λ) = 1/3 and B10 = 1 / (3 + λ) = 1/4, with an empty diagonal.
    expected = [[1 / 4, 1 / 3], [0, 1 / 3], [1 / 4, 0], [1 / 4, 0]]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize(("num_users", "num_businesses"), [(30, 12), (12, 30)])
def test_either_inverse_gives_the_scores_of_the_formula(make_ratings, num_users, num_businesses):
    rng = np.random.default_rng(0)
    dense = (rng.random((num_users, num_businesses)) < 0.3).astype(float)
    dense[:, 0] = 0  # Nobody's, while users without visits are not asked for.
    dense[3, 1:4] = 1
    ratings = make_ratings([(u, b, 5) for u, b in np.argwhere(dense)])
    users = np.flatnonzero(dense.sum(axis=1))
    inverse = np.linalg.inv(dense.T @ dense + 5.0 * np.eye(num_businesses))
    weights = np.eye(num_businesses) - inverse / np.diag(inverse)
    scores = Ease(ratings, num_users, num_businesses, penalty=5.0).score(users)
    np.testing.assert_allclose(scores, (dense @ weights)[users], atol=1e-4)


def test_large_matrices_are_mirrored_block_by_block(make_ratings):
    # More users than one block of the mirroring holds.
    rng = np.random.default_rng(0)
    pairs = [(user, place, 5) for user in range(1_100) for place in rng.permutation(1_200)[:5]]
    model = Ease(make_ratings(pairs), 1_100, 1_200, penalty=2.0)
    np.testing.assert_array_equal(model._inverse, model._inverse.T)
    gram = (model._active @ model._active.T).toarray() + 2.0 * np.eye(1_100)
    np.testing.assert_allclose(gram @ model._inverse, np.eye(1_100), atol=1e-4)


def test_finds_what_is_missing_in_a_clique(cliques, finds_what_is_missing):
    finds_what_is_missing(EASE.fit(cliques).model)
