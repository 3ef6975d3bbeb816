"""What covariates say of businesses in retrieval: the regression, its share, and eval's choice."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.candidate_prior import CandidatePrior, PriorRecipe, blend
from models.closed_forms import choose_candidate_prior
from models.looks import EvalSplit
from models.options import ModelOptions, TrainingOptions
from models.preprocessing import CATEGORIES, CITY
from models.tables import Bag, EntityTable, Interactions
from models.training import train

_DIM = 3
_BUSINESSES = 400


def _businesses(seed=0, num_rows=_BUSINESSES) -> EntityTable:
    """Each with one of four cities, and one to three of six categories, some of them twice."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 4, size=num_rows)
    return EntityTable(
        ids=np.array([b"place-%03d" % row for row in range(num_rows)], object),
        numeric=rng.normal(size=(num_rows, 2)).astype(np.float32),
        categorical={CITY: rng.integers(4, size=num_rows).astype(np.int32)},
        bags={
            CATEGORIES: Bag(
                rng.integers(6, size=lengths.sum()).astype(np.int32),
                np.concatenate([[0], np.cumsum(lengths)]),
            )
        },
        vocabulary_sizes={CITY: 4, CATEGORIES: 6},
    )


def _truth(businesses: EntityTable, seed=1) -> np.ndarray:
    """Blocks that are linear in the covariates; a category that a row has twice counts once."""
    rng = np.random.default_rng(seed)
    blocks = businesses.numeric @ rng.normal(size=(2, _DIM + 1)) + rng.normal(size=_DIM + 1)
    blocks += rng.normal(size=(4, _DIM + 1))[businesses.categorical[CITY]]
    of_categories = rng.normal(size=(6, _DIM + 1))
    for row in range(businesses.num_rows):
        blocks[row] += of_categories[np.unique(businesses.bags[CATEGORIES].row(row))].sum(axis=0)
    return blocks.astype(np.float32)


@pytest.fixture(scope="module")
def businesses():
    return _businesses()


class TestFit:
    @pytest.fixture(scope="class")
    def prior(self, businesses):
        """A fifth was never visited: what stands in their rows is not to be read."""
        blocks = _truth(businesses)
        blocks[::5] = 1e3
        counts = np.where(np.arange(_BUSINESSES) % 5, 3, 0)
        return CandidatePrior.fit(businesses, blocks, counts)

    def test_it_finds_businesses_that_nobody_visited(self, businesses, prior):
        truth = _truth(businesses)
        errors = prior.businesses[::5] - truth[::5]
        assert np.sqrt(np.square(errors).mean()) < 0.15 * truth.std()

    def test_weights_and_intercept_say_the_same_of_all(self, businesses, prior):
        columns = np.zeros([_BUSINESSES, 12], np.float32)
        columns[:, :2] = businesses.numeric
        for row in range(_BUSINESSES):
            # Tokens in the order of their keys: categories, then cities.
            columns[row, 2 + np.unique(businesses.bags[CATEGORIES].row(row))] = 1.0
            columns[row, 8 + businesses.categorical[CITY][row]] = 1.0
        told = columns @ prior.weights + prior.intercept
        np.testing.assert_allclose(told, prior.businesses, atol=1e-4)

    def test_popularity_is_that_of_the_mean_visits(self, businesses):
        """Where covariates tell nothing, exp of it is the mean of exp(popularity), log-normal."""
        rng = np.random.default_rng(3)
        blocks = np.zeros([_BUSINESSES, _DIM + 1], np.float32)
        blocks[:, -1] = rng.normal(2.0, 0.8, size=_BUSINESSES)
        prior = CandidatePrior.fit(businesses, blocks, np.ones(_BUSINESSES))
        mean = np.log(np.exp(blocks[:, -1]).mean())
        assert np.exp(prior.businesses[:, -1]).mean() == pytest.approx(np.exp(mean), rel=0.1)

    def test_columns_that_say_the_same_twice_do_no_harm(self, businesses):
        twice = dataclasses.replace(businesses, numeric=np.repeat(businesses.numeric, 2, axis=1))
        prior = CandidatePrior.fit(twice, _truth(businesses), np.ones(_BUSINESSES))
        assert np.isfinite(prior.weights).all()
        assert np.corrcoef(prior.businesses[:, 0], _truth(businesses)[:, 0])[0, 1] > 0.99

    def test_one_visited_business_is_all_there_is_to_say(self, businesses):
        blocks, counts = _truth(businesses), np.zeros(_BUSINESSES)
        counts[7] = 2
        prior = CandidatePrior.fit(businesses, blocks, counts)
        np.testing.assert_allclose(
            prior.businesses, np.tile(blocks[7], (_BUSINESSES, 1)), rtol=1e-4
        )

    def test_limited_takes_off_popularity_and_nothing_else(self, prior):
        less = prior.limited(PriorRecipe(visits=4.0, discount=0.5))
        np.testing.assert_allclose(less.businesses[:, -1], prior.businesses[:, -1] - 0.5)
        np.testing.assert_allclose(less.intercept[-1], prior.intercept[-1] - 0.5)
        np.testing.assert_array_equal(less.weights, prior.weights)
        np.testing.assert_array_equal(less.businesses[:, :-1], prior.businesses[:, :-1])
        assert (prior.visits, less.visits) == (0.0, 4.0)

    def test_without_a_discount_there_is_no_popularity(self, prior):
        none = prior.limited(PriorRecipe())
        assert not none.businesses[:, -1].any()
        assert not none.weights[:, -1].any()
        assert none.intercept[-1] == 0.0
        np.testing.assert_array_equal(none.businesses[:, :-1], prior.businesses[:, :-1])


