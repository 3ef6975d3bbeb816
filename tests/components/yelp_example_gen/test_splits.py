import collections
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest

from components.yelp_example_gen import splits
from models import errors
from models.options import SplitOptions

DAY = splits.DAY_SECONDS


def frame(rows):
    """Makes interactions of (review_id, user_id, timestamp_seconds)."""
    columns = dict(
        zip(["review_id", "user_id", "timestamp_seconds"], zip(*rows, strict=True), strict=True)
    )
    return pa.table({**columns, "business_id": ["b"] * len(rows), "stars": [5.0] * len(rows)})


def test_config_round_trips():
    config = SplitOptions(method="random", eval=0.2, test=0.05, seed=7)
    assert splits.read_options(config.model_dump_json()) == config
    assert splits.read_options("") == SplitOptions()
    assert splits.read_options('{"method": "given"}').method == "given"


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"method": "latest"},
            "method Input should be 'temporal', 'random', 'leave_last' or 'given'",
        ),
        ({"eval": 0}, "eval Input should be greater than 0"),
        ({"test": 1.0}, "test Input should be less than 1"),
        (
            {"eval": 0.5, "test": 0.5},
            "Value error, eval + test must be below 1, so that some data is left for train",
        ),
        ({"seed": 1.5}, "seed Input should be a valid integer"),
        ({"seeds": 1}, "seeds Extra inputs are not permitted"),
        ([1], "Input should be an object"),
    ],
)
def test_options_are_refused(values, fault):
    text = json.dumps(values)
    with pytest.raises(errors.ConfigError) as caught:
        splits.read_options(text)
    assert str(caught.value) == (
        "Expected split_config to be a JSON object of method, eval, test, seed; "
        f"got {text!r}: {fault}. Correct it."
    )


def test_config_refuses_what_is_not_json():
    with pytest.raises(
        errors.ConfigError, match="^Expected split_config to be a JSON object of .*: Invalid JSON"
    ):
        splits.read_options("method: random")


@pytest.mark.parametrize(
    ("day_counts", "eval_day", "test_day"),
    [
        # Ten equal days: the newest is a tenth, the one before it the next.
        (dict.fromkeys(range(100, 110), 5), 108, 109),
        # Shares from day 2 on: 20 %; from day 3 on: 8 %, nearer to 10 % than 0 or 20 %.
        ({0: 50, 1: 30, 2: 12, 3: 8}, 2, 3),
        # The newest day alone holds half: it is test all the same, and train keeps a day.
        ({7: 10, 8: 10, 9: 20}, 8, 9),
        # Gaps between days do not matter, nor their order.
        ({500: 1, 3: 8, 90: 1}, 90, 500),
        # Nine tenths on day 50, which train gets: 95 %, and 2.5 % each for the others.
        ({**dict.fromkeys(range(50), 1), 50: 900, **dict.fromkeys(range(51, 61), 5)}, 51, 56),
        # And test, if it is the last.
        ({0: 5, 1: 5, 2: 5, 3: 85}, 2, 3),
    ],
)
def test_cutoffs(day_counts, eval_day, test_day):
    cutoffs = splits.temporal_cutoffs(day_counts, SplitOptions())
    assert cutoffs == splits.Cutoffs(eval_day * DAY, test_day * DAY)


def test_cutoffs_are_the_best_of_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(200):
        days = np.sort(rng.choice(60, rng.integers(3, 20), replace=False))
        counts = np.exp(rng.normal(0, 2, len(days)) + 3).astype(int) + 1
        config = SplitOptions(eval=rng.uniform(0.05, 0.4), test=rng.uniform(0.05, 0.4))
        wanted = np.array([1 - config.eval - config.test, config.eval, config.test])

        def miss(eval_day, test_day, days=days, counts=counts, wanted=wanted):
            split = np.searchsorted([eval_day, test_day], days, side="right")
            return np.square(np.bincount(split, counts, 3) / counts.sum() - wanted).sum()

        found = splits.temporal_cutoffs(
            dict(zip(days.tolist(), counts.tolist(), strict=True)), config
        )
        pairs = itertools.combinations(days[1:], 2)
        assert miss(
            found.eval_from_seconds // DAY, found.test_from_seconds // DAY
        ) == pytest.approx(min(miss(*pair) for pair in pairs))


def test_no_cutoffs_below_three_days():
    assert splits.temporal_cutoffs({1: 10, 2: 10}, SplitOptions()) is None
    assert splits.temporal_cutoffs({}, SplitOptions()) is None


