import numpy as np
import pytest

from models.baselines.ridge import RIDGE, Ridge
from models.preprocessing import CATEGORIES, CITY
from models.ridge import Covariates
from models.tables import Bag, EntityTable


def _table(numeric) -> EntityTable:
    numeric = np.array(numeric, np.float32)
    return EntityTable(np.array([b"%d" % row for row in range(len(numeric))]), numeric)


def test_ids_alone_by_hand(make_ratings):
    ratings = make_ratings([(0, 0, 5), (1, 0, 3)])
    model = Ridge(
        ratings, Covariates.of(_table([[], [], []]), _table([[]])), penalties=(1.0, 1.0, 1.0)
    )
    # Both residuals are ±1 and add up to nothing for the business and the intercepts, so that
    # w = 1 / (1 + λ) of each user's own remains. User 2 has no ratings.
    np.testing.assert_allclose(model.rate(np.arange(3), np.zeros(3, int)), [4.5, 3.5, 4.0], 1e-4)


def test_covariates_carry_over_to_a_cold_user_by_hand(make_ratings):
    ratings = make_ratings([(0, 0, 5), (1, 0, 3)])
    users = _table([[1.0], [-1.0], [1.0]])
    model = Ridge(ratings, Covariates.of(users, _table([[]])), penalties=(2.0, 1.0, 1.0))
    # Kernel k(u, v) = [u = v] / 2 + x_u x_v: of the rated users [[1.5, -1], [-1, 1.5]], of which
    # the residuals r = (1, -1) are an eigenvector with value 2.5. The dual weights are r / 3.5:
    # the rated users get 2.5 / 3.5 r, user 2 (1 · 1 + -1 · -1) / 3.5.
    np.testing.assert_allclose(
        model.rate(np.arange(3), np.zeros(3, int)),
        [4 + 2.5 / 3.5, 4 - 2.5 / 3.5, 4 + 2 / 3.5],
        1e-4,
    )


def test_cities_and_categories_are_learnt(make_data):
    """Stars depend on the city and on one category only; businesses 60 to 79 have no ratings."""
    rng = np.random.default_rng(0)
    city = rng.integers(2, size=80)
    spicy = rng.integers(2, size=80)
    ratings = [
        (user, place, 3.0 + city[place] - spicy[place])
        for user in range(30)
        for place in rng.permutation(60)[:20]
    ]
    data = make_data(ratings[:500], ratings[500:], 30, 80)
    businesses = EntityTable(
        data.businesses.ids,
        data.businesses.numeric,
        {CITY: city.astype(np.int32)},
        {CATEGORIES: Bag(spicy.astype(np.int32), np.arange(81))},
        {CITY: 2, CATEGORIES: 2},
    )
    model = RIDGE.fit(type(data)(**{**vars(data), "businesses": businesses})).model
    cold = np.arange(60, 80)
    predicted = model.rate(np.zeros(20, int), cold)
    assert predicted == pytest.approx(3.0 + city[cold] - spicy[cold], abs=0.25)
