import pyarrow as pa
import pytest

from components.yelp_example_gen import deduplication

COLUMNS = ["review_id", "user_id", "business_id", "timestamp_seconds", "stars", "given_split"]


def frame(*rows):
    return pa.table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))


def test_repeated_reviews_and_repeated_visits():
    rows = frame(
        ("r1", "u", "b", 10, 1.0, ""),
        ("r2", "u", "c", 10, 2.0, ""),
        ("r1", "u", "b", 10, 1.5, ""),  # r1 once more, edited: the last of the input is kept
        ("r3", "u", "c", 5, 3.0, ""),  # an older review of c
        ("r5", "v", "b", 7, 5.0, ""),  # a tie: the larger id is kept
        ("r4", "v", "b", 7, 4.0, ""),
        ("r6", "w", "b", 9, 4.0, ""),  # r6 again, later: the later is kept although it comes first
        ("r6", "w", "b", 8, 3.0, ""),
    )
    kept, counts = deduplication.deduplicate_interactions(rows, keeps_visits=False)
    assert kept["review_id"].to_pylist() == ["r2", "r1", "r5", "r6"]
    assert kept["stars"].to_pylist() == [2.0, 1.5, 5.0, 4.0]
    assert counts == {"repeated_review_ids": 2, "superseded_reviews": 2}
    assert kept.column_names == COLUMNS


def test_visits_may_be_kept_and_splits_are_apart():
    rows = frame(
        ("r1", "u", "b", 10, 1.0, "train"),
        ("r2", "u", "b", 11, 2.0, "train"),
        ("r2", "u", "b", 11, 2.0, "train"),
        ("r1", "u", "b", 10, 1.0, "test"),
    )
    kept, counts = deduplication.deduplicate_interactions(rows, keeps_visits=True)
    assert kept["review_id"].to_pylist() == ["r1", "r2", "r1"]
    assert counts == {"repeated_review_ids": 1, "superseded_reviews": 0}


@pytest.mark.parametrize("mentioned", [[], ["a", "d", "c", "d", "b"]])
def test_entities_are_completed(mentioned):
    rows = pa.table({"user_id": ["b", "a", "b"], "fans": [1, 2, 3]})
    ids = pa.chunked_array([mentioned], pa.string())
    complete, counts = deduplication.complete_entities(rows, ids, "user_id")
    expected = [("a", 2), ("b", 3)]
    if mentioned:
        expected += [("c", None), ("d", None)]
    assert list(zip(*complete.to_pydict().values(), strict=True)) == expected
    assert counts == {"repeated_ids": 1, "unknown_ids": len(expected) - 2}
