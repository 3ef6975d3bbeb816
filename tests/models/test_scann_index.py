import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import export, index_tuning
from models.filters import DEFAULTS, Filters
from models.index_recall import recall_against_exact
from models.places import Places
from models.recommender import Recommender
from models.scann_index import (
    MAX_FETCHED,
    Effort,
    ScannIndex,
    ScannSearch,
)
from models.search import KINDS, NEIGHBOURS, PLAIN, WEIGHTED, ExactSearch, Request
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
    "Elko": ["recommend", {"user_id": _USERS, "city": ["Elko"]}],
    "three stars": ["recommend", {"user_id": _USERS, "min_stars": [3.0]}],
    "both weights": [
        "recommend",
        {"user_id": _USERS, "retrieval_weight": [2.0], "rating_weight": [0.5]},
    ],
    "reranked": ["recommend", {"user_id": _USERS, "k": [5], "shortlist": [60]}],
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
        # Elko is so small that its businesses are scored one by one.
        places=Places.unknown(
            _NUM_BUSINESSES,
            categories={b"Bars": rows[::3], b"Tea": rows[1::3]},
            cities={b"Reno": rows[::7], b"Elko": rows[5::50]},
        ),
    )


@pytest.fixture(scope="module")
def restored(exact_export):
    return export.load_tables(exact_export.path)


@pytest.fixture(scope="module")
def grown(restored, make_oracle):
    return make_oracle(_grow(restored[0]))


