import pytest

from components.yelp_example_gen import inputs, records, splits, summary, tallies
from models import errors
from models.options import SplitOptions

NAME = "yelp_academic_dataset_review.json"
USERS = "yelp_academic_dataset_user.json.gz"
FILES = [
    inputs.InputFile(f"/d/{NAME}", "interactions", "", 100, 0.0),
    inputs.InputFile(f"/d/{USERS}", "users", "", 100, 0.0),
]
DAY = splits.DAY_SECONDS
TALLY = tallies.Tally(
    counts={
        ("lines", NAME): 104,
        ("blank", NAME): 2,
        ("kept", NAME): 100,
        ("rejected", NAME, "not JSON"): 1,
        ("rejected", NAME, "date: missing"): 1,
        ("ignored", NAME, "cool"): 3,
        ("lines", USERS): 10,
        ("kept", USERS): 10,
        ("rows", "interactions", "train"): 70,
        ("rows", "interactions", "eval"): 10,
        ("rows", "interactions", "test"): 15,
        ("rows", "users", "all"): 12,
        ("rows", "businesses", "all"): 4,
        ("dropped", "interactions", "repeated_review_ids"): 3,
        ("dropped", "interactions", "superseded_reviews"): 2,
        ("dropped", "users", "repeated_ids"): 1,
        ("dropped", "users", "unknown_ids"): 3,
        ("dropped", "businesses", "repeated_ids"): 0,
        ("dropped", "businesses", "unknown_ids"): 4,
    },
    days={0: 75, 1: 10, 3: 15},
    spans={"train": (0, 5), "eval": (DAY, DAY + 5), "test": (3 * DAY, 3 * DAY)},
    examples={NAME: (17, "not JSON", '{"review_id": "x" "y"}')},
)


def change(counts, drop=(), examples=None):
    merged = {**TALLY.counts, **counts}
    kept = {key: value for key, value in merged.items() if key not in set(drop)}
    return tallies.Tally(kept, TALLY.days, TALLY.spans, examples or TALLY.examples)


def refuse(tally, config=None, max_reject_fraction=0.1, files=None):
    config = config or SplitOptions()
    results = summary.summarize(tally, files or FILES, config)
    with pytest.raises(errors.InputError) as caught:
        summary.check_summary(results, tally, max_reject_fraction)
    return str(caught.value)


def test_summary():
    results = summary.summarize(TALLY, FILES, SplitOptions(seed=3))
    summary.check_summary(results, TALLY, 0.1)
    assert results["num_interactions"] == 95
    assert (results["num_users"], results["num_businesses"]) == (12, 4)
    assert (results["unknown_users"], results["unknown_businesses"]) == (3, 4)
    assert results["duplicates"] == {
        "repeated_review_ids": 3,
        "superseded_reviews": 2,
        "repeated_user_ids": 1,
        "repeated_business_ids": 0,
    }
    assert results["split"] == {
        "method": "temporal",
        "eval": 0.1,
        "test": 0.1,
        "seed": 3,
        "cutoffs": {
            "eval_from_seconds": DAY,
            "eval_from_date": "1970-01-02",
            "test_from_seconds": 3 * DAY,
            "test_from_date": "1970-01-04",
        },
        "num_interactions": {"train": 70, "eval": 10, "test": 15},
        "timestamps": {
            "train": {
                "min_seconds": 0,
                "max_seconds": 5,
                "min_date": "1970-01-01",
                "max_date": "1970-01-01",
            },
            "eval": {
                "min_seconds": DAY,
                "max_seconds": DAY + 5,
                "min_date": "1970-01-02",
                "max_date": "1970-01-02",
            },
            "test": {
                "min_seconds": 3 * DAY,
                "max_seconds": 3 * DAY,
                "min_date": "1970-01-04",
                "max_date": "1970-01-04",
            },
        },
    }
    reviews = {
        "lines_read": 104,
        "blank": 2,
        "kept": 100,
        "rejected": {"date: missing": 1, "not JSON": 1},
        "ignored_fields": {"cool": 3},
    }
    assert results["tables"]["interactions"] == {**reviews, "files": {NAME: reviews}}
    assert results["tables"]["businesses"]["files"] == {}
    assert results["tables"]["businesses"]["lines_read"] == 0


