import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import export
from models.recommender import Recommender
from models.scann_index import (
    MAX_FETCHED,
    ScannOptions,
    ScannRecommender,
    recall_against_exact,
)
from models.tables import Bag

_NUM_BUSINESSES = 1_500
_USERS = [f"user-{row:03d}" for row in range(40)] + ["nobody"]
_ROW_FILTERS = {"category": ["Bars", ""] * 20 + ["Alchemy"]}
_REQUESTS = {
    "everyone": ["recommend", {"user_id": _USERS}],
    "k per row": ["recommend", {"user_id": _USERS[:3], "k": [2, 5, 1]}],
    "whole catalogue": ["recommend", {"user_id": _USERS[:2], "k": [_NUM_BUSINESSES]}],
    "more than the catalogue": ["recommend", {"user_id": _USERS[:2], "k": [_NUM_BUSINESSES + 5]}],
    "unseen": ["recommend", {"user_id": _USERS, "exclude_seen": [True]}],
    "Bars": ["recommend", {"user_id": _USERS, "category": ["Bars"]}],
    "Reno": ["recommend", {"user_id": _USERS, "city": ["Reno"]}],
    "filters per row": ["recommend", {"user_id": _USERS, **_ROW_FILTERS}],
    "new": ["recommend_features", {}],
    "visits": [
        "recommend_features",
        {"history_business_id": [["place-0004", "nowhere"]], "history_stars": [[5.0, 0.0]]},
    ],
    "rate": ["rate", {"user_id": _USERS[:2], "business_id": ["place-0004", "nowhere"]}],
    "similar": ["similar", {"business_id": [f"place-{row:04d}" for row in range(30)]}],
    "k of 0": ["recommend", {"user_id": _USERS[:1], "k": [0]}],
}


def _grow(tables):
    """Puts a clustered catalogue, large enough for a partition, in place of the trained one."""
    rng = np.random.default_rng(0)
    dim = tables.candidate_embeddings.shape[1]
    direction = dim - tables.rating_dim - 1
    centres = rng.normal(size=(30, direction))
    candidates = rng.normal(size=(_NUM_BUSINESSES + 1, dim)).astype(np.float32)
    directions = centres[rng.integers(30, size=len(candidates))] + 0.4 * candidates[:, :direction]
    candidates[:, :direction] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    candidates[:, -2] = 1.0
    rows = np.arange(_NUM_BUSINESSES, dtype=np.int32)
    num_users = len(tables.user_ids)
    seen_users = np.repeat(np.arange(num_users), 30)
    seen = rng.integers(_NUM_BUSINESSES, size=len(seen_users)).astype(np.int32)
    return dataclasses.replace(
        tables,
        business_ids=np.array([b"place-%04d" % row for row in rows], object),
        candidate_embeddings=candidates,
        seen=Bag.from_pairs(seen_users, seen, num_users),
        business_bias=rng.normal(size=_NUM_BUSINESSES).astype(np.float32),
        taste=np.zeros([_NUM_BUSINESSES, tables.taste.shape[1]], np.float32),
        history_weights=rng.uniform(0, 1, _NUM_BUSINESSES).astype(np.float32),
        categories={b"Bars": rows[::3], b"Tea": rows[1::3]},
        cities={b"Reno": rows[::7]},
    )


@pytest.fixture(scope="module")
def restored(exact_export):
    return export.load_tables(exact_export.path)


@pytest.fixture(scope="module")
def grown(restored, make_oracle):
    return make_oracle(_grow(restored[0]))


@pytest.fixture(scope="module")
def reply(restored, grown, ask_fresh_process, tmp_path_factory):
    """What a fresh process answers that has imported ScaNN and nothing else of ours."""
    folder = tmp_path_factory.mktemp("scann")
    # ScaNN draws its partition anew at every build; a search of all of it does not depend on luck.
    options = ScannOptions(num_leaves=75, num_leaves_to_search=75, num_reordering=400)
    recommender = ScannRecommender(grown.tables, restored[1], str(folder), options)
    export.save(recommender, str(folder / "1"))
    return ask_fresh_process(str(folder / "1"), _REQUESTS, imports=["scann"])


