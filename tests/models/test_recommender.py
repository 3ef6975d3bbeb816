import dataclasses

import numpy as np
import pytest

from models import features
from models.errors import InputError
from models.query_encoder import USER_COVARIATES
from models.recommender import Recommender
from models.signature_inputs import DEFAULT_K, MAX_K

_USERS = ["user-000", "user-057", "user-199", "nobody"]  # The third has no ratings.
_PLACES = ["place-004", "place-031", "place-099", "nowhere"]  # The third has no ratings.
_TRAINED_USER = 57
_NUM_BUSINESSES = 100
_HISTORY = {
    "history_business_id": [["place-004", "place-031", "place-050"]],
    "history_stars": [[5.0, 2.0, 0.0]],
}

_REQUESTS = {
    "everyone": ["recommend", {"user_id": _USERS}],
    "default": ["serving_default", {"user_id": _USERS}],
    "nobody asks": ["recommend", {"user_id": []}],
    "k per row": ["recommend", {"user_id": _USERS, "k": [1, 4, 7, 103]}],
    "whole catalogue": ["recommend", {"user_id": _USERS, "k": [_NUM_BUSINESSES]}],
    "unseen": ["recommend", {"user_id": _USERS, "k": [100], "exclude_seen": [True]}],
    "unseen by some": [
        "recommend",
        {"user_id": _USERS, "k": [100], "exclude_seen": [False, True, True, False]},
    ],
    "without two for all": [
        "recommend",
        {"user_id": _USERS, "exclude_business_id": [["place-004", "place-031", "nowhere", ""]]},
    ],
    "without each": [
        "recommend",
        {
            "user_id": _USERS,
            "k": [100],
            "exclude_business_id": [["place-004"], ["place-031"], ["nowhere"], [""]],
        },
    ],
    "Bars": ["recommend", {"user_id": _USERS, "k": [60], "category": ["Bars"]}],
    "Córdoba": ["recommend", {"user_id": _USERS, "k": [60], "city": ["Córdoba"]}],
    "category and city": [
        "recommend",
        {"user_id": _USERS, "k": [60], "category": ["Tea & Cakes"], "city": ["Reno"]},
    ],
    "filters per row": [
        "recommend",
        {
            "user_id": _USERS,
            "category": ["", "Bars", "Tea & Cakes", "Alchemy"],
            "city": ["Reno", "", "Reno", ""],
        },
    ],
    "Friday at 21:00": ["recommend", {"user_id": _USERS, "k": [100], "open_at_minute": [7020]}],
    "Monday at 3:00": ["recommend", {"user_id": _USERS, "k": [100], "open_at_minute": [180]}],
    "Tuesday at 3:00": ["recommend", {"user_id": _USERS, "k": [100], "open_at_minute": [1620]}],
    "near": [
        "recommend",
        {
            "user_id": _USERS,
            "k": [100],
            "latitude_degrees": [0.0],
            "longitude_degrees": [3.0],
            "within_km": [25.0],
        },
    ],
    "everywhere": [
        "recommend",
        {"user_id": _USERS, "k": [100], "latitude_degrees": [90.0], "within_km": [50_000.0]},
    ],
    "four stars": ["recommend", {"user_id": _USERS, "k": [100], "min_stars": [4.0]}],
    "four stars for some": [
        "recommend",
        {"user_id": _USERS, "k": [100], "min_stars": [4.0, 0.0, 1.0, 3.5]},
    ],
    "by stars": [
        "recommend",
        {"user_id": _USERS, "retrieval_weight": [0.0], "rating_weight": [1.0]},
    ],
    "by both": [
        "recommend",
        {"user_id": _USERS, "retrieval_weight": [0.5], "rating_weight": [2.0, 0.0, 1.0, 8.0]},
    ],
    "reranked": ["recommend", {"user_id": _USERS, "k": [3], "shortlist": [20]}],
    "some reranked": [
        "recommend",
        {"user_id": _USERS, "k": [3, 5, 3, 200], "shortlist": [20, 0, 2, 50]},
    ],
    "rows that differ in everything": [
        "recommend",
        {
            "user_id": _USERS,
            "k": [20],
            "category": ["Bars", "", "", "Tea & Cakes"],
            "open_at_minute": [-1, 600, -1, -1],
            "within_km": [0.0, 0.0, 30.0, 0.0],
            "longitude_degrees": [0.0, 0.0, 3.0, 0.0],
            "min_stars": [0.0, 0.0, 3.0, 0.0],
            "exclude_seen": [True],
            "shortlist": [0, 0, 0, 30],
        },
    ],
    "describe": ["describe", {"business_id": _PLACES}],
    "all at once": [
        "recommend",
        {
            "user_id": _USERS,
            "k": [60],
            "exclude_seen": [True],
            "category": ["Bars"],
            "exclude_business_id": [["place-004", "place-031"]],
        },
    ],
    "new": ["recommend_features", {}],
    "visits": ["recommend_features", _HISTORY],
    "visits in another order": [
        "recommend_features",
        {
            "history_business_id": [["place-050", "place-004", "place-031"]],
            "history_stars": [[0.0, 5.0, 2.0]],
        },
    ],
    "visits, padded": [
        "recommend_features",
        {
            "history_business_id": [["place-004", "", "place-031", "place-050", ""]],
            "history_stars": [[5.0, 0.0, 2.0, 0.0, 5.0]],
        },
    ],
    "visits and an unknown place": [
        "recommend_features",
        {
            "history_business_id": [["place-004", "nowhere", "place-031", "place-050"]],
            "history_stars": [[5.0, 0.0, 2.0, 0.0]],
        },
    ],
    "visits and a rated unknown place": [
        "recommend_features",
        {
            "history_business_id": [["place-004", "nowhere", "place-031", "place-050"]],
            "history_stars": [[5.0, 1.0, 2.0, 0.0]],
        },
    ],
    "other stars": [
        "recommend_features",
        {**_HISTORY, "history_stars": [[1.0, 1.0, 1.0]]},
    ],
    "visits, unseen": ["recommend_features", {**_HISTORY, "k": [100], "exclude_seen": [True]}],
    "two new users": [
        "recommend_features",
        {
            "fans": [0, 8],
            "history_business_id": [["place-004"], [""]],
            "history_stars": [[4.0], [0.0]],
            "k": [3, 5],
            "category": ["Bars"],
        },
    ],
    "first of two": [
        "recommend_features",
        {
            "fans": [0],
            "history_business_id": [["place-004"]],
            "history_stars": [[4.0]],
            "k": [3],
            "category": ["Bars"],
        },
    ],
    "second of two": ["recommend_features", {"fans": [8], "k": [5], "category": ["Bars"]}],
    "rate": [
        "rate",
        {"user_id": np.repeat(_USERS, 4).tolist(), "business_id": _PLACES * 4},
    ],
    "similar": ["similar", {"business_id": _PLACES}],
    "similar, k per row": ["similar", {"business_id": _PLACES, "k": [1, 3, 99, 104]}],
    "embed users": ["embed_query", {"user_id": _USERS}],
    "embed places": ["embed_candidate", {"business_id": _PLACES}],
}
_ERRORS = {
    "k of 0": ["recommend", {"user_id": _USERS, "k": [0]}],
    "k of 0 in one row": ["recommend", {"user_id": _USERS, "k": [3, 3, 0, 3]}],
    "k below 0": ["recommend_features", {"k": [-1]}],
    "not a week's minute": ["recommend", {"user_id": _USERS, "open_at_minute": [10_080]}],
    "beyond the pole": ["recommend", {"user_id": _USERS, "latitude_degrees": [90.5]}],
    "beyond the date line": ["recommend", {"user_id": _USERS, "longitude_degrees": [-181.0]}],
    "negative distance": ["recommend", {"user_id": _USERS, "within_km": [-1.0]}],
    "six stars": ["recommend", {"user_id": _USERS, "min_stars": [6.0]}],
    "no weight": ["recommend", {"user_id": _USERS, "retrieval_weight": [0.0]}],
    "negative weight": ["recommend_features", {"rating_weight": [-0.5]}],
    "negative shortlist": ["recommend", {"user_id": _USERS, "shortlist": [-1]}],
    "k too large": ["recommend", {"user_id": _USERS, "k": [MAX_K + 1]}],
    "similar, k of 0": ["similar", {"business_id": _PLACES, "k": [0]}],
    "more users than places": ["rate", {"user_id": _USERS, "business_id": _PLACES[:3]}],
    "fewer stars than visits": [
        "recommend_features",
        {**_HISTORY, "history_stars": [[5.0, 2.0]]},
    ],
    "visits without stars": [
        "recommend_features",
        {"history_business_id": _HISTORY["history_business_id"]},
    ],
    "stars that are no number": [
        "recommend_features",
        # JSON's way of asking for one, by which padding is bad, too.
        {"history_business_id": [["b3", ""]], "history_stars": [[5.0, float("nan")]]},
    ],
    "a million stars": [
        "recommend_features",
        {"history_business_id": [["b3"]], "history_stars": [[1e6]]},
    ],
}
# Which of several failing operations is reported can vary from call to call.
_NUM_TRIES = 8