def test_counts_of_several_files_add_up():
    second = inputs.InputFile("/d/b.json", "interactions", "", 1, 0.0)
    tally = change({
        ("lines", "b.json"): 2,
        ("kept", "b.json"): 1,
        ("rejected", "b.json", "not JSON"): 1,
    })
    results = summary.summarize(tally, [*FILES, second], SplitOptions())
    table = results["tables"]["interactions"]
    assert (table["lines_read"], table["kept"]) == (106, 101)
    assert table["rejected"] == {"date: missing": 1, "not JSON": 2}


def test_refuses_an_empty_file():
    assert refuse(TALLY, files=[*FILES, inputs.InputFile("/d/e.json", "users", "", 0, 0.0)]) == (
        "Expected JSON lines in e.json; the file is empty. "
        "Replace the file by the one from Yelp's archive."
    )


def test_refuses_a_file_of_blank_lines():
    tally = change({("lines", USERS): 3, ("blank", USERS): 3, ("kept", USERS): 0})
    assert refuse(tally) == (
        f"Expected JSON lines in {USERS}; it holds blank lines only. "
        "Replace the file by the one from Yelp's archive."
    )


def test_refuses_a_review_file_without_any_usable_row():
    tally = change({
        ("kept", NAME): 0,
        ("lines", NAME): 1236,
        ("rejected", NAME, "not JSON"): 1200,
        ("rejected", NAME, "NUL byte"): 20,
        ("rejected", NAME, "user_id: null"): 10,
        ("rejected", NAME, "user_id: empty"): 2,
    })
    assert refuse(tally) == (
        f"Expected JSON lines in {NAME}; there is no usable row in its 1,236 lines "
        "(not JSON 1,200, NUL byte 20, user_id: null 10, 2 more reasons). "
        f'For example, at byte 17 of {NAME} (not JSON): \'{{"review_id": "x" "y"}}\'. '
        "Replace the file by the one from Yelp's archive."
    )


def test_refuses_too_many_rejects():
    assert refuse(TALLY, max_reject_fraction=0.0195) == (
        "Expected at most 1.95% of the lines of interactions to be unusable; 2 of 102 are "
        "(date: missing 1, not JSON 1). "
        f'For example, at byte 17 of {NAME} (not JSON): \'{{"review_id": "x" "y"}}\'. '
        "Mend the file, or raise max_reject_fraction."
    )


def test_stars_of_another_scale_are_to_be_mapped():
    tally = change({("rejected", NAME, records.BEYOND_THE_SCALE): 9})
    assert refuse(tally, max_reject_fraction=0.05).endswith(
        " Map the ratings to stars from 1 to 5."
    )


def test_examples_are_cut():
    tally = change({}, examples={NAME: (0, "not JSON", "x" * 1000)})
    assert "(not JSON): '" + "x" * 160 + "…'. Mend" in refuse(tally, max_reject_fraction=0)


@pytest.mark.parametrize(
    ("config", "drop", "message"),
    [
        (
            SplitOptions(),
            ["test"],
            "Expected interactions in every split; split.method temporal left test empty "
            "(train 70, eval 10, test 0; eval from 1970-01-02, test from 1970-01-04; "
            "5 repeats dropped). The reviews need dates on at least three days: set split.method "
            "to random, or add data.",
        ),
        (
            SplitOptions(method="random"),
            ["eval", "test"],
            "Expected interactions in every split; split.method random left eval and test empty "
            "(train 70, eval 0, test 0; 5 repeats dropped). Raise split.eval and split.test, "
            "or add data.",
        ),
        (
            SplitOptions(method="leave_last"),
            ["eval"],
            "Expected interactions in every split; split.method leave_last left eval empty "
            "(train 70, eval 0, test 15; 5 repeats dropped). Only users with at least three "
            "reviews have any in eval and test: set split.method to random, or add data.",
        ),
        (
            SplitOptions(method="given"),
            ["train"],
            "Expected interactions in every split; split.method given left train empty "
            "(train 0, eval 10, test 15; 5 repeats dropped). Add reviews to the file of that "
            "split, or set split.method to random.",
        ),
    ],
)
def test_refuses_empty_splits(config, drop, message):
    tally = change({}, [("rows", "interactions", split) for split in drop])
    assert refuse(tally, config) == message