def test_cutoffs_as_dict():
    assert splits.Cutoffs(DAY, 366 * DAY).to_dict() == {
        "eval_from_seconds": 86400,
        "eval_from_date": "1970-01-02",
        "test_from_seconds": 366 * 86400,
        "test_from_date": "1971-01-02",
    }


def test_temporal():
    rows = frame([("a", "u", 0), ("b", "u", 9), ("c", "v", 10), ("d", "v", 19), ("e", "v", 20)])
    split = splits.assign_splits(rows, SplitOptions(), splits.Cutoffs(10, 20))
    assert split.to_pylist() == ["train", "train", "eval", "eval", "test"]
    assert splits.assign_splits(rows, SplitOptions()).to_pylist() == ["train"] * 5


def test_leave_last():
    rows = frame([
        ("a", "u", 30),  # u's newest
        ("b", "u", 10),
        ("c", "u", 20),
        ("d", "v", 5),  # v has two only
        ("e", "v", 6),
        ("f", "w", 7),  # a tie: the larger review id is the newer
        ("h", "w", 7),
        ("g", "w", 7),
        ("i", "w", 1),
    ])
    split = splits.assign_splits(rows, SplitOptions(method="leave_last"))
    by_review = dict(zip(rows["review_id"].to_pylist(), split.to_pylist(), strict=True))
    assert [review for review, name in by_review.items() if name == "test"] == ["a", "h"]
    assert [review for review, name in by_review.items() if name == "eval"] == ["c", "g"]


@pytest.mark.parametrize("method", ["random", "leave_last", "given"])
def test_equal_visits_share_a_split(method):
    # 1,000 times the same on one day, and each other visit once.
    ids = [f"review-{i}" for i in range(3_000)]
    rows = frame([(one, f"u{i % 50}", min(i, 2_000)) for i, one in enumerate(ids)])
    given = pa.array([splits.TRAIN_AND_EVAL] * len(ids))
    rows = rows.append_column(splits.GIVEN_SPLIT, given)
    config = SplitOptions(method=method, eval=0.3, test=0.3)
    found = splits.assign_splits(rows, config, keeps_visits=True).to_pylist()
    assert len(set(found)) == (2 if method == "given" else 3)
    repeated = collections.defaultdict(set)
    for user, split in zip(rows["user_id"].to_pylist()[2_000:], found[2_000:], strict=True):
        repeated[user].add(split)
    assert {len(names) for names in repeated.values()} == {1}
    assert len(repeated) == 50
    # The others have what they would have without; of leave_last's, what is newest is repeated.
    alone = splits.assign_splits(rows.slice(0, 2_000), config).to_pylist()
    assert method == "leave_last" or found[:2_000] == alone


def test_random_goes_by_review_id_alone():
    config = SplitOptions(method="random", eval=0.2, test=0.1)
    rows = frame([(f"review-{i}", "u", i) for i in range(5000)])
    split = splits.assign_splits(rows, config)
    sizes = collections.Counter(split.to_pylist())
    # Binomial standard deviations: 28 for eval, 21 for test.
    assert abs(sizes["eval"] - 1000) < 4 * 28
    assert abs(sizes["test"] - 500) < 4 * 21
    part = np.arange(4999, 4899, -1)
    assert splits.assign_splits(rows.take(part), config) == split.take(pa.array(part))
    other = splits.assign_splits(rows, SplitOptions(method="random", eval=0.2, test=0.1, seed=1))
    assert np.sum(other.to_numpy(False) != split.to_numpy(False)) > 1000
    negative = SplitOptions(method="random", eval=0.2, test=0.1, seed=-1)
    other = splits.assign_splits(rows, negative)
    assert np.sum(other.to_numpy(False) != split.to_numpy(False)) > 1000


def test_given_is_taken_as_it_is():
    rows = frame([("a", "u", 0), ("b", "u", 1), ("c", "u", 2)])
    rows = rows.append_column("given_split", [["test", "train", "eval"]])
    split = splits.assign_splits(rows, SplitOptions(method="given"))
    assert split.to_pylist() == ["test", "train", "eval"]


def test_given_without_eval_carves_it_out_of_train():
    rows = frame([(f"review-{i}", "u", i) for i in range(2000)])
    given = [["test", *[splits.TRAIN_AND_EVAL] * 1999]]
    split = splits.assign_splits(
        rows.append_column("given_split", given), SplitOptions(method="given", eval=0.25)
    )
    sizes = collections.Counter(split.to_pylist())
    assert split[0].as_py() == "test"
    assert sizes["test"] == 1
    # A quarter of train + eval, within four binomial standard deviations of 19.
    assert abs(sizes["eval"] - 500) < 80
    assert sizes["train"] == 1999 - sizes["eval"]
