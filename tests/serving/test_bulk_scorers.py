import functools

import numpy as np
import pyarrow as pa
import pytest

from models import features
from serving import bulk_scorers
from serving.bulk_scorers import (
    PAIR_SCHEMA,
    RECOMMENDATION_SCHEMA,
    ExactScorer,
    SignatureScorer,
    load_scorer,
)
from serving.questions import Filters

FILTERS = [
    {},
    {"category": "Bars", "city": "Reno", "exclude_business_ids": ("place-0000",)},
    {"city": "Tampa", "exclude_business_ids": ("place-0001", "place-0003", "elsewhere")},
    {"category": "Cobblers"},
    {"city": "Reno", "open_at_minute": 7_000},
    {"near_degrees": (36.1, -115.2), "within_km": 30.0},
    {"rating_weight": 0.0},
    {"retrieval_weight": 0.0, "rating_weight": 2.0},
    {"retrieval_weight": 0.3, "city": "Reno"},
]
# Every user of the export, and two that it doesn't know.
USERS = pa.array(["stranger", *(f"user-{user:02d}" for user in range(40)), "other"])


@pytest.fixture(scope="module")
def scorers(tied_export):
    """Makes the two kinds of scorers over the same reloaded export."""
    path = f"{tied_export.path}/3"

    def make(**filters):
        wanted = Filters(**filters)
        return ExactScorer(path, wanted), SignatureScorer(path, wanted)

    return functools.cache(make)


def _joined(tables) -> pa.Table:
    return pa.concat_tables(list(tables))


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_answers_are_those_of_the_signature(scorers, filters):
    # At last more than any list has, so that every list is compared to its end, ties and all.
    for k, exclude_seen in ((7, False), (400, False), (400, True)):
        exact, signature = scorers(k=k, exclude_seen=exclude_seen, **filters)
        found, expected = (_joined(scorer.recommend(USERS)) for scorer in (exact, signature))
        assert found.schema == expected.schema == RECOMMENDATION_SCHEMA
        for name in ("user_id", "rank", "business_id"):
            assert found[name] == expected[name], name
        for name in ("score", "rating"):
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4)


def test_equal_scores_are_in_the_order_of_rows(scorers, tied_export):
    exact, _ = scorers(k=300)
    table = _joined(exact.recommend(pa.array(["user-00"])))
    places = [int(name.removeprefix("place-")) for name in table["business_id"].to_pylist()]
    scores = table["score"].to_numpy()
    tied = [a for a in range(299) if scores[a] == scores[a + 1]]
    assert len(tied) == 100
    assert all(places[a] < places[a + 1] for a in tied)
    assert np.all(np.diff(scores) <= 0)


def test_filtered_lists_are_those_of_a_sorted_catalogue(scorers, tied_export):
    exact, _ = scorers(k=9, exclude_seen=True, **FILTERS[1])
    table = _joined(exact.recommend(USERS)).to_pandas()
    for user in ("user-07", "stranger"):
        expected = tied_export.recommend(user, 9, True, ["place-0000"], "Bars", "Reno")
        assert table[table.user_id == user].business_id.tolist() == [row[0] for row in expected]


def test_blocks_do_not_show(scorers, monkeypatch):
    exact, _ = scorers(k=20, exclude_seen=True)
    whole = _joined(exact.recommend(USERS))
    monkeypatch.setattr(bulk_scorers, "_BLOCK_ROWS", 60)
    monkeypatch.setattr(bulk_scorers, "_GATHERED_ROWS", 50)
    tables = list(exact.recommend(USERS))
    assert [table.num_rows for table in tables] == [60] * 14
    blocks = _joined(tables)
    assert blocks.select(["user_id", "rank", "business_id"]) == whole.select([
        "user_id",
        "rank",
        "business_id",
    ])
    np.testing.assert_allclose(blocks["score"], whole["score"], atol=1e-5)
    # However long a list is, a block holds at least one.
    longer, _ = scorers(k=100, exclude_seen=True)
    assert len(list(longer.recommend(USERS))) == len(USERS)


def test_pairs_get_the_ratings_of_the_signature(scorers):
    exact, signature = scorers()
    businesses = pa.array([f"place-{place:04d}" for place in range(len(USERS) - 1)] + ["nowhere"])
    found, expected = (_joined(scorer.rate(USERS, businesses)) for scorer in (exact, signature))
    assert found.schema == expected.schema == PAIR_SCHEMA
    assert found["user_id"].combine_chunks() == USERS
    np.testing.assert_allclose(found["rating"], expected["rating"], rtol=0, atol=1e-4)
    assert found["rating"].to_numpy().min() == features.MIN_STARS


def test_unknown_ids_are_counted_once_a_row(scorers):
    users = pa.array(["user-00", "x", "user-01", "y"])
    businesses = pa.array(["place-0000", "place-0001", "z", "z"])
    for scorer in scorers():
        assert scorer.count_unknown(users) == 2
        assert scorer.count_unknown(users, businesses) == 3
        assert scorer.count_unknown(pa.array([], pa.string())) == 0


def test_no_ids_give_no_rows(scorers):
    nobody = pa.array([], pa.string())
    for scorer in scorers():
        assert list(scorer.recommend(nobody)) == []
        assert sum(table.num_rows for table in scorer.rate(nobody, nobody)) == 0


def test_an_index_and_a_baseline_answer_for_themselves(exact_export, scann_export, tmp_path):
    from models import export
    from models.baselines.fallback import FallbackRecommender

    assert isinstance(load_scorer(f"{exact_export.path}/3", Filters()), ExactScorer)
    wanted = Filters(k=3, exclude_business_ids=["place-0001"])
    approximate = load_scorer(f"{scann_export.path}/3", wanted)
    assert isinstance(approximate, SignatureScorer)
    table = _joined(approximate.recommend(USERS)).to_pandas()
    for user in ("user-00", "stranger"):
        expected = [row[0] for row in scann_export.recommend(user, 3, False, ["place-0001"])]
        assert table[table.user_id == user].business_id.tolist() == expected
    (tmp_path / "assets").mkdir()
    fallback = FallbackRecommender(exact_export.tables, str(tmp_path / "assets"))
    export.save(fallback, str(tmp_path / "fallback"))
    baseline = load_scorer(str(tmp_path / "fallback"), Filters(k=3))
    assert isinstance(baseline, SignatureScorer)
    assert _joined(baseline.recommend(USERS)).num_rows == 3 * len(USERS)


@pytest.mark.parametrize("asked", [{"min_stars": 3.4}, {"shortlist": 50}], ids=str)
def test_what_the_tables_do_not_answer_is_asked_of_the_signature(exact_export, asked):
    path = f"{exact_export.path}/3"
    wanted = Filters(k=20, **asked)
    scorer = load_scorer(path, wanted)
    assert isinstance(scorer, SignatureScorer)
    table = _joined(scorer.recommend(USERS)).to_pandas()
    if "min_stars" in asked:
        assert 0 < len(table) < 20 * len(USERS)
        assert table["rating"].min() >= 3.4
    else:
        assert (table.groupby("user_id")["rating"].diff().dropna() <= 0).all()
