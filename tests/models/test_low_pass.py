"""The low-pass block: its formula, its place in the towers' product, and what eval makes of it."""

import numpy as np
import pytest
import tensorflow as tf

from models import metrics
from models.baselines.low_pass import LowPass as Baseline
from models.closed_forms import choose_low_pass
from models.looks import EvalSplit
from models.low_pass import LowPass, LowPassRecipe, pass_histories
from models.spectral import Spectrum
from models.tables import Bag, Interactions

_USERS, _BUSINESSES = 60, 40
_RECIPE = LowPassRecipe(dim=6, exponent=0.25, weight=0.7)


def _visits(seed=0, num_visits=600, num_groups=4):
    """Users visit businesses of their own group, mostly; the last business is never visited."""
    rng = np.random.default_rng(seed)
    users = rng.integers(_USERS, size=num_visits)
    businesses = rng.integers(_BUSINESSES - 1, size=num_visits)
    own = rng.random(num_visits) < 0.9
    businesses[own] = businesses[own] // num_groups * num_groups + users[own] % num_groups
    pairs = np.unique(np.stack([users, np.minimum(businesses, _BUSINESSES - 2)], axis=1), axis=0)
    return Interactions(*pairs.T, np.ones(len(pairs), np.float32))


@pytest.fixture(scope="module")
def visits():
    return _visits()


@pytest.fixture(scope="module")
def spectrum(visits):
    return Spectrum.of(visits, _USERS, _BUSINESSES, rank=16, seed=0)


@pytest.fixture(scope="module")
def block(spectrum):
    return LowPass.of(spectrum, _RECIPE)


class TestCoordinates:
    def test_order_businesses_as_the_filter_does(self, visits, block):
        """Up to a factor a user, which no list shows: so says the baseline, written apart."""
        histories = visits.histories(_USERS)
        filtered = Baseline(visits, _USERS, _BUSINESSES, seed=0).cut(6, 0.25)
        queries, candidates = filtered.embeddings(_USERS, _BUSINESSES)
        expected = queries[:-1] @ candidates[:-1].T
        found = block.users(histories) @ block.businesses.T
        for row in range(_USERS):
            assert np.corrcoef(expected[row], found[row])[0, 1] > 0.9999

    def test_users_have_the_length_of_the_weight(self, visits, block):
        users = block.users(visits.histories(_USERS))
        np.testing.assert_allclose(np.linalg.norm(users, axis=1), 0.7, rtol=1e-5)

    def test_of_visited_businesses_have_a_mean_square_length_of_one(self, block):
        squares = np.square(block.businesses[:-1]).sum(axis=1)
        assert squares.mean() == pytest.approx(1.0, rel=1e-5)
        assert not block.businesses[-1].any()

    def test_without_a_history_are_zeros(self, block):
        nobody = Bag(np.zeros(0, np.int32), np.zeros(3, np.int64))
        np.testing.assert_array_equal(block.users(nobody), np.zeros([2, 6]))

    def test_requests_get_the_same(self, visits, block):
        histories = visits.histories(_USERS)
        ragged = tf.RaggedTensor.from_row_splits(
            block.businesses[histories.values], histories.row_splits
        )
        weights = tf.constant(block.history_weights[histories.values])
        found = pass_histories(ragged, weights, tf.constant(block.weight))
        np.testing.assert_allclose(found, block.users(histories), rtol=1e-5, atol=1e-6)

    def test_none_has_no_coordinates(self):
        none = LowPass.none(5)
        assert none.dim == 0
        assert none.users(Bag(np.array([1, 2]), np.array([0, 1, 2]))).shape == (2, 0)


class _Towers:
    """Stands for a model: `knows` tells how well its directions follow the groups of `_visits`."""

    def __init__(self, knows):
        rng = np.random.default_rng(5)
        group = np.eye(4, dtype=np.float32)
        noise = rng.normal(size=(_USERS + _BUSINESSES, 4)).astype(np.float32)
        self._queries = knows * group[np.arange(_USERS) % 4] + noise[:_USERS]
        self._candidates = knows * group[np.arange(_BUSINESSES) % 4] + noise[_USERS:]
        self.counts = tf.zeros([_BUSINESSES])
        self.retrieval_block_dim = 4

    def embed_candidates(self):
        return self._candidates

    def embed_queries(self, candidates, rows):
        return self._queries[rows]


@pytest.fixture(scope="module")
def look(visits):
    later = _visits(seed=1, num_visits=400)
    known = np.isin(
        later.user_rows * _BUSINESSES + later.business_rows,
        visits.user_rows * _BUSINESSES + visits.business_rows,
    )
    return EvalSplit(_USERS, visits, later[~known], max_users=_USERS, seed=0)


class TestChoice:
    def test_a_block_that_helps_is_taken(self, spectrum, look):
        recipe, ndcg, without = choose_low_pass(spectrum, look, _Towers(knows=0.0), [4, 8])
        assert recipe.dim in {4, 8}
        assert recipe.weight > 0
        assert ndcg > 1.2 * without
        queries, candidates = look.embed(_Towers(knows=0.0))
        block = LowPass.of(spectrum, recipe)
        joined = look.ndcgs(
            np.concatenate([queries, block.users(look.seen)], axis=1),
            np.concatenate([candidates, block.businesses], axis=1),
        )
        assert joined.mean() == pytest.approx(ndcg)

    def test_noise_is_left_out(self, look):
        """Visits at random tell towers that know the groups nothing."""
        rng = np.random.default_rng(9)
        noise = Interactions(
            rng.integers(_USERS, size=600),
            rng.integers(_BUSINESSES, size=600),
            np.ones(600, np.float32),
        )
        spectrum = Spectrum.of(noise, _USERS, _BUSINESSES, rank=16, seed=0)
        recipe, ndcg, without = choose_low_pass(spectrum, look, _Towers(knows=9.0), [4, 8])
        assert recipe == LowPassRecipe()
        assert ndcg == without
        forced, _, _ = choose_low_pass(spectrum, look, _Towers(knows=9.0), [4], may_be_none=False)
        assert forced.dim == 4

    def test_a_larger_one_must_be_better(self, spectrum, look):
        recipe, _, _ = choose_low_pass(spectrum, look, _Towers(knows=0.0), [4, 4, 4])
        assert recipe.dim == 4

    def test_many_businesses_mean_fewer_users(self, spectrum, look, monkeypatch):
        monkeypatch.setattr("models.closed_forms._MAX_CELLS", 10 * _BUSINESSES)
        widths = []
        whole = metrics.top_k

        def top_k(queries, *rest):
            widths.append(len(queries))
            return whole(queries, *rest)

        monkeypatch.setattr(metrics, "top_k", top_k)
        choose_low_pass(spectrum, look, _Towers(knows=0.0), [4])
        assert set(widths) <= set(range(5, 11))