class TestBlend:
    _LEARNT = np.array([[1.0, 0.0, 2.0], [1.0, 0.0, 2.0], [1.0, 0.0, 2.0]], np.float32)
    _PROMISED = np.array([[0.0, 3.0, 0.7], [0.0, 3.0, 0.7], [0.0, 3.0, -0.7]], np.float32)

    def _blend(self, counts, visits):
        counts = tf.constant(counts, tf.float32)
        return blend(tf.constant(self._LEARNT), tf.constant(self._PROMISED), counts, visits).numpy()

    @pytest.mark.parametrize("visits", [0.0, 4.0])
    def test_one_without_visits_is_what_covariates_say(self, visits):
        found = self._blend([0, 5, 0], visits)
        np.testing.assert_allclose(found[0], [0.0, 1.0, 0.7])
        # Nobody is less popular than unvisited.
        np.testing.assert_allclose(found[2], [0.0, 1.0, 0.0])

    def test_visits_weigh_against_each_other(self):
        found = self._blend([4, 12, 1], 4.0)
        halves = np.array([1.0, 1.0]) / np.sqrt(2)
        np.testing.assert_allclose(found[0], [*halves, 2.0], rtol=1e-6)
        np.testing.assert_allclose(found[1], [*np.array([3.0, 1.0]) / np.sqrt(10), 2.0], rtol=1e-6)
        np.testing.assert_allclose(found[2], [*np.array([1.0, 4.0]) / np.sqrt(17), 2.0], rtol=1e-6)

    def test_a_prior_of_no_visits_leaves_what_was_learnt(self):
        np.testing.assert_allclose(self._blend([1, 2, 3], 0.0), self._LEARNT)


class _Towers:
    """Stands for a model of businesses in groups: what it has learnt of them is a matter of counts.

    The last ones have no visits; users want their own group's.
    """

    num_users, num_groups, dim = 80, 4, 4

    def __init__(self, counts, noise, weight=1.0):
        rng = np.random.default_rng(5)
        self.group = np.arange(len(counts)) % self.num_groups
        truth = np.eye(self.num_groups, dtype=np.float32)
        learnt = truth[self.group] + noise * rng.normal(size=(len(counts), 4)).astype(np.float32)
        learnt /= np.linalg.norm(learnt, axis=1, keepdims=True)
        self._blocks = np.column_stack([learnt, 0.5 * np.log1p(counts)]).astype(np.float32)
        self._blocks[counts == 0, :4] = 0.5
        self.counts = tf.constant(counts, tf.float32)
        self._weight = weight
        self.candidate_prior = None
        promised = np.column_stack([truth[self.group], np.full(len(counts), 1.0)])
        self.promised = CandidatePrior(promised.astype(np.float32), np.zeros([0, 5]), np.zeros(5))

    def embed_candidates(self):
        prior = self.candidate_prior
        if prior is None:
            return self._blocks
        told = blend(tf.constant(self._blocks), prior.businesses, self.counts, prior.visits)
        return told.numpy()

    def embed_queries(self, candidates, rows):
        own = np.eye(4, dtype=np.float32)[rows % self.num_groups]
        return np.column_stack([self._weight * own, np.ones(len(rows), np.float32)])