@pytest.fixture(scope="module")
def scann_path(restored, grown, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scann")
    # ScaNN draws its partition and its codebooks anew at every build; a search that looks into all
    # of it and scores all of that again does not depend on luck.
    index, effort = ScannIndex(grown.tables, num_leaves=75), Effort(75, _NUM_BUSINESSES)
    recommender = Recommender(
        grown.tables,
        restored[1],
        str(folder),
        lambda exact: ScannSearch(exact, index, dict.fromkeys(KINDS, effort)),
    )
    export.save(recommender, str(folder / "1"))
    return str(folder / "1")


@pytest.fixture(scope="module")
def reply(scann_path, ask_fresh_process):
    """What a fresh process answers that has imported ScaNN and nothing else of ours."""
    return ask_fresh_process(scann_path, _REQUESTS, imports=["scann"])


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

    def test_lists_hold_the_best(self, reply, grown):
        found = _places(reply.lists("everyone"))
        exact = [[row[0] for row in grown.recommend(grown.query(user))] for user in _USERS]
        assert recall_against_exact(np.array(found), np.array(exact)) == 1.0

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

    def test_few_matches_are_found_exactly(self, reply, grown):
        for user, found in zip(_USERS, reply.lists("Elko"), strict=True):
            _assert_equal(found, grown.recommend(grown.query(user), city="Elko"))

    @pytest.mark.parametrize(
        ("request_", "told"),
        [
            ("Bars", {"category": "Bars"}),
            ("Reno", {"city": "Reno"}),
            ("three stars", {"min_stars": 3.0}),
            ("both weights", {"weights": (2.0, 0.5)}),
            ("reranked", {"k": 5, "shortlist": 60}),
        ],
    )
    def test_lists_are_full_and_hold_the_best(self, reply, grown, request_, told):
        found = _places(reply.lists(request_))
        exact = [[row[0] for row in grown.recommend(grown.query(user), **told)] for user in _USERS]
        assert recall_against_exact(np.array(found), np.array(exact)) == 1.0

    def test_filters_hold_for_each_row(self, reply, grown):
        lists = reply.lists("filters per row")
        shares = []
        for user, category, found in zip(_USERS, _ROW_FILTERS["category"], lists, strict=True):
            expected = grown.recommend(grown.query(user), 10, (), category)
            assert len([row for row in found if row[0]]) == len(expected)
            shares += [row[0] in {e[0] for e in expected} for row in found if row[0]]
        assert np.mean(shares) == 1.0

    def test_seen_businesses_are_left_out_and_lists_stay_full(self, reply, grown):
        found = reply.lists("unseen")
        exact = []
        for user, row in zip(_USERS, found, strict=True):
            seen = () if user == "nobody" else grown.tables.seen.row(grown.user(user))
            exact.append([place for place, *_ in grown.recommend(grown.query(user), 10, seen)])
            hidden = {grown.tables.business_ids[place].decode() for place in seen}
            assert not hidden & {place for place, *_ in row}
        assert "" not in np.ravel(_places(found))
        assert recall_against_exact(np.array(_places(found)), np.array(exact)) == 1.0

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

    def test_neighbours_are_the_nearest_and_never_the_place_itself(self, reply, grown):
        found, exact = _places(reply.lists("similar")), []
        for row, places in enumerate(found):
            name = f"place-{row:04d}"
            assert name not in places
            exact.append([place for place, _ in grown.similar(name)])
        assert recall_against_exact(np.array(found), np.array(exact)) == 1.0

    def test_a_bad_request_is_refused_with_the_rule(self, reply):
        assert "k must be from 1 to" in reply.answers["k of 0"]["error"]


def _catalogue(seed=0, num_businesses=1_200, dim=8, rating_dim=3):
    """Draws candidates, and an exact search of them by filters that know one label."""
    rng = np.random.default_rng(seed)
    candidates = rng.normal(size=(num_businesses + 1, dim)).astype(np.float32)
    rows = np.arange(num_businesses, dtype=np.int32)
    places = Places.unknown(
        num_businesses, {b"half": rows[::2], b"tenth": rows[::10], b"few": rows[:5]}
    )
    return ExactSearch(tf.Variable(candidates), rating_dim, Filters(places))


@dataclasses.dataclass(frozen=True)
class _Tables:
    """What an index reads of an export's tables."""

    candidate_embeddings: np.ndarray
    retrieval_dim: int
    retrieval_weight: float = 1.0
    rating_weight: float = 0.0

    def spread(self, retrieval, rating):
        widths = [self.retrieval_dim, self.candidate_embeddings.shape[1] - self.retrieval_dim]
        return np.repeat(np.float32([retrieval, rating]), widths)


def _request(exact, queries, k, excluded=(), category=(), min_stars=-np.inf, kind=PLAIN):
    batch = len(queries)
    filters = {key: tf.fill([batch], value) for key, value in DEFAULTS.items()}
    if category:
        filters["category"] = tf.constant(category)
    return Request(
        kind=tf.constant(kind),
        queries=tf.constant(queries),
        rating_queries=tf.constant(queries[:, -exact.rating_dim :]),
        k=tf.constant(k),
        excluded=tf.ragged.constant(excluded or [[]] * batch, tf.int32, ragged_rank=1).to_tensor(
            exact.num_businesses
        ),
        filters=filters,
        min_stars=tf.fill([batch], min_stars),
    )


class TestSearch:
    """A search of all partitions that reorders everything is exact: lists must be the same."""

    @pytest.fixture(scope="class")
    def pair(self):
        exact = _catalogue()
        tables = _Tables(exact.candidates.numpy(), retrieval_dim=5)
        index = ScannIndex(tables, num_leaves=20)
        return exact, ScannSearch(exact, index, dict.fromkeys(KINDS, Effort(20, 1_200)))

    @pytest.mark.parametrize("k", [1, 10, 100, 600, 1_203])
    @pytest.mark.parametrize(
        "told",
        [
            {},
            {"excluded": [[3], [7, 8, 9], []]},
            {"excluded": [[5] * 40, [], list(range(100))]},
            {"excluded": [list(range(MAX_FETCHED + 1)), [], []]},
            {"category": ["half"] * 3},
            {"category": ["tenth", "", "half"], "excluded": [[0, 10], [], [2]]},
            {"category": ["few"] * 3},
            {"category": ["nothing", "few", ""]},
            {"min_stars": 0.5},
            {"min_stars": 1e6},
            {"kind": WEIGHTED},
            {"kind": NEIGHBOURS, "category": ["half"] * 3, "min_stars": 0.0},
        ],
    )
    def test_equals_exact_search(self, pair, k, told):
        exact, approximate = pair
        queries = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
        request = _request(exact, queries, k, **told)
        (rows, scores), (expected_rows, expected_scores) = (
            search.find(request) for search in (approximate, exact)
        )
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(rows, expected_rows)

    def test_exact_search_equals_sorting_all_scores(self, pair):
        exact, _ = pair
        queries = np.random.default_rng(2).normal(size=(2, 8)).astype(np.float32)
        request = _request(
            exact, queries, 50, excluded=[[4, 0], []], category=["half"] * 2, min_stars=0.2
        )
        rows, scores = exact.find(request)
        candidates = exact.candidates.numpy()[:-1]
        for row in range(2):
            allowed = set(range(0, 1_200, 2)) - ({4, 0} if row == 0 else set())
            stars = candidates[:, -3:] @ queries[row, -3:]
            allowed &= set(np.flatnonzero(stars >= 0.2))
            everything = candidates @ queries[row]
            expected = sorted(allowed, key=lambda place: -everything[place])[:50]
            assert rows[row].numpy().tolist() == expected
            np.testing.assert_allclose(scores[row], everything[expected], rtol=1e-5, atol=1e-6)

    def test_a_kind_without_effort_is_answered_exactly(self):
        exact = _catalogue()
        index = ScannIndex(_Tables(exact.candidates.numpy(), retrieval_dim=5), num_leaves=10)
        lazy = ScannSearch(exact, index, {PLAIN: Effort(1, 10), WEIGHTED: None})
        queries = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
        found = {
            kind: lazy.find(_request(exact, queries, 10, kind=kind))[0].numpy() for kind in KINDS
        }
        expected = exact.find(_request(exact, queries, 10))[0].numpy()
        np.testing.assert_array_equal(found[WEIGHTED], expected)
        np.testing.assert_array_equal(found[NEIGHBOURS], expected)
        assert recall_against_exact(found[PLAIN], expected) < 0.9

    def test_lists_are_full_where_the_partitions_searched_hold_too_few(self):
        exact = _catalogue()
        index = ScannIndex(_Tables(exact.candidates.numpy(), retrieval_dim=5), num_leaves=60)
        hasty = ScannSearch(exact, index, {PLAIN: Effort(1, 10)})
        queries = np.random.default_rng(4).normal(size=(5, 8)).astype(np.float32)
        rows, scores = hasty.find(_request(exact, queries, 500))
        assert np.isfinite(scores).all()
        assert max(rows.numpy().ravel()) < exact.num_businesses


class TestIndex:
    def test_weights_hold_without_a_rebuild(self):
        """What does not count by default is scaled, which leaves inner products as they are."""
        exact = _catalogue(dim=12, rating_dim=6)
        candidates = exact.candidates.numpy()
        candidates[:, 3] = 1.0  # The same everywhere: not indexed.
        tables = _Tables(candidates, retrieval_dim=6)
        index = ScannIndex(tables, num_leaves=20)
        assert 3 not in index.columns
        assert len(index.columns) == 11
        rng = np.random.default_rng(5)
        for weights in ((1.0, 0.0), (1.0, 3.0), (0.0, 1.0)):
            queries = rng.normal(size=(30, 12)).astype(np.float32) * tables.spread(*weights)
            found = index.find(index.queries(queries), 10, Effort(20, 1_200))
            expected = np.argsort(-queries @ candidates[:-1].T, axis=1)[:, :10]
            np.testing.assert_array_equal(found, expected)

    def test_a_block_of_no_variance_is_left_out(self):
        candidates = np.random.default_rng(0).normal(size=(1_201, 6)).astype(np.float32)
        candidates[:, 4:] = 2.0
        index = ScannIndex(_Tables(candidates, retrieval_dim=4), num_leaves=20)
        assert index.columns.tolist() == [0, 1, 2, 3]
        assert index.query_scales.tolist() == [1.0] * 4

    @pytest.mark.parametrize("times, num_leaves", [(1, 75), (4, 150)])
    def test_it_is_rebuilt_in_proportion(self, scann_path, grown, times, num_leaves):
        """For four times the businesses, twice the partitions, and as large a share searched."""
        tables = grown.tables
        rows = np.tile(np.arange(_NUM_BUSINESSES), times)
        candidates = tables.candidate_embeddings[np.append(rows, -1)]
        grown_tables = dataclasses.replace(
            tables, business_ids=tables.business_ids[rows], candidate_embeddings=candidates
        )
        rebuilt = index_tuning.rebuild(scann_path, grown_tables)
        assert rebuilt.index.num_leaves == num_leaves
        assert rebuilt.efforts == dict.fromkeys(KINDS, Effort(num_leaves, _NUM_BUSINESSES))
