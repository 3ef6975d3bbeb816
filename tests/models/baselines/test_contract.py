"""What every baseline promises, whatever it computes."""

import dataclasses

import numpy as np
import pytest

from models.baselines import registry
from models.baselines.choosing import MissedShare, rmse
from models.tables import Bag

NUM_USERS, NUM_BUSINESSES = 40, 30
# Never in train or eval.
COLD_USER, COLD_BUSINESS = 0, 0

RATING = pytest.mark.parametrize("name", registry.RATING)
RETRIEVAL = pytest.mark.parametrize("name", registry.RETRIEVAL)


@pytest.fixture(scope="module")
def data(make_data):
    rng = np.random.default_rng(0)
    cells = 1 + rng.permutation((NUM_USERS - 1) * (NUM_BUSINESSES - 1))[:500]
    users = 1 + (cells - 1) // (NUM_BUSINESSES - 1)
    businesses = 1 + (cells - 1) % (NUM_BUSINESSES - 1)
    stars = np.clip(np.round(3 + rng.normal(size=NUM_USERS)[users] + rng.normal(size=500)), 1, 5)
    triples = np.stack([users, businesses, stars], axis=1)
    return make_data(triples[:400], triples[400:], NUM_USERS, NUM_BUSINESSES, tuning_seconds=0.0)


@pytest.fixture(scope="module")
def fit(data):
    """Fits a baseline once."""
    models: dict = {}

    def fit_once(place: str):
        if place not in models:
            models[place] = registry.load(place).fit(data).model
        return models[place]

    return fit_once


@pytest.mark.parametrize("place", [*registry.RATING.values(), *registry.RETRIEVAL.values()])
def test_the_eval_loss_is_that_of_what_was_chosen_fitted_on_train(place, data):
    # Fitted on train alone, the final model is the one that eval judged.
    fitted = registry.load(place).fit(dataclasses.replace(data, fitted=data.train))
    measure = rmse if place in registry.RATING.values() else lambda m, d: MissedShare(d)(m)
    assert fitted.eval_loss == pytest.approx(measure(fitted.model, data), rel=1e-3)
    assert fitted.eval_loss > 0


def nothing_seen(num_users: int) -> Bag:
    return Bag(np.zeros(0, np.int32), np.zeros(num_users + 1, np.int64))


@pytest.mark.parametrize("place", [*registry.RATING.values(), *registry.RETRIEVAL.values()])
def test_costs_are_positive_and_grow_with_the_data(place, data):
    baseline = registry.load(place)
    cost = baseline.cost(data)
    assert cost.num_bytes >= 0
    assert 0 < cost.seconds < 60
    twice = dataclasses.replace(data, fitted=data.fitted + data.fitted)
    assert baseline.cost(twice).seconds >= cost.seconds


@RATING
def test_stars_are_float64_within_their_range(name, fit):
    users, businesses = np.divmod(np.arange(NUM_USERS * NUM_BUSINESSES), NUM_BUSINESSES)
    stars = fit(registry.RATING[name]).rate(users.astype(np.int32), businesses.astype(np.int32))
    assert stars.shape == users.shape
    assert stars.dtype == np.float64
    assert ((stars >= 1) & (stars <= 5)).all()


@RATING
def test_nobody_asks(name, fit):
    none = np.zeros(0, np.int32)
    assert fit(registry.RATING[name]).rate(none, none).shape == (0,)


@RATING
def test_cold_rows_get_stars_of_reason(name, fit, data):
    users = np.array([COLD_USER, COLD_USER, 5])
    businesses = np.array([COLD_BUSINESS, 5, COLD_BUSINESS])
    stars = fit(registry.RATING[name]).rate(users, businesses)
    assert np.isfinite(stars).all()
    assert abs(stars[0] - data.fitted.stars.mean()) < 1.0


@RATING
def test_pairs_do_not_depend_on_their_company(name, fit):
    users, businesses = np.arange(1, 30), np.arange(29, 0, -1)
    model = fit(registry.RATING[name])
    together = model.rate(users, businesses)
    apart = [model.rate(users[i : i + 1], businesses[i : i + 1])[0] for i in range(len(users))]
    np.testing.assert_allclose(together, apart, atol=1e-6)