def _look(wanted, num_users=_Towers.num_users) -> EvalSplit:
    """Users whose eval visits are `wanted(user)`, businesses; none of them was visited before."""
    pairs = [(user, business) for user in range(num_users) for business in wanted(user)]
    users, businesses = np.array(pairs, np.int32).T
    nothing = Interactions(*(np.zeros(0, np.int32) for _ in range(2)), np.zeros(0, np.float32))
    stars = np.ones(len(pairs), np.float32)
    return EvalSplit(num_users, nothing, Interactions(users, businesses, stars), num_users, 0)


_MANY = 240


class TestChoice:
    _COUNTS = np.where(np.arange(_MANY) < 200, 3, 0)

    def test_covariates_that_know_better_are_worth_visits(self):
        towers = _Towers(self._COUNTS, noise=1.5)
        look = _look(lambda user: np.arange(user % 4, 200, 4)[user % 7 :: 7])
        recipe, ndcg, without = choose_candidate_prior(towers.promised, look, towers, 0.005)
        assert recipe.visits > 0
        assert ndcg > 1.05 * without
        assert towers.candidate_prior.visits == recipe.visits
        assert look.ndcgs(*look.embed(towers)).mean() == pytest.approx(ndcg)

    def test_covariates_that_know_less_are_not(self):
        towers = _Towers(self._COUNTS, noise=0.0)
        wrong = np.roll(towers.promised.businesses, 1, axis=0)
        misled = dataclasses.replace(towers.promised, businesses=wrong)
        look = _look(lambda user: np.arange(user % 4, 200, 4)[:4])
        recipe, ndcg, without = choose_candidate_prior(misled, look, towers, 0.005)
        assert recipe.visits == 0.0
        assert ndcg >= 0.995 * without

    def test_newcomers_that_eval_wants_get_all_their_popularity(self):
        towers = _Towers(self._COUNTS, noise=0.0)
        look = _look(lambda user: np.arange(200 + user % 4, _MANY, 4)[:4])
        recipe, ndcg, without = choose_candidate_prior(towers.promised, look, towers, 0.0)
        assert recipe.discount == 0.0
        assert ndcg > without

    def test_newcomers_that_eval_does_not_want_get_what_costs_next_to_nothing(self):
        towers = _Towers(self._COUNTS, noise=0.0, weight=4.0)
        eager = dataclasses.replace(
            towers.promised,
            businesses=towers.promised.businesses + np.float32([0, 0, 0, 0, 0.5]),
        )
        look = _look(lambda user: np.arange(user % 4, 200, 4)[:4])
        free, _, without = choose_candidate_prior(eager, look, towers, 0.9)
        assert free.discount == 0.0
        dear, ndcg, _ = choose_candidate_prior(eager, look, towers, 0.0)
        assert dear.discount is None or dear.discount > 0.5
        assert ndcg == pytest.approx(without)


class TestTraining:
    @pytest.fixture(scope="class")
    def result(self, planted, model_options):
        """The planted data, every fourth of whose businesses nobody has visited yet."""
        return self._train(planted, model_options)

    def _train(self, planted, model_options):
        is_new = np.arange(100) % 4 == 0
        splits = (
            split[np.flatnonzero(~is_new[split.business_rows])]
            for split in (planted.train, planted.eval)
        )
        retrieval = ModelOptions(**{
            **dict(model_options),
            "objective": {"rating": 0.0},
            "low_pass_dim": 0,
        })
        options = TrainingOptions(min_steps=100, tuning_seconds=0.0)
        tables = planted.users, planted.businesses
        return train(*tables, *splits, retrieval, options, refit=True)

    def test_new_businesses_stand_where_their_category_does(self, planted, result):
        """The planted users go to places of one category; nobody went to every fourth place."""
        model = result.model
        candidates = model.embed_candidates()[:, :8]
        kinds = np.zeros(100, int)
        kinds[planted.places.categories[b"Bars"]] = 1
        centre = [
            candidates[(kinds == kind) & (np.arange(100) % 4 > 0)].mean(axis=0) for kind in (0, 1)
        ]
        new = np.arange(0, 100, 4)
        closer = (candidates[new] @ np.transpose(centre)).argmax(axis=1)
        assert (closer == kinds[new]).mean() > 0.95

    def test_the_choice_is_told(self, result):
        told = result.choices["retrieval"].candidate_prior
        assert told.discount is not None
        assert result.model.retrieval.candidate_prior.visits == told.visits

    def test_without_covariates_there_is_no_prior(self, planted, model_options):
        blind = model_options.model_copy(update={"candidate_prior": False})
        result = self._train(planted, blind)
        assert result.model.retrieval.candidate_prior is None
        assert result.choices["retrieval"].candidate_prior == PriorRecipe()