@pytest.fixture(scope="module")
def trained_user_request(planted, trained):
    """What the trained user 57 would send if they were new."""
    fitted = trained.fitted[trained.fitted.user_rows == _TRAINED_USER]
    covariates = planted.covariates[_TRAINED_USER]
    assert set(covariates) <= set(USER_COVARIATES)
    return [
        "recommend_features",
        {
            **covariates,
            "history_business_id": [[b"place-%03d" % row for row in fitted.business_rows]],
            "history_stars": [fitted.stars.tolist()],
            "k": [_NUM_BUSINESSES],
        },
    ]


@pytest.fixture(scope="module")
def reply(exact_export, ask_fresh_process, trained_user_request):
    signature, inputs = trained_user_request
    ids = [[name.decode() for name in inputs["history_business_id"][0]]]
    errors = {f"{name} {i}": _ERRORS[name] for name in _ERRORS for i in range(_NUM_TRIES)}
    twin = [signature, {**inputs, "history_business_id": ids}]
    return ask_fresh_process(
        exact_export.path, {**_REQUESTS, **errors, "trained user as new": twin}
    )


def _assert_list(found, expected, k):
    """Compares one row of an answer, padding included, with the oracle's list."""
    expected = expected[:k]
    width = len(found)
    assert [row[0] for row in found] == [e[0] for e in expected] + [""] * (width - len(expected))
    np.testing.assert_allclose(
        [row[1:] for row in found[: len(expected)]], [e[1:] for e in expected], rtol=1e-4, atol=1e-4
    )
    for row in found[len(expected) :]:
        assert row[1:] == (-np.inf, 0.0)[: len(row) - 1]