def _places(lists):
    return [[row[0] for row in found] for found in lists]


def _assert_equal(found, expected):
    assert [row[0] for row in found[: len(expected)]] == [row[0] for row in expected]
    np.testing.assert_allclose(
        [row[1:] for row in found[: len(expected)]],
        [row[1:] for row in expected],
        rtol=1e-3,
        atol=1e-3,
    )
    assert {row[0] for row in found[len(expected) :]} <= {""}


class TestExport:
    def test_process_knows_scann_and_nothing_of_the_project(self, reply):
        assert "scann" in reply.modules
        assert "models" not in reply.modules
        assert reply.unregistered_ops == []
        assert [op for op in reply.ops if op.startswith("Scann")]

    def test_lists_hold_nearly_all_of_the_best(self, reply, grown):
        found = _places(reply.lists("everyone"))
        exact = [[row[0] for row in grown.recommend(grown.query(user))] for user in _USERS]
        assert recall_against_exact(np.array(found), np.array(exact)) > 0.98

    def test_scores_and_ratings_are_exact_and_sorted(self, reply, grown):
        for user, found in zip(_USERS, reply.lists("everyone"), strict=True):
            query = grown.query(user)
            everything = {row[0]: row[1:] for row in grown.recommend(query, _NUM_BUSINESSES)}
            scores = [row[1] for row in found]
            assert scores == sorted(scores, reverse=True)
            np.testing.assert_allclose(
                [row[1:] for row in found],
                [everything[row[0]] for row in found],
                rtol=1e-3,
                atol=1e-3,
            )

    def test_k_holds_for_each_row(self, reply):
        found = _places(reply.lists("k per row"))
        assert [len([place for place in row if place]) for row in found] == [2, 5, 1]

    @pytest.mark.parametrize("request_", ["whole catalogue", "more than the catalogue"])
    def test_long_lists_are_exact(self, reply, grown, request_):
        for user, found in zip(_USERS[:2], reply.lists(request_), strict=True):
            everything = grown.recommend(grown.query(user), _NUM_BUSINESSES)
            by_id = {row[0]: row[1] for row in found}
            assert set(by_id) - {""} == {row[0] for row in everything}
            np.testing.assert_allclose(
                [row[1] for row in found[:_NUM_BUSINESSES]],
                [row[1] for row in everything],
                rtol=1e-3,
                atol=1e-3,
            )

    @pytest.mark.parametrize(
        ("request_", "category", "city"), [("Bars", "Bars", ""), ("Reno", "", "Reno")]
    )
    def test_filtered_lists_are_exact(self, reply, grown, request_, category, city):
        for user, found in zip(_USERS, reply.lists(request_), strict=True):
            _assert_equal(found, grown.recommend(grown.query(user), 10, (), category, city))

    def test_filters_hold_for_each_row(self, reply, grown):
        lists = reply.lists("filters per row")
        for user, category, found in zip(_USERS, _ROW_FILTERS["category"], lists, strict=True):
            _assert_equal(found, grown.recommend(grown.query(user), 10, (), category))

    def test_seen_businesses_are_left_out_and_lists_stay_full(self, reply, grown):
        found = reply.lists("unseen")
        exact = []
        for user, row in zip(_USERS, found, strict=True):
            seen = () if user == "nobody" else grown.tables.seen.row(grown.user(user))
            exact.append([place for place, *_ in grown.recommend(grown.query(user), 10, seen)])
            hidden = {grown.tables.business_ids[place].decode() for place in seen}
            assert not hidden & {place for place, *_ in row}
        assert "" not in np.ravel(_places(found))
        assert recall_against_exact(np.array(_places(found)), np.array(exact)) > 0.98

    def test_new_users_are_answered(self, reply):
        for request_ in ("new", "visits"):
            (found,) = reply.lists(request_)
            assert len({row[0] for row in found} - {""}) == 10
        assert _places(reply.lists("new")) != _places(reply.lists("visits"))

    def test_ratings_are_exact(self, reply, grown):
        expected = [
            grown.stars(grown.query(user), grown.business(place))
            for user, place in zip(_USERS[:2], ["place-0004", "nowhere"], strict=True)
        ]
        np.testing.assert_allclose(reply.answers["rate"]["rating"], expected, rtol=1e-4)

    def test_neighbours_hold_nearly_all_of_the_nearest_and_never_the_place_itself(
        self, reply, grown
    ):
        found, exact = _places(reply.lists("similar")), []
        for row, places in enumerate(found):
            name = f"place-{row:04d}"
            assert name not in places
            exact.append([place for place, _ in grown.similar(name)])
        assert recall_against_exact(np.array(found), np.array(exact)) > 0.98

    def test_a_bad_request_is_refused_with_the_rule(self, reply):
        assert "k must be from 1 to" in reply.answers["k of 0"]["error"]


