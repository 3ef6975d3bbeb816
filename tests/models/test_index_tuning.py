"""The index is tuned to its recall, and left out where exact search is as fast."""

import dataclasses

import numpy as np
import pytest

from models import metrics
from models.index_recall import recall_against_exact
from models.index_tuning import Point, Truth, measure, query_sets, tune
from models.places import Places
from models.recommender_tables import RecommenderTables
from models.scann_index import MIN_BUSINESSES, Effort, ScannIndex
from models.search import NEIGHBOURS, PLAIN, WEIGHTED
from models.tables import Bag

_DIRECTION, _RATING = 24, 6


def _tables(num_businesses, num_users=600, clusters=40, seed=0) -> RecommenderTables:
    """Clustered directions; ratings that have nothing to do with them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, _DIRECTION))

    def side(count):
        directions = centres[rng.integers(clusters, size=count)]
        directions = directions + 0.5 * rng.normal(size=directions.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        rest = 0.2 * rng.normal(size=(count, 1 + _RATING))
        return np.concatenate([directions, rest], axis=1).astype(np.float32)

    return RecommenderTables(
        user_ids=np.array([b"%d" % row for row in range(num_users)], object),
        business_ids=np.array([b"%d" % row for row in range(num_businesses)], object),
        query_embeddings=side(num_users + 1).astype(np.float16),
        candidate_embeddings=side(num_businesses + 1),
        retrieval_weight=1.0,
        rating_weight=0.0,
        rating_dim=_RATING,
        seen=Bag(np.zeros(0, np.int32), np.zeros(num_users + 1, np.int64)),
        mean_stars=3.5,
        mean_age_years=1.0,
        business_bias=np.zeros(num_businesses, np.float32),
        taste=np.zeros([num_businesses, 0], np.float32),
        history_weights=np.ones(num_businesses, np.float32),
        factor_ridge=np.zeros(0, np.float32),
        factor_weight=0.0,
        places=Places.unknown(num_businesses),
    )


@pytest.fixture(scope="module")
def large():
    return _tables(30_000)


@pytest.fixture(scope="module")
def queries(large):
    return large.query_embeddings[:-1].astype(np.float32)


@pytest.fixture(scope="module")
def tuned(large, queries):
    return tune(large, queries[:300], 0.97)


class TestTune:
    def test_other_queries_find_what_was_asked_for(self, large, queries, tuned):
        asked = query_sets(large, queries[300:])
        assert set(tuned.efforts) == {PLAIN, WEIGHTED, NEIGHBOURS}
        for kind, effort in tuned.efforts.items():
            if effort is None:
                continue  # Answered exactly.
            for weighted in asked[kind]:
                found = tuned.index.find(tuned.index.queries(weighted), 10, effort)
                truth = metrics.top_k(weighted, large.candidate_embeddings[:-1], 10)
                # Three standard errors of 300 recalls below the target.
                assert recall_against_exact(found, truth) > 0.95, kind

    def test_the_choice_is_the_cheapest_that_is_good_enough(self, tuned):
        effort = tuned.efforts[PLAIN]
        good = [
            point
            for point in tuned.curve
            if point.kind == PLAIN and point.recall - 2 * point.error >= 0.97
        ]
        best = min(good, key=lambda point: point.microseconds)
        assert (best.num_leaves, best.effort) == (tuned.index.num_leaves, effort)
        assert best.microseconds < tuned.exact_microseconds

    @pytest.mark.parametrize("num_businesses", [3, MIN_BUSINESSES - 1])
    def test_few_businesses_are_searched_exactly(self, num_businesses):
        tables = _tables(num_businesses)
        found = tune(tables, tables.query_embeddings[:50].astype(np.float32), 0.9)
        assert found.index is None
        assert not found.efforts

    def test_without_queries_nothing_is_tuned(self, large):
        assert tune(large, np.zeros([0, 31], np.float32), 0.9).index is None

    def test_a_recall_out_of_reach_means_exact_search(self):
        tables = _tables(1_500)
        assert tune(tables, tables.query_embeddings[:50].astype(np.float32), 1.01).index is None


class TestQuerySets:
    def test_kinds(self, large, queries):
        sets = query_sets(large, queries[:100])
        np.testing.assert_array_equal(sets[PLAIN][0][:, -_RATING:], 0.0)
        np.testing.assert_array_equal(
            sets[PLAIN][0][:, : _DIRECTION + 1], queries[:100, : _DIRECTION + 1]
        )
        (directions,) = sets[NEIGHBOURS]
        np.testing.assert_array_equal(directions[:, _DIRECTION:], 0.0)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-5)

    def test_own_weights_range_from_one_block_to_the_other(self, large, queries):
        shares = []
        for weighted in query_sets(large, queries[:100])[WEIGHTED]:
            candidates = large.candidate_embeddings[:-1]
            rating = (weighted[:, -_RATING:] @ candidates[:, -_RATING:].T).std()
            shares.append(rating / (weighted @ candidates.T).std())
        assert min(shares) == 0.0
        assert max(shares) == pytest.approx(1.0)
        # In a sum of independent parts: .1 / √1.01, 1 / √2 and 10 / √101.
        assert sorted(shares)[1:4] == pytest.approx([0.0995, 0.707, 0.995], abs=0.05)

    def test_one_block_without_variance(self, queries):
        tables = _tables(1_200)
        candidates = tables.candidate_embeddings.copy()
        candidates[:, -_RATING:] = 1.0
        tables = dataclasses.replace(tables, candidate_embeddings=candidates)
        assert len(query_sets(tables, queries[:80])[WEIGHTED]) == 2


def test_a_recall_must_be_two_standard_errors_above_its_target():
    # .995 - 2 × .002 is .991, .995 - 2 × .003 is .989.
    assert Point(PLAIN, 100, Effort(10, 100), 0.995, 0.002, 1.0).reaches(0.99)
    assert not Point(PLAIN, 100, Effort(10, 100), 0.995, 0.003, 1.0).reaches(0.99)


def test_more_effort_is_tried_only_while_it_helps(large, queries):
    index = ScannIndex(large, num_leaves=100)
    asked = queries[:100] * large.score_weights
    points: list[Point] = list(measure(index, PLAIN, [Truth.of(large, asked)], 0.995))
    assert points[-1].recall > 0.99
    by_leaves: dict[int, list[Point]] = {}
    for point in points:
        by_leaves.setdefault(point.effort.num_leaves_to_search, []).append(point)
    for of_leaves in by_leaves.values():
        recalls = [point.recall for point in of_leaves]
        assert all(b > a for a, b in zip(recalls[:-2], recalls[1:-1], strict=True))
    assert Effort(1, 20) == points[0].effort


def test_what_the_greatest_effort_does_not_reach_is_not_looked_for(large, queries):
    index = ScannIndex(large, num_leaves=100)
    asked = queries[:100] * large.score_weights
    (point,) = measure(index, PLAIN, [Truth.of(large, asked)], 1.01)
    assert point.effort == Effort(100, 3_200)
    assert not point.reaches(1.01)


def test_a_curve_ends_one_step_beyond_the_target(large, queries):
    index = ScannIndex(large, num_leaves=100)
    asked = queries[:100] * large.score_weights
    points = list(measure(index, PLAIN, [Truth.of(large, asked)], 0.7))
    good = [p.effort.num_leaves_to_search for p in points if p.reaches(0.7)]
    tried = sorted({p.effort.num_leaves_to_search for p in points})
    assert min(good) == tried[-2]
    assert tried[-1] < 100


def test_given_indexes_are_the_only_ones_tried(large, queries):
    index = ScannIndex(large, num_leaves=150)
    found = tune(large, queries[:200], 0.9, [index])
    assert found.index is index
    assert {point.num_leaves for point in found.curve} == {150}


def test_any_of_those_that_tie_is_right(large, queries):
    """Every business has fifty twins, so that exact lists hold ten of fifty by chance."""
    rows = np.append(np.tile(np.arange(600), 50), -1)
    twins = dataclasses.replace(large, candidate_embeddings=large.candidate_embeddings[rows])
    truth = Truth.of(twins, queries[:100] * twins.score_weights)
    assert np.ptp(truth.best, axis=1).max() < 1e-5
    index = ScannIndex(twins, num_leaves=100)
    found = index.find(index.queries(truth.queries), 10, Effort(100, 2_000))
    assert truth.recalls(found).mean() > 0.99
    assert truth.recalls(np.full_like(found, -1)).max() == 0.0
