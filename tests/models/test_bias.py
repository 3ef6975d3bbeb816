import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bias import SHRINKAGE_GRID, BiasModel, choose_shrinkages, fit_bias
from models.ridge import Priors
from models.tables import Interactions


def _ratings(*triples):
    users, businesses, stars = zip(*triples, strict=True)
    return Interactions(
        np.array(users, np.int32), np.array(businesses, np.int32), np.array(stars, np.float32)
    )


# Users a, b and businesses x, y: a gives x 5 and y 3, b gives x 4.
_THREE = ((0, 0, 5.0), (0, 1, 3.0), (1, 0, 4.0))


def test_one_sweep_by_hand():
    model = fit_bias(_ratings(*_THREE), 2, 2, 1.0, 1.0, num_sweeps=1)
    # The mean is (5+3+4)/3 = 4, so the stars are 1, -1 and 0 above it. First the businesses: x has
    # (1+0)/(2+1) = 1/3, y has -1/(1+1) = -1/2. Then the users: a has (1-1/3 -1+1/2)/(2+1) = 1/18,
    # b has (0-1/3)/(1+1) = -1/6.
    assert model.mean_stars == pytest.approx(4.0)
    np.testing.assert_allclose(model.business_bias, [1 / 3, -1 / 2])
    np.testing.assert_allclose(model.user_bias, [1 / 18, -1 / 6])


def test_limit_by_hand():
    model = fit_bias(_ratings(*_THREE), 2, 2, 1.0, 1.0, num_sweeps=200)
    # The fixed point solves, for a, b, x, y:
    #   3a + x + y = 0;  2b + x = 0;  3x + a + b = 1;  2y + a = -1.
    # b = -x/2, y = -(1+a)/2; then 3a + x - 1/2 - a/2 = 0 and 5x/2 + a = 1
    # give x = 1/2 - 5a/2 and 5/4 - 25a/4 + a = 1, so a = 1/21, x = 8/21, b = -4/21, y = -11/21.
    np.testing.assert_allclose(model.user_bias, np.array([1, -4]) / 21, atol=1e-9)
    np.testing.assert_allclose(model.business_bias, np.array([8, -11]) / 21, atol=1e-9)
    # Ten sweeps, the default, are as near as the docstring says.
    default = fit_bias(_ratings(*_THREE), 2, 2, 1.0, 1.0)
    np.testing.assert_allclose(default.user_bias, model.user_bias, atol=1e-3)
    np.testing.assert_allclose(default.business_bias, model.business_bias, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 3.0, 20.0]), st.sampled_from([1.0, 7.0]))
def test_limit_solves_the_penalised_normal_equations(seed, user_shrinkage, business_shrinkage):
    rng = np.random.default_rng(seed)
    ratings = Interactions(
        rng.integers(5, size=30), rng.integers(4, size=30), rng.integers(1, 6, 30).astype("f4")
    )
    model = fit_bias(ratings, 5, 4, user_shrinkage, business_shrinkage, num_sweeps=300)
    design = np.zeros([30, 9])
    design[np.arange(30), ratings.user_rows] = 1
    design[np.arange(30), 5 + ratings.business_rows] = 1
    penalty = np.diag([user_shrinkage] * 5 + [business_shrinkage] * 4)
    expected = np.linalg.solve(
        design.T @ design + penalty, design.T @ (ratings.stars - ratings.stars.mean())
    )
    np.testing.assert_allclose(
        np.concatenate([model.user_bias, model.business_bias]), expected, atol=1e-5
    )


def test_entities_without_ratings_have_no_bias():
    model = fit_bias(_ratings(*_THREE), 4, 3, 1.0, 1.0)
    assert model.user_bias[2:].tolist() == [0.0, 0.0]
    assert model.business_bias[2] == 0.0
    assert model.rate(np.array([3]), np.array([2])) == pytest.approx(model.mean_stars)


def test_predictions_stay_within_the_range_of_stars():
    model = BiasModel(
        3.0, np.array([0.25, 3.0, -3.0]), np.array([0.5]), 1.0, 1.0, Priors.none(3, 1)
    )
    stars = model.rate(np.array([0, 1, 2]), np.array([0, 0, 0]))
    # 3 + .25 + .5; 6.5 and .5 are clipped.
    assert stars.tolist() == [3.75, 5.0, 1.0]


def test_consistent_users_get_little_shrinkage():
    # Each user always gives the same stars, businesses are alike: the least shrinkage of users
    # is best, and the most of businesses.
    users = np.repeat(np.arange(40), 6)
    stars = np.where(users % 2, 5.0, 2.0).astype(np.float32)
    rng = np.random.default_rng(0)
    businesses = rng.integers(30, size=240)
    ratings = Interactions(users, businesses, stars)
    held_out = np.arange(240) % 6 == 0
    chosen = choose_shrinkages(ratings[~held_out], ratings[held_out], 40, 30)
    assert chosen == (SHRINKAGE_GRID[0], SHRINKAGE_GRID[-1])


def test_noise_gets_much_shrinkage():
    rng = np.random.default_rng(1)
    ratings = Interactions(
        rng.integers(50, size=2_000),
        rng.integers(50, size=2_000),
        rng.integers(1, 6, 2_000).astype(np.float32),
    )
    held_out = np.arange(2_000) % 4 == 0
    assert choose_shrinkages(ratings[~held_out], ratings[held_out], 50, 50) == (16.0, 16.0)


def test_choice_is_the_best_of_the_grid():
    rng = np.random.default_rng(2)
    ratings = Interactions(
        rng.integers(6, size=60), rng.integers(5, size=60), rng.integers(1, 6, 60).astype("f4")
    )
    train, held_out = ratings[:45], ratings[45:]
    grid = (0.5, 5.0, 50.0)
    errors = {}
    for user in grid:
        for business in grid:
            model = fit_bias(train, 6, 5, user, business, num_sweeps=50)
            predicted = model.rate(held_out.user_rows, held_out.business_rows)
            errors[user, business] = np.square(predicted - held_out.stars).sum()
    assert choose_shrinkages(train, held_out, 6, 5, grid) == min(
        errors, key=lambda shrinkages: errors[shrinkages]
    )


def test_biases_shrink_to_their_priors_by_hand():
    # One rating of 5 by user 0; user 1 has none. With the mean 5 the residual is 0 - .6 - .2.
    priors = Priors(np.array([0.6, -0.4]), np.array([0.2]), np.zeros(0), 0.0, 0.0, np.zeros(0))
    model = fit_bias(_ratings((0, 0, 5.0)), 2, 1, 3.0, 1e12, priors=priors)
    # A quarter of the residual is the user's, the business does not move.
    np.testing.assert_allclose(model.user_bias, [0.6 - 0.8 / 4, -0.4], atol=1e-6)
    np.testing.assert_allclose(model.business_bias, [0.2], atol=1e-6)
