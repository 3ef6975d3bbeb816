import math

import numpy as np
import pytest

from models.preprocessing import CATEGORIES, CITY
from models.ridge import PENALTY_GRID, Covariates, choose_penalty, fit_priors, fit_ridge
from models.tables import Bag, EntityTable, Interactions

_NUM_USERS, _NUM_BUSINESSES = 60, 40


def _table(numeric, **others) -> EntityTable:
    ids = np.array([b"%d" % row for row in range(len(numeric))], object)
    return EntityTable(ids, np.array(numeric, np.float32), **others)


def _places(rng) -> EntityTable:
    spicy = rng.integers(2, size=_NUM_BUSINESSES)
    return _table(
        rng.normal(size=(_NUM_BUSINESSES, 2)),
        categorical={CITY: rng.integers(3, size=_NUM_BUSINESSES).astype(np.int32)},
        bags={CATEGORIES: Bag(spicy.astype(np.int32), np.arange(_NUM_BUSINESSES + 1))},
        vocabulary_sizes={CITY: 3, CATEGORIES: 2},
    )


def _ratings(rng, stars_of, count=600, num_users=_NUM_USERS) -> Interactions:
    users = rng.integers(num_users, size=count)
    places = rng.integers(_NUM_BUSINESSES, size=count)
    noise = 0.3 * rng.normal(size=count)
    return Interactions(users, places, (stars_of(users, places) + noise).astype(np.float32))


def test_minimises_the_penalised_squares():
    """The solution of the normal equations, with the columns laid out."""
    rng = np.random.default_rng(0)
    users, businesses = _table(rng.normal(size=(_NUM_USERS, 2))), _places(rng)
    ratings = _ratings(rng, lambda u, b: 3 + users.numeric[u, 0])
    fit = fit_ridge(ratings, Covariates.of(users, businesses), (2.0, 3.0, 5.0), tolerance=1e-10)

    def ones(rows, width):
        return np.eye(width)[rows]

    city, spicy = businesses.categorical[CITY], businesses.bags[CATEGORIES].values
    of_user = np.hstack([np.ones([_NUM_USERS, 1]), users.numeric])
    of_business = np.hstack([
        np.ones([_NUM_BUSINESSES, 1]),
        businesses.numeric,
        ones(city, 3),
        ones(spicy, 2),
    ])
    design = np.hstack([
        ones(ratings.user_rows, _NUM_USERS),
        ones(ratings.business_rows, _NUM_BUSINESSES),
        of_user[ratings.user_rows],
        of_business[ratings.business_rows],
    ])
    penalties = np.repeat([2.0, 3.0, 5.0], [_NUM_USERS, _NUM_BUSINESSES, 3 + 8])
    target = ratings.stars - ratings.stars.mean()
    weights = np.linalg.solve(design.T @ design + np.diag(penalties), design.T @ target)
    by_user, by_business, user_weights, business_weights = np.split(
        weights, np.cumsum([_NUM_USERS, _NUM_BUSINESSES, 3])
    )
    np.testing.assert_allclose(fit.priors.users, of_user @ user_weights, atol=1e-5)
    np.testing.assert_allclose(fit.priors.businesses, of_business @ business_weights, atol=1e-5)
    np.testing.assert_allclose(fit.user_parts, by_user + of_user @ user_weights, atol=1e-5)
    np.testing.assert_allclose(
        fit.business_parts, by_business + of_business @ business_weights, atol=1e-5
    )
    assert fit.priors.user_intercept == pytest.approx(user_weights[0], abs=1e-5)
    np.testing.assert_allclose(fit.priors.user_weights, user_weights[1:], atol=1e-5)
    assert fit.priors.business_intercept == pytest.approx(business_weights[0], abs=1e-5)


def test_priors_carry_covariates_over_to_who_has_no_ratings():
    rng = np.random.default_rng(1)
    users, businesses = _table(rng.normal(size=(_NUM_USERS, 1))), _places(rng)
    spicy = businesses.bags[CATEGORIES].values
    ratings = _ratings(rng, lambda u, b: 3 + 0.5 * users.numeric[u, 0] - spicy[b])
    warm = ratings[(ratings.user_rows < 50) & (ratings.business_rows < 30)]
    priors = fit_priors(warm, Covariates.of(users, businesses), (2.0, 2.0), 1.0, seed=0)
    # Up to a constant, which the intercepts share with the mean.
    of_users, of_businesses = priors.users[50:], priors.businesses[30:]
    expected = 0.5 * users.numeric[50:, 0]
    np.testing.assert_allclose(of_users - of_users.mean(), expected - expected.mean(), atol=0.15)
    np.testing.assert_allclose(
        of_businesses - of_businesses.mean(), -spicy[30:] + spicy[30:].mean(), atol=0.3
    )
    # The prior of a user whose covariates come with a request.
    np.testing.assert_allclose(
        users.numeric @ priors.user_weights + priors.user_intercept, priors.users, atol=1e-6
    )


def test_at_an_infinite_penalty_there_are_no_priors():
    rng = np.random.default_rng(2)
    users, businesses = _table(rng.normal(size=(_NUM_USERS, 2))), _places(rng)
    ratings = _ratings(rng, lambda u, b: 3 + users.numeric[u, 0])
    priors = fit_priors(ratings, Covariates.of(users, businesses), (2.0, 2.0), math.inf, seed=0)
    for values in (priors.users, priors.businesses, priors.user_weights):
        assert not values.any()
    assert len(priors.user_weights) == 2


@pytest.mark.parametrize("weight, expected", [(1.0, 10.0), (0.0, math.inf)])
def test_the_penalty_is_chosen_by_what_covariates_are_worth(weight, expected):
    rng = np.random.default_rng(3)
    users, businesses = _table(rng.normal(size=(400, 30))), _places(rng)
    own = rng.normal(size=400)
    ratings = _ratings(rng, lambda u, b: 3 + weight * users.numeric[u, 0] + 0.5 * own[u], 800, 400)
    held_out = rng.random(len(ratings)) < 0.3
    chosen = choose_penalty(
        ratings[~held_out],
        ratings[held_out],
        Covariates.of(users, businesses),
        (1.0, 8.0),
        seed=0,
    )
    assert chosen == expected
    assert chosen in PENALTY_GRID