class TestRecommend:
    @pytest.mark.parametrize("request_", ["everyone", "default"])
    def test_default_is_the_ten_best_of_the_catalogue(self, reply, oracle, request_):
        lists = reply.lists(request_)
        for user, found in zip(_USERS, lists, strict=True):
            assert len(found) == DEFAULT_K
            _assert_list(found, oracle.recommend(oracle.query(user)), DEFAULT_K)

    def test_an_unknown_user_gets_the_list_of_a_new_one(self, reply, exact_export, oracle):
        new = exact_export.tables.query_embeddings[-1].astype(np.float32)
        _assert_list(reply.lists("everyone")[3], oracle.recommend(new), DEFAULT_K)
        assert reply.lists("everyone")[3] != reply.lists("everyone")[0]

    def test_a_batch_without_users(self, reply):
        assert reply.answers["nobody asks"] == {"business_id": [], "score": [], "rating": []}

    def test_k_holds_for_each_row(self, reply, oracle):
        lists = reply.lists("k per row")
        for user, k, found in zip(_USERS, [1, 4, 7, 103], lists, strict=True):
            assert len(found) == 103
            _assert_list(found, oracle.recommend(oracle.query(user), k), k)
        assert [row[0] for row in lists[3]].count("") == 3  # The catalogue has 100 businesses.

    def test_every_business_of_the_catalogue_can_be_recommended(self, reply, planted):
        everything = {name.decode() for name in planted.businesses.ids}
        for found in reply.lists("whole catalogue"):
            assert {row[0] for row in found} == everything

    def test_seen_businesses_are_left_out_on_request(self, reply, oracle, exact_export):
        seen = exact_export.tables.seen
        for user, found in zip(_USERS[:3], reply.lists("unseen"), strict=False):
            excluded = seen.row(oracle.user(user))
            _assert_list(found, oracle.recommend(oracle.query(user), 100, excluded), 100)
        assert len(seen.row(0)) > 0
        # Nobody knows what an unknown user has seen.
        assert len({row[0] for row in reply.lists("unseen")[3]}) == _NUM_BUSINESSES

    def test_exclusion_of_seen_holds_for_each_row(self, reply):
        sources = ["whole catalogue", "unseen", "unseen", "whole catalogue"]
        expected = [reply.lists(source)[row] for row, source in enumerate(sources)]
        assert reply.lists("unseen by some") == expected

    def test_named_businesses_are_left_out(self, reply, oracle):
        for user, found in zip(_USERS, reply.lists("without two for all"), strict=True):
            _assert_list(found, oracle.recommend(oracle.query(user), 10, [4, 31]), 10)
        excluded: list[list[int]] = [[4], [31], [], []]
        for user, rows, found in zip(_USERS, excluded, reply.lists("without each"), strict=True):
            _assert_list(found, oracle.recommend(oracle.query(user), 100, rows), 100)

    @pytest.mark.parametrize(
        ("request_", "category", "city"),
        [
            ("Bars", "Bars", ""),
            ("Córdoba", "", "Córdoba"),
            ("category and city", "Tea & Cakes", "Reno"),
        ],
    )
    def test_filters_keep_what_carries_the_label(self, reply, oracle, request_, category, city):
        for user, found in zip(_USERS, reply.lists(request_), strict=True):
            expected = oracle.recommend(oracle.query(user), 60, (), category, city)
            assert 0 < len(expected) < 60
            _assert_list(found, expected, 60)

    def test_filters_hold_for_each_row_and_an_unknown_one_matches_nothing(self, reply, oracle):
        rows = zip(
            _USERS, ["", "Bars", "Tea & Cakes", "Alchemy"], ["Reno", "", "Reno", ""], strict=True
        )
        lists = reply.lists("filters per row")
        for (user, category, city), found in zip(rows, lists, strict=True):
            expected = oracle.recommend(oracle.query(user), 10, (), category, city)
            _assert_list(found, expected, 10)
        assert [row[0] for row in lists[3]] == [""] * 10

    @pytest.mark.parametrize(
        ("request_", "rows"),
        [
            ("Friday at 21:00", np.arange(1, 100, 3)),  # Those of the evenings.
            ("Monday at 3:00", np.arange(1, 100, 3)),  # They are open since Sunday.
            ("Tuesday at 3:00", []),
            # .1 degrees of the equator are 11.12 km: two places on either side of the thirtieth.
            ("near", np.arange(28, 33)),
            ("everywhere", np.arange(99)),  # Nobody knows where the last one is.
        ],
    )
    def test_filters_keep_what_is_open_or_near(self, reply, oracle, request_, rows):
        for user, found in zip(_USERS, reply.lists(request_), strict=True):
            _assert_list(found, oracle.recommend(oracle.query(user), 100, among=rows), 100)

    @pytest.mark.parametrize(
        ("request_", "stars"),
        [("four stars", [4.0] * 4), ("four stars for some", [4.0, 0.0, 1.0, 3.5])],
    )
    def test_what_is_predicted_fewer_stars_is_left_out(self, reply, oracle, request_, stars):
        for user, least, found in zip(_USERS, stars, reply.lists(request_), strict=True):
            expected = oracle.recommend(oracle.query(user), 100, min_stars=least)
            assert (len(expected) < 100) == (least > 1)
            _assert_list(found, expected, 100)

    @pytest.mark.parametrize(
        ("request_", "weights"),
        [
            ("by stars", [(0.0, 1.0)] * 4),
            ("by both", [(0.5, 2.0), (0.5, 0.0), (0.5, 1.0), (0.5, 8.0)]),
        ],
    )
    def test_weights_make_the_score(self, reply, oracle, request_, weights):
        for user, both, found in zip(_USERS, weights, reply.lists(request_), strict=True):
            _assert_list(found, oracle.recommend(oracle.query(user), weights=both), 10)

    @pytest.mark.parametrize(
        ("request_", "ks", "shortlists"),
        [
            ("reranked", [3] * 4, [20] * 4),
            # A shortlist is never shorter than the list.
            ("some reranked", [3, 5, 3, 200], [20, 0, 2, 50]),
        ],
    )
    def test_a_shortlist_is_ranked_by_stars(self, reply, oracle, request_, ks, shortlists):
        for user, k, shortlist, found in zip(
            _USERS, ks, shortlists, reply.lists(request_), strict=True
        ):
            expected = oracle.recommend(oracle.query(user), k, shortlist=shortlist)
            _assert_list(found, expected, k)

    def test_rows_of_a_batch_keep_their_own_filters(self, reply, oracle, exact_export):
        told = [
            {"category": "Bars"},
            {"among": np.arange(0, 100, 3)},  # Open at ten on a Monday.
            {"among": np.arange(28, 33), "min_stars": 3.0},
            {"category": "Tea & Cakes", "shortlist": 30},
        ]
        lists = reply.lists("rows that differ in everything")
        for user, filters, found in zip(_USERS, told, lists, strict=True):
            row = oracle.user(user)
            seen = exact_export.tables.seen.row(row) if user != "nobody" else ()
            expected = oracle.recommend(oracle.query(user), 20, seen, **filters)
            _assert_list(found, expected, 20)

    def test_everything_at_once(self, reply, oracle, exact_export):
        for user, found in zip(_USERS, reply.lists("all at once"), strict=True):
            excluded = {4, 31}
            if user != "nobody":
                excluded |= set(exact_export.tables.seen.row(oracle.user(user)).tolist())
            expected = oracle.recommend(oracle.query(user), 60, excluded, "Bars")
            _assert_list(found, expected, 60)


