import numpy as np
import pytest

from models.baselines import rating_neighbours
from models.baselines.choosing import rmse
from models.baselines.rating_neighbours import KNN_ITEM, KNN_USER, RatingNeighbours, Smoothing
from models.baselines.regularised_bias import BIAS
from models.bias import BiasModel
from models.ridge import Priors


def _no_bias(num_users, num_businesses) -> BiasModel:
    return BiasModel(
        3.0,
        np.zeros(num_users),
        np.zeros(num_businesses),
        1.0,
        1.0,
        Priors.none(num_users, num_businesses),
    )


def test_users_by_hand(make_ratings):
    # Residuals: user 0 (1, 1, -), user 1 (1, 1, 2), user 2 (-1, -, -2).
    ratings = make_ratings([
        (0, 0, 4),
        (0, 1, 4),
        (1, 0, 4),
        (1, 1, 4),
        (1, 2, 5),
        (2, 0, 2),
        (2, 2, 1),
    ])
    model = RatingNeighbours(ratings, _no_bias(4, 3), True, Smoothing(1.0, 0.5, 10))
    # s(0, 1) = 2 / √((2 + 1)(6 + 1)); user 2 is unlike user 0 and doesn't count; user 3 is cold.
    similarity = 2 / np.sqrt(21)
    expected = [3 + similarity * 2 / (similarity + 0.5), 3.0]
    np.testing.assert_allclose(model.rate(np.array([0, 3]), np.array([2, 2])), expected)


def test_businesses_by_hand(make_ratings):
    # Residuals of businesses: 0 (1, 1), 1 (-, 2): s(0, 1) = 2 / √((2 + 1)(4 + 1)).
    ratings = make_ratings([(0, 0, 4), (1, 0, 4), (1, 1, 5)])
    model = RatingNeighbours(ratings, _no_bias(2, 2), False, Smoothing(1.0, 0.5, 10))
    similarity = 2 / np.sqrt(15)
    expected = 3 + similarity * 1 / (similarity + 0.5)
    assert model.rate(np.array([0]), np.array([1]))[0] == pytest.approx(expected)


def test_only_the_nearest_count(make_ratings):
    # Users 1 and 2 are like user 0, user 1 more so; they differ about business 2.
    ratings = make_ratings([
        (0, 0, 5),
        (0, 1, 5),
        (1, 0, 5),
        (1, 1, 5),
        (1, 2, 5),
        (2, 0, 4),
        (2, 2, 1),
    ])
    near, both = (
        RatingNeighbours(ratings, _no_bias(3, 3), True, Smoothing(1.0, 0.5, count))
        for count in (1, 2)
    )
    row, column = np.array([0]), np.array([2])
    similarity = 8 / np.sqrt((8 + 1) * (12 + 1))
    assert near.rate(row, column)[0] == pytest.approx(3 + 2 * similarity / (similarity + 0.5))
    assert both.rate(row, column) < near.rate(row, column)


def test_a_rating_does_not_predict_itself(make_ratings):
    ratings = make_ratings([(0, 0, 5), (1, 1, 1)])
    model = RatingNeighbours(ratings, _no_bias(2, 2), True, Smoothing(1.0, 0.5, 10))
    assert model.rate(np.array([0]), np.array([0])).tolist() == [3.0]


def test_repeated_ratings_count_by_their_mean(make_ratings):
    once = make_ratings([(0, 0, 4), (1, 0, 4), (1, 1, 4)])
    repeated = make_ratings([(0, 0, 3), (0, 0, 5), (1, 0, 4), (1, 1, 4)])
    first, second = (
        RatingNeighbours(r, _no_bias(2, 2), True, Smoothing(1.0, 0.5, 10)) for r in (once, repeated)
    )
    pair = np.array([0]), np.array([1])
    np.testing.assert_allclose(first.rate(*pair), second.rate(*pair))


def test_blocks_change_nothing(make_ratings, monkeypatch):
    rng = np.random.default_rng(0)
    cells = rng.permutation(30 * 20)[:300]
    ratings = make_ratings([(c // 20, c % 20, rng.integers(1, 6)) for c in cells])
    model = RatingNeighbours(ratings, _no_bias(30, 20), True, Smoothing(2.0, 0.5, 5))
    users, businesses = rng.integers(30, size=100), rng.integers(20, size=100)
    whole = model.rate(users, businesses)
    monkeypatch.setattr(rating_neighbours, "_BLOCK_ENTRIES", 50)
    np.testing.assert_allclose(model.rate(users, businesses), whole)


@pytest.mark.parametrize("baseline", [KNN_USER, KNN_ITEM], ids=["user", "item"])
def test_beats_the_bias_model_where_tastes_are_opposite(baseline, make_data):
    rng = np.random.default_rng(0)
    likes, kind = rng.choice([-1, 1], 60), rng.choice([-1, 1], 40)
    cells = rng.permutation(60 * 40)[:1_500]
    triples = [(c // 40, c % 40, 3 + likes[c // 40] * kind[c % 40]) for c in cells]
    data = make_data(triples[:1_200], triples[1_200:], 60, 40)
    biases, found = (rmse(b.fit(data).model, data) for b in (BIAS, baseline))
    assert biases > 0.8
    assert found < 0.4