@RATING
def test_the_same_seed_rates_alike(name, fit, data):
    users, businesses = np.arange(NUM_USERS), np.arange(NUM_USERS) % NUM_BUSINESSES
    place = registry.RATING[name]
    again = registry.load(place).fit(data).model
    np.testing.assert_array_equal(fit(place).rate(users, businesses), again.rate(users, businesses))


@RATING
def test_constant_stars_are_predicted(name, make_data, data):
    def constant(ratings):
        return [(u, b, 4.0) for u, b in zip(ratings.user_rows, ratings.business_rows, strict=True)]

    same = make_data(
        constant(data.train), constant(data.held_out), NUM_USERS, NUM_BUSINESSES, tuning_seconds=0.0
    )
    model = registry.load(registry.RATING[name]).fit(same).model
    users = np.arange(NUM_USERS)
    np.testing.assert_allclose(model.rate(users, users % NUM_BUSINESSES), 4.0, atol=0.15)


TINY = {
    "one user": ([(0, 0, 5.0), (0, 1, 3.0), (0, 2, 4.0)], [(0, 3, 4.0)], 1, 5),
    "one business": ([(0, 0, 5.0), (1, 0, 3.0), (2, 0, 4.0)], [(3, 0, 4.0)], 5, 1),
    "one rating": ([(0, 0, 2.0)], [], 1, 1),
    "nothing held out": ([(0, 0, 2.0), (1, 1, 4.0), (0, 1, 5.0)], [], 2, 2),
}


@RATING
@pytest.mark.parametrize("tiny", TINY)
def test_tiny_data_is_rated(name, tiny, make_data):
    data = make_data(*TINY[tiny])
    model = registry.load(registry.RATING[name]).fit(data).model
    users, businesses = np.divmod(
        np.arange(data.num_users * data.num_businesses), data.num_businesses
    )
    stars = model.rate(users, businesses)
    assert ((stars >= 1) & (stars <= 5)).all()


@RETRIEVAL
@pytest.mark.parametrize("tiny", TINY)
def test_tiny_data_is_ranked(name, tiny, make_data):
    data = make_data(*TINY[tiny])
    model = registry.load(registry.RETRIEVAL[name]).fit(data).model
    users = np.arange(data.num_users)
    lists = model.recommend(users, 50, nothing_seen(len(users)))
    assert (np.sort(lists, axis=1) == np.arange(data.num_businesses)).all()


@RETRIEVAL
def test_lists_leave_out_what_was_seen_and_end_in_padding(name, fit, data):
    users = np.array([3, COLD_USER, 5], np.int32)
    seen = data.fitted.histories(NUM_USERS).take(users)
    lists = fit(registry.RETRIEVAL[name]).recommend(users, NUM_BUSINESSES + 9, seen)
    assert lists.shape == (3, NUM_BUSINESSES)
    assert lists.dtype == np.int32
    for row, ranked in enumerate(lists):
        expected = set(range(NUM_BUSINESSES)) - set(seen.row(row).tolist())
        assert set(ranked[: len(expected)].tolist()) == expected
        assert (ranked[len(expected) :] == -1).all()


@RETRIEVAL
def test_shorter_lists_begin_alike(name, fit, data):
    users = np.arange(NUM_USERS)
    seen = data.fitted.histories(NUM_USERS)
    model = fit(registry.RETRIEVAL[name])
    np.testing.assert_array_equal(
        model.recommend(users, 10, seen)[:, :4], model.recommend(users, 4, seen)
    )


@RETRIEVAL
def test_a_cold_user_gets_what_is_popular(name, fit, data):
    lists = fit(registry.RETRIEVAL[name]).recommend(np.array([COLD_USER]), 5, nothing_seen(1))
    counts = np.bincount(data.fitted.business_rows, minlength=NUM_BUSINESSES)
    assert sorted(counts[lists[0]]) == sorted(np.sort(counts)[-5:])


@RETRIEVAL
def test_the_same_seed_ranks_alike(name, fit, data):
    users = np.arange(NUM_USERS)
    seen = data.fitted.histories(NUM_USERS)
    place = registry.RETRIEVAL[name]
    again = registry.load(place).fit(data).model
    np.testing.assert_array_equal(
        fit(place).recommend(users, 10, seen), again.recommend(users, 10, seen)
    )