class TestSmallCatalogue:
    """With 100 businesses the index searches all of them: its lists are the exact ones."""

    @pytest.fixture(scope="class")
    def pair(self, restored, tmp_path_factory):
        tables, encoder = restored
        folder = str(tmp_path_factory.mktemp("assets"))
        options = ScannOptions.for_catalogue(len(tables.business_ids))
        return (
            Recommender(tables, encoder, folder),
            ScannRecommender(tables, encoder, folder, options),
        )

    @pytest.mark.parametrize("k", [1, 10, 100, 103])
    @pytest.mark.parametrize(
        "excluded", [[[], [], []], [[3], [7, 8, 9], []], [[5] * 40, [], list(range(100))]]
    )
    def test_search_equals_exact_search(self, pair, k, excluded):
        exact, approximate = pair
        queries = exact.tables.query_embeddings[[0, 5, 9]].astype(np.float32)
        queries = tf.constant(queries * exact.tables.score_weights)
        excluded = tf.ragged.constant(excluded, tf.int32, ragged_rank=1)
        anything = tf.constant(["", "", ""])
        (rows, scores), (expected_rows, expected_scores) = (
            recommender.search(queries, tf.constant(k), excluded, anything, anything)
            for recommender in (approximate, exact)
        )
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)

    def test_more_exclusions_than_a_search_fetches_are_answered_exactly(self, pair):
        exact, approximate = pair
        query = exact.tables.query_embeddings[:1].astype(np.float32) * exact.tables.score_weights
        most = [[row % 90 for row in range(MAX_FETCHED + 1)]]
        arguments = (
            tf.constant(query),
            tf.constant(12),
            tf.ragged.constant(most, tf.int32),
            tf.constant([""]),
            tf.constant([""]),
        )
        rows, scores = approximate.search(*arguments)
        expected_rows, expected_scores = exact.search(*arguments)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-4)
        assert sorted(rows.numpy()[0]) == [*range(90, 100), 100, 100]


class TestOptions:
    @pytest.mark.parametrize(
        ("num_businesses", "leaves", "searched"),
        [
            (1, 1, 1),  # 1 // 16 = 0
            (100, 6, 2),  # 100 // 16 = 6 < 4·10
            (10_000, 400, 100),  # 4·100 < 625
            (150_000, 1_549, 388),  # 4·387.3
        ],
    )
    def test_options_follow_the_size_of_the_catalogue(self, num_businesses, leaves, searched):
        options = ScannOptions.for_catalogue(num_businesses)
        assert (options.num_leaves, options.num_leaves_to_search) == (leaves, searched)
        assert options.num_reordering >= 10


def test_recall_by_hand():
    # Two of three, in any order, and none of three.
    found = np.array([[4, 9, 1], [7, 8, 9]])
    assert recall_against_exact(found, np.array([[1, 2, 4], [1, 2, 3]])) == pytest.approx(2 / 6)
    assert recall_against_exact(found, found) == 1.0
