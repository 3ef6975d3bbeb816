import math

import numpy as np
import pytest
import tensorflow as tf

from models import towers
from models.aggregates import NUM_SUMS
from models.options import ModelOptions
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY, NUMERIC
from models.ridge import Priors

_OPTIONS = ModelOptions(
    embedding_dim=4,
    rating_dim=3,
    tower_widths=(5,),
    temperature=0.5,
    query_covariates=0.5,
    candidate_covariates=0.5,
    dropout=0.3,
    id_dropout=0.4,
)
_SIZES = {CITY: 3, CATEGORIES: 4, ATTRIBUTES: 2}
_COUNTS = (5.0, 0.0, 2.0)  # Business 1 has no training ratings.
_MEAN_STARS, _SHRINKAGE = 3.5, 4.0


def _randomise(layer, seed=0):
    """Gives every weight a value: those that start at zero would hide what they do."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(scale=0.5, size=variable.shape))


_PRIORS = Priors(np.zeros(3), np.zeros(3), np.array([0.3, 0, 0, 0, 0, 0]), 0.1, 0.0, np.zeros(0))


def _query_inputs(batch=3, seed=1):
    rng = np.random.default_rng(seed)
    sums = np.tile(np.array([[4, 2, 3, 2, 1, 6]], np.float32), [batch, 1])
    return {
        NUMERIC: tf.constant(rng.normal(size=(batch, 6)), tf.float32),
        towers.SUMS: tf.constant(sums),
        towers.HISTORY_VECTOR: tf.constant(rng.normal(size=(batch, 4)), tf.float32),
        towers.HISTORY_COUNT: tf.constant(rng.integers(1, 9, batch), tf.float32),
        towers.USER_VECTOR: tf.constant(rng.normal(size=(batch, 4)), tf.float32),
    }


def _candidate_inputs(rows=(0, 1, 2), categories=((1, 3), (), (0,)), seed=2):
    rng = np.random.default_rng(seed)
    batch = len(rows)
    return {
        towers.ROW: tf.constant(rows, tf.int32),
        towers.SUMS: tf.constant(rng.uniform(0, 3, size=(batch, NUM_SUMS)), tf.float32),
        towers.TASTE: tf.constant(rng.normal(size=(batch, 2)), tf.float32),
        towers.PRIOR: tf.fill([batch, 1], 0.6),
        NUMERIC: tf.constant(rng.normal(size=(batch, 5)), tf.float32),
        towers.CONTENT: tf.constant(rng.normal(size=(batch, 3)), tf.float32),
        CITY: tf.constant([0, 2, 1][:batch]),
        CATEGORIES: tf.ragged.constant(categories, tf.int64, ragged_rank=1),
        ATTRIBUTES: tf.ragged.constant([[0]] * batch, tf.int64, ragged_rank=1),
    }


@pytest.fixture(scope="module")
def query_tower():
    tower = towers.QueryTower(
        towers.QueryRetrievalBlock(_OPTIONS),
        towers.QueryRatingBlock(_OPTIONS, _MEAN_STARS, _SHRINKAGE, _PRIORS),
    )
    tower(_query_inputs())
    _randomise(tower)
    return tower


@pytest.fixture(scope="module")
def candidate_tower():
    directions = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
    tower = towers.CandidateTower(
        towers.CandidateRetrievalBlock(_OPTIONS, tf.constant(_COUNTS), directions),
        towers.CandidateRatingBlock(_OPTIONS, _SIZES, _SHRINKAGE),
    )
    tower(_candidate_inputs())
    _randomise(tower)
    return tower


class TestHistoryVector:
    directions = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    weights = tf.constant([0.5, 1.0, 1 / 3])

    def vector(self, histories):
        return towers.history_vector(
            histories.with_values(tf.gather(self.directions, histories.values)),
            histories.with_values(tf.gather(self.weights, histories.values)),
        )

    def test_by_hand(self):
        histories = tf.ragged.constant([[0, 1], [], [2], [0, 0, 0, 0]], tf.int32)
        vectors = self.vector(histories)
        root = math.sqrt(2)
        expected = [
            [0.5 / root, 1.0 / root],  # (.5 e0 + e1) / √2
            [0.0, 0.0],
            [0.2, 0.8 / 3],  # (.6, .8) / 3
            [1.0, 0.0],  # 4 · .5 e0 / √4
        ]
        np.testing.assert_allclose(vectors, expected, atol=1e-6)

    def test_order_of_a_history_does_not_matter(self):
        one = self.vector(tf.ragged.constant([[2, 0, 1]], tf.int32))
        other = self.vector(tf.ragged.constant([[1, 2, 0]], tf.int32))
        np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_no_queries(self):
        nobody = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int32), [0])
        assert self.vector(nobody).shape == (0, 2)


class TestPureInnerProduct:
    def test_blocks_follow_each_other(self, query_tower, candidate_tower):
        query_inputs, candidate_inputs = _query_inputs(), _candidate_inputs()
        query, candidate = query_tower(query_inputs), candidate_tower(candidate_inputs)
        assert query.shape == candidate.shape == (3, 10)
        # Five retrieval coordinates, five rating coordinates.
        np.testing.assert_allclose(query[:, :5], query_tower.retrieval(query_inputs))
        np.testing.assert_allclose(query[:, 5:], query_tower.rating(query_inputs))
        np.testing.assert_allclose(candidate[:, :5], candidate_tower.retrieval(candidate_inputs))
        np.testing.assert_allclose(candidate[:, 5:], candidate_tower.rating(candidate_inputs))

    def test_biases_meet_constant_coordinates(self, query_tower, candidate_tower):
        query, candidate = query_tower(_query_inputs()), candidate_tower(_candidate_inputs())
        np.testing.assert_array_equal(query[:, -1], 1.0)
        np.testing.assert_array_equal(candidate[:, -2], 1.0)
        # So the product is interaction + the user's bias and mean + the business's bias.
        product = tf.reduce_sum(query[:, 5:] * candidate[:, 5:], axis=1)
        interaction = tf.reduce_sum(query[:, 5:8] * candidate[:, 5:8], axis=1)
        np.testing.assert_allclose(
            product, interaction + query[:, -2] + candidate[:, -1], rtol=1e-5, atol=1e-5
        )

    def test_ratings_start_at_the_regularised_biases(self):
        fresh = towers.QueryRatingBlock(_OPTIONS, _MEAN_STARS, _SHRINKAGE, _PRIORS)(_query_inputs())
        # The first numeric covariate weighs .3, beside .1; four ratings are half a star above.
        prior = 0.3 * _query_inputs()[NUMERIC][:, 0] + 0.1
        np.testing.assert_allclose(fresh[:, -2], 3.5 + (2 + 4 * prior) / (4 + 4), rtol=1e-6)
        inputs = _candidate_inputs()
        inputs[towers.SUMS] = tf.constant([[6.0, -5, 9, 0, 2, 3]] * 3)
        fresh = towers.CandidateRatingBlock(_OPTIONS, _SIZES, _SHRINKAGE)(inputs)
        np.testing.assert_allclose(fresh[:, -1], (-5 + 4 * 0.6) / (6 + 4), rtol=1e-6)

    def test_directions_have_unit_length(self, query_tower, candidate_tower):
        query = query_tower.retrieval(_query_inputs())
        candidate = candidate_tower.retrieval(_candidate_inputs())
        # A query's is divided by the temperature .5.
        np.testing.assert_allclose(tf.norm(query[:, :4], axis=1), 2.0, rtol=1e-5)
        np.testing.assert_allclose(tf.norm(candidate[:, :4], axis=1), 1.0, rtol=1e-5)

    def test_popularity_is_the_scaled_logarithm_of_the_count(self, candidate_tower):
        (scale,) = (
            v for v in candidate_tower.retrieval.trainable_variables if "popularity" in v.name
        )
        popularity = candidate_tower.retrieval(_candidate_inputs())[:, 4]
        np.testing.assert_allclose(popularity, scale.numpy() * np.log1p(_COUNTS), rtol=1e-5)


class TestQueryDirection:
    @pytest.mark.parametrize("key", [towers.HISTORY_VECTOR, towers.USER_VECTOR, NUMERIC])
    def test_history_own_vector_and_covariates_all_have_a_say(self, query_tower, key):
        inputs = _query_inputs()
        before = query_tower.retrieval(inputs)
        after = query_tower.retrieval({**inputs, key: inputs[key] + 1.0})
        assert np.abs(after - before).max(axis=1).min() > 1e-3

    def test_covariates_of_weight_0_have_none(self):
        options = _OPTIONS.model_copy(update={"query_covariates": 0.0, "candidate_covariates": 0.0})
        query = towers.QueryRetrievalBlock(options)
        inputs = _query_inputs()
        before = query(inputs)
        _randomise(query)
        before = query(inputs)
        np.testing.assert_array_equal(query({**inputs, NUMERIC: inputs[NUMERIC] + 1}), before)
        directions = np.ones((3, 4), np.float32)
        candidate = towers.CandidateRetrievalBlock(options, tf.constant(_COUNTS), directions)
        inputs = _candidate_inputs()
        before = candidate(inputs)
        other = {**inputs, NUMERIC: inputs[NUMERIC] + 1, towers.CONTENT: -inputs[towers.CONTENT]}
        np.testing.assert_array_equal(candidate(other), before)

    def test_a_user_of_whom_nothing_is_known_has_a_direction(self):
        block = towers.QueryRetrievalBlock(_OPTIONS)
        nothing = {key: tf.zeros_like(value) for key, value in _query_inputs().items()}
        length = tf.norm(block(nothing)[:, :4], axis=1)
        np.testing.assert_allclose(length, 2.0, rtol=1e-4)  # 1 / temperature


class TestCandidateIds:
    def _change_ids(self, tower):
        (ids,) = (v for v in tower.retrieval.trainable_variables if "ids" in v.name)
        before = ids.numpy()
        ids.assign(before[::-1] * 3.0 + 1.0)
        return lambda: ids.assign(before)

    def test_only_a_rated_business_uses_its_id(self, candidate_tower):
        before = candidate_tower.retrieval(_candidate_inputs()).numpy()
        restore = self._change_ids(candidate_tower)
        after = candidate_tower.retrieval(_candidate_inputs()).numpy()
        restore()
        np.testing.assert_array_equal(after[1], before[1])  # Business 1 is cold.
        assert np.abs(after[[0, 2]] - before[[0, 2]]).max(axis=1).min() > 1e-3

    def test_a_new_business_has_neither_id_nor_popularity(self, candidate_tower):
        inputs = _candidate_inputs(rows=(-1, -1, -1))
        before = candidate_tower.retrieval(inputs).numpy()
        restore = self._change_ids(candidate_tower)
        after = candidate_tower.retrieval(inputs).numpy()
        restore()
        np.testing.assert_array_equal(after, before)
        assert not before[:, 4].any()

    def test_training_hides_some_ids(self, candidate_tower):
        inputs = _candidate_inputs(rows=(0,) * 400, categories=((1,),) * 400)
        inputs[CITY] = tf.zeros([400], tf.int32)
        inputs[NUMERIC] = tf.zeros([400, 5])
        inputs[towers.CONTENT] = tf.zeros([400, 3])
        tf.keras.utils.set_random_seed(0)
        directions = candidate_tower.retrieval(inputs, training=True).numpy()[:, :4]
        kinds, counts = np.unique(directions.round(5), axis=0, return_counts=True)
        assert len(kinds) == 2
        # 400 draws at .4: within four standard deviations of 160.
        assert abs(counts.min() - 160) < 40
        still = candidate_tower.retrieval(inputs).numpy()[:, :4]
        assert len(np.unique(still.round(5), axis=0)) == 1


class TestBags:
    def test_an_empty_bag_gives_numbers(self, candidate_tower):
        inputs = _candidate_inputs(categories=((), (), ()))
        assert np.isfinite(candidate_tower(inputs)).all()

    def test_order_and_repetition_do_not_matter_but_the_tokens_do(self, candidate_tower):
        def embed(*categories):
            return candidate_tower.rating(_candidate_inputs(categories=categories)).numpy()

        one = embed((1, 3), (2,), (0, 1, 2, 3))
        other = embed((3, 1, 3, 1), (2, 2, 2), (3, 2, 1, 0))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        changed = embed((1, 2), (3,), (0, 1, 2))
        assert np.abs(one - changed).max(axis=1).min() > 1e-3

    def test_rows_do_not_mix(self, candidate_tower):
        inputs = _candidate_inputs()
        whole = candidate_tower(inputs).numpy()
        for row in range(3):
            single = candidate_tower({key: value[row : row + 1] for key, value in inputs.items()})
            np.testing.assert_allclose(single[0], whole[row], rtol=1e-5, atol=1e-6)


class TestTraining:
    def test_dropout_only_in_training(self, query_tower):
        inputs = _query_inputs()
        np.testing.assert_array_equal(query_tower(inputs), query_tower(inputs))
        tf.keras.utils.set_random_seed(0)
        assert np.abs(query_tower(inputs, training=True) - query_tower(inputs)).max() > 1e-3
