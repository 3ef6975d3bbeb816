"""The low-pass block: its formula, its place in the towers' product, and what eval makes of it."""

import numpy as np
import pytest
import tensorflow as tf

from models import metrics
from models.closed_forms import choose_low_pass
from models.looks import EvalSplit
from models.low_pass import BUSINESS_EXPONENT, LowPass, LowPassRecipe, pass_histories
from models.spectral import Spectrum
from models.tables import Bag, Interactions

_USERS, _BUSINESSES = 60, 40
_RECIPE = LowPassRecipe(dim=6, user_exponent=0.5, weight=0.7)


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


def _spectrum(visits, rank, exponent):
    return Spectrum.of(visits, _USERS, _BUSINESSES, rank, 0, exponent, BUSINESS_EXPONENT)


def _spectra(visits):
    return {exponent: _spectrum(visits, 16, exponent) for exponent in (0.25, 0.5)}


@pytest.fixture(scope="module")
def spectra(visits):
    return _spectra(visits)


@pytest.fixture(scope="module")
def block(spectra):
    return LowPass.of(spectra[0.5], _RECIPE)


class TestCoordinates:
    @pytest.mark.parametrize("exponent", [0.25, 0.5])
    def test_score_as_ridge_regression_of_all_visits_on_the_history(self, visits, exponent):
        """Where all frequencies pass: B = (G + λI)⁻¹ G of the normalised visits, D^-¼ before it."""
        histories = visits.histories(_USERS)
        full = _spectrum(visits, _BUSINESSES, exponent)
        recipe = LowPassRecipe(_BUSINESSES, exponent, weight=1.0)
        found = (block := LowPass.of(full, recipe)).users(histories) @ block.businesses.T
        dense = np.zeros([_USERS, _BUSINESSES])
        dense[visits.user_rows, visits.business_rows] = 1.0
        by_user, by_business = dense.sum(axis=1), np.maximum(dense.sum(axis=0), 1.0)
        held = by_user[:, None] ** -exponent * dense * by_business**-0.25
        gram = held.T @ held
        ridge = 0.15 * np.linalg.eigvalsh(gram)[-1]
        weights = np.linalg.solve(gram + ridge * np.eye(_BUSINESSES), gram)
        expected = (dense * by_business**-0.25) @ weights
        # Up to a factor a user, which no list shows.
        for row in range(_USERS):
            assert np.corrcoef(expected[row], found[row])[0, 1] > 0.9999

    def test_the_lowest_frequencies_are_enough_of_it(self, visits, spectra, block):
        wider = LowPass.of(spectra[0.5], LowPassRecipe(16, 0.5, 0.7))
        histories = visits.histories(_USERS)
        few, more = (b.users(histories) @ b.businesses.T for b in (block, wider))
        assert np.corrcoef(few.ravel(), more.ravel())[0, 1] > 0.8

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

    def __init__(self, knows, weight=1.0):
        rng = np.random.default_rng(5)
        group = np.eye(4, dtype=np.float32)
        noise = rng.normal(size=(_USERS + _BUSINESSES, 4)).astype(np.float32)
        self._queries = weight * (knows * group[np.arange(_USERS) % 4] + noise[:_USERS])
        self._candidates = knows * group[np.arange(_BUSINESSES) % 4] + noise[_USERS:]
        self.counts = tf.zeros([_BUSINESSES])

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
    def test_a_block_that_helps_is_taken(self, spectra, look):
        recipe, ndcg, without = choose_low_pass(spectra, look, _Towers(knows=0.0), [4, 8])
        assert recipe.dim in {4, 8}
        assert recipe.weight > 0
        assert ndcg > 1.2 * without
        queries, candidates = look.embed(_Towers(knows=0.0))
        block = LowPass.of(spectra[recipe.user_exponent], recipe)
        joined = look.ndcgs(
            np.concatenate([queries, block.users(look.seen)], axis=1),
            np.concatenate([candidates, block.businesses], axis=1),
        )
        assert joined.mean() == pytest.approx(ndcg)

    def test_what_does_harm_is_left_out(self, look):
        """Visits to another group's businesses mislead."""
        visits = _visits()
        contrary = Interactions(
            visits.user_rows, (visits.business_rows + 1) % (_BUSINESSES - 1), visits.stars
        )
        spectra = _spectra(contrary)
        misled = EvalSplit(_USERS, contrary, look.ratings, max_users=_USERS, seed=0)
        towers = _Towers(knows=2.0, weight=0.03)
        recipe, ndcg, without = choose_low_pass(spectra, misled, towers, [4, 8])
        assert recipe == LowPassRecipe()
        assert ndcg == without
        forced, ndcg, _ = choose_low_pass(spectra, misled, towers, [4], may_be_none=False)
        assert forced.dim == 4
        assert ndcg < 0.95 * without

    def test_noise_is_left_out(self, look):
        """Visits at random tell towers that know the groups nothing."""
        rng = np.random.default_rng(9)
        noise = Interactions(
            rng.integers(_USERS, size=600),
            rng.integers(_BUSINESSES, size=600),
            np.ones(600, np.float32),
        )
        spectra = _spectra(noise)
        recipe, ndcg, without = choose_low_pass(spectra, look, _Towers(knows=9.0), [4, 8])
        assert recipe == LowPassRecipe()
        assert ndcg == without
        forced, _, _ = choose_low_pass(spectra, look, _Towers(knows=9.0), [4], may_be_none=False)
        assert forced.dim == 4

    def test_the_usual_one_stays_where_others_are_not_surely_better(self, spectra, look):
        """Towers that know the groups well gain little, whatever block stands beside them."""
        towers = _Towers(knows=9.0)
        recipe, ndcg, without = choose_low_pass(spectra, look, towers, [4, 8, 600])
        assert recipe == LowPassRecipe(8, 0.25, 0.25)
        assert without < ndcg < 1.01 * without

    def test_one_that_changes_nothing_is_left_out(self, look, visits):
        """Nobody who is asked about has a history."""
        nobody = visits[np.zeros(0, np.int64)]
        unseen = EvalSplit(_USERS, nobody, look.ratings, max_users=_USERS, seed=0)
        recipe, _, _ = choose_low_pass(_spectra(visits), unseen, _Towers(knows=1.0), [4, 8])
        assert recipe == LowPassRecipe()

    def test_what_is_surely_better_than_the_usual_one_is_taken(self, spectra, look):
        """Towers that know nothing are no match for a block, which should weigh more."""
        recipe, _, _ = choose_low_pass(spectra, look, _Towers(knows=0.0), [4])
        assert recipe.dim == 4
        assert recipe.weight > 0.25

    def test_many_businesses_mean_fewer_users(self, spectra, look, monkeypatch):
        monkeypatch.setattr("models.closed_forms._MAX_CELLS", 10 * _BUSINESSES)
        widths = []
        whole = metrics.top_k

        def top_k(queries, *rest):
            widths.append(len(queries))
            return whole(queries, *rest)

        monkeypatch.setattr(metrics, "top_k", top_k)
        choose_low_pass(spectra, look, _Towers(knows=0.0), [4])
        assert set(widths) <= set(range(5, 11))