class TestRecommendFeatures:
    def test_nothing_given_is_the_unknown_user(self, reply):
        (new,), unknown = reply.lists("new"), reply.lists("everyone")[3]
        assert [row[0] for row in new] == [row[0] for row in unknown]
        # Stored queries are rounded to 16 bits.
        np.testing.assert_allclose(
            [row[1:] for row in new], [row[1:] for row in unknown], rtol=1e-3, atol=5e-3
        )

    def test_a_trained_user_s_own_data_lead_to_their_own_embedding(self, reply, trained, oracle):
        candidates = trained.model.embed_candidates()
        (query,) = trained.model.embed_queries(candidates, np.array([_TRAINED_USER]))
        (found,) = reply.lists("trained user as new")
        by_id = {row[0]: row[1:] for row in found}
        for place, score, stars in oracle.recommend(query, _NUM_BUSINESSES):
            np.testing.assert_allclose(by_id[place], [score, stars], rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize(
        "other", ["visits in another order", "visits, padded", "visits and an unknown place"]
    )
    def test_what_does_not_matter_in_a_history(self, reply, other):
        (expected,), (found,) = reply.lists("visits"), reply.lists(other)
        assert [row[0] for row in found] == [row[0] for row in expected]
        np.testing.assert_allclose(
            [row[1:] for row in found], [row[1:] for row in expected], rtol=1e-4, atol=1e-4
        )

    def test_a_rating_of_an_unknown_place_tells_how_the_user_rates_and_nothing_else(self, reply):
        (without,) = reply.lists("visits and an unknown place")
        (found,) = reply.lists("visits and a rated unknown place")
        assert [row[:2] for row in found] == [row[:2] for row in without]
        assert np.mean([row[2] for row in found]) < np.mean([row[2] for row in without])

    def test_a_history_matters(self, reply):
        (new,), (visits,) = reply.lists("new"), reply.lists("visits")
        assert [row[0] for row in visits] != [row[0] for row in new]

    def test_stars_of_a_history_move_ratings_and_not_the_list(self, reply):
        (some,), (low,) = reply.lists("visits"), reply.lists("other stars")
        assert [row[:2] for row in low] == [row[:2] for row in some]
        assert np.mean([row[2] for row in low]) < np.mean([row[2] for row in some]) - 0.1

    def test_a_history_counts_as_seen(self, reply):
        (found,) = reply.lists("visits, unseen")
        places = [row[0] for row in found]
        assert places[-3:] == ["", "", ""]
        assert not {"place-004", "place-031", "place-050"} & set(places)

    def test_rows_of_a_batch_do_not_mix(self, reply):
        first, second = reply.lists("two new users")
        for found, alone in ((first, "first of two"), (second, "second of two")):
            (expected,) = reply.lists(alone)
            assert [row[0] for row in found[: len(expected)]] == [row[0] for row in expected]
            np.testing.assert_allclose(
                [row[1:] for row in found[: len(expected)]],
                [row[1:] for row in expected],
                rtol=1e-4,
                atol=1e-4,
            )
        assert first[3:] == [("", -np.inf, 0.0)] * 2


class TestRate:
    def test_pairs_known_or_not_equal_the_inner_product(self, reply, oracle):
        expected = [
            oracle.stars(oracle.query(user), oracle.business(place))
            for user in _USERS
            for place in _PLACES
        ]
        np.testing.assert_allclose(reply.answers["rate"]["rating"], expected, rtol=1e-4)
        assert len(set(np.round(expected, 3))) > 8

    def test_ratings_are_within_the_range_of_stars(self, reply):
        for request_ in ("whole catalogue", "visits"):
            stars = np.ravel(reply.answers[request_]["rating"])
            assert stars.min() >= features.MIN_STARS
            assert stars.max() <= features.MAX_STARS


class TestSimilar:
    def test_neighbours_are_those_of_the_candidate_directions(self, reply, oracle):
        for place, found in zip(_PLACES, reply.lists("similar"), strict=True):
            _assert_list(found, oracle.similar(place), 10)

    def test_k_holds_for_each_row_and_a_place_is_never_its_own_neighbour(self, reply, oracle):
        lists = reply.lists("similar, k per row")
        for place, k, found in zip(_PLACES, [1, 3, 99, 104], lists, strict=True):
            _assert_list(found, oracle.similar(place, k), k)
            assert place not in [row[0] for row in found]
        everything = {row[0] for row in lists[2]}
        assert len(everything - {""}) == 99


class TestDescribe:
    def test_places_are_named_and_located(self, reply):
        answer = reply.answers["describe"]
        assert answer["name"] == ["The Place 4", "The Place 31", "The Place 99", ""]
        np.testing.assert_allclose(answer["latitude_degrees"], [0, 0, np.nan, np.nan])
        np.testing.assert_allclose(
            answer["longitude_degrees"], [0.4, 3.1, np.nan, np.nan], rtol=1e-6
        )


class TestEmbeddings:
    def test_queries_are_the_stored_ones(self, reply, oracle):
        expected = [oracle.query(user) for user in _USERS]
        np.testing.assert_allclose(reply.answers["embed users"]["embedding"], expected, rtol=1e-6)

    def test_candidates_are_the_stored_ones(self, reply, oracle, exact_export):
        rows = [oracle.business(place) for place in _PLACES]
        expected = exact_export.tables.candidate_embeddings[rows]
        np.testing.assert_allclose(reply.answers["embed places"]["embedding"], expected, rtol=1e-6)


class TestErrors:
    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            ("k of 0", f"k must be from 1 to {MAX_K} in every row."),
            ("k of 0 in one row", f"k must be from 1 to {MAX_K} in every row."),
            ("k below 0", f"k must be from 1 to {MAX_K} in every row."),
            ("k too large", f"k must be from 1 to {MAX_K} in every row."),
            ("not a week's minute", "open_at_minute must be from 0 (where Monday begins) to 10079"),
            ("beyond the pole", "latitude_degrees must be from -90 to 90."),
            ("beyond the date line", "longitude_degrees must be from -180 to 180."),
            ("negative distance", "within_km must be 0 (anywhere) or a distance over it."),
            ("six stars", "min_stars must be from 0 to 5."),
            (
                "no weight",
                "retrieval_weight and rating_weight must be finite, not below 0, and not",
            ),
            ("negative weight", "retrieval_weight and rating_weight must be finite, not below 0"),
            ("negative shortlist", "shortlist must be from 0 (none) to"),
            ("similar, k of 0", f"k must be from 1 to {MAX_K} in every row."),
            ("more users than places", "rate takes as many business ids as user ids"),
            ("fewer stars than visits", "history_business_id and history_stars must have the same"),
            ("visits without stars", "history_business_id and history_stars must have the same"),
            ("stars that are no number", "history_stars must be from 0 (no opinion) to 5."),
            ("a million stars", "history_stars must be from 0 (no opinion) to 5."),
        ],
    )
    def test_a_bad_request_is_refused_with_the_rule(self, reply, request_, text):
        for i in range(_NUM_TRIES):
            assert text in reply.answers[f"{request_} {i}"].get("error", "")

    @pytest.mark.parametrize("bad", [b"two\nlines", b"carriage\rreturn"])
    def test_an_id_that_is_no_line_of_text_is_named(self, exact_export, tmp_path, bad):
        ids = exact_export.tables.user_ids.copy()
        ids[7] = bad
        tables = dataclasses.replace(exact_export.tables, user_ids=ids)
        with pytest.raises(InputError, match="Expected ids without line breaks; got b'"):
            Recommender(tables, None, str(tmp_path))
