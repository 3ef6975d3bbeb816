import math

import numpy as np
import pytest

from models.evaluation import CUT_OFFS, Known, RatingEvaluation, RetrievalEvaluation, judge
from models.tables import Interactions


def _ratings(*triples):
    users, businesses, stars = zip(*triples, strict=True)
    return Interactions(
        np.array(users, np.int32), np.array(businesses, np.int32), np.array(stars, np.float32)
    )


def _values(measured):
    return {
        key: entry["value"] if isinstance(entry, dict) else entry
        for key, entry in measured.items()
        if key != "slices"
    }


def test_known_counts_by_hand():
    known = Known.from_interactions(_ratings((0, 1, 5), (0, 1, 4), (2, 0, 3)), 4, 3)
    assert known.user_counts.tolist() == [2, 0, 1, 0]
    assert known.business_counts.tolist() == [1, 2, 0]


class TestRatingEvaluation:
    # User 1 and business 2 are cold.
    known = Known(np.array([3, 0, 1]), np.array([2, 2, 0]))
    test = _ratings((0, 0, 5), (0, 2, 3), (1, 1, 4), (2, 1, 2))
    # Errors -1, 1, 2, 0.
    predicted = np.array([4.0, 4.0, 6.0, 2.0])

    def test_values_and_slices_by_hand(self):
        measured = RatingEvaluation(self.test, self.known).evaluate(self.predicted)
        assert _values(measured) == {
            "rmse": pytest.approx(math.sqrt((1 + 1 + 4 + 0) / 4), abs=1e-6),
            "mae": 1.0,
            "num_ratings": 4,
        }
        slices = {name: _values(entry) for name, entry in measured["slices"].items()}
        assert slices == {
            "cold_user": {"rmse": 2.0, "mae": 2.0, "num_ratings": 1},
            "cold_business": {"rmse": 1.0, "mae": 1.0, "num_ratings": 1},
            # Rows 0 and 3: errors -1 and 0.
            "warm": {"rmse": pytest.approx(math.sqrt(0.5), abs=1e-6), "mae": 0.5, "num_ratings": 2},
        }

    def test_a_cold_pair_is_in_both_cold_slices(self):
        measured = RatingEvaluation(_ratings((1, 2, 3)), self.known).evaluate(np.array([3.5]))
        assert set(measured["slices"]) == {"cold_user", "cold_business"}

    def test_an_empty_slice_is_left_out(self):
        measured = RatingEvaluation(self.test[:1], self.known).evaluate(self.predicted[:1])
        assert set(measured["slices"]) == {"warm"}

    def test_intervals_hold_the_value(self):
        rng = np.random.default_rng(0)
        test = Interactions(
            rng.integers(100, size=600), rng.integers(9, size=600), rng.integers(1, 6, 600)
        )
        known = Known(np.arange(100) % 3, np.ones(9))
        measured = RatingEvaluation(test, known).evaluate(np.full(600, 3.0))
        for entry in (measured, *measured["slices"].values()):
            for name in ("rmse", "mae"):
                assert entry[name]["low"] < entry[name]["value"] < entry[name]["high"]

    def test_difference_by_hand(self):
        evaluation = RatingEvaluation(self.test, self.known)
        perfect = self.test.stars.astype(float)
        assert evaluation.rmse_difference(self.predicted, self.predicted).high == 0.0
        difference = evaluation.rmse_difference(perfect, self.predicted)
        assert difference.value == pytest.approx(-math.sqrt(1.5))
        assert difference.high <= 0.0


class TestRetrievalEvaluation:
    # Users 0 and 1 are warm, 2 is cold, 3 has only a test business that they had in training.
    fitted = _ratings((0, 0, 5), (0, 1, 3), (1, 3, 4), (3, 2, 2))
    test = _ratings((0, 2, 4), (0, 2, 5), (0, 1, 1), (1, 0, 4), (1, 2, 2), (2, 4, 5), (3, 2, 1))

    def setup_method(self):
        known = Known.from_interactions(self.fitted, 4, 5)
        self.evaluation = RetrievalEvaluation(self.test, self.fitted, known)

    def test_users_have_something_new_to_find(self):
        assert self.evaluation.users.tolist() == [0, 1, 2]
        seen = [self.evaluation.seen.row(row).tolist() for row in range(3)]
        assert seen == [[0, 1], [3], []]

    def test_values_and_slices_by_hand(self):
        # Relevant: {2} for user 0 (1 was seen, 2 counts once), {0, 2} for user 1, {4} for user 2.
        ranked = np.array([[4, 2, -1], [2, 1, 4], [0, 1, 2]])
        measured = self.evaluation.evaluate(ranked)
        assert measured["num_users"] == 3
        assert measured["recall@10"]["value"] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)
        assert measured["mrr"]["value"] == pytest.approx((0.5 + 1 + 0) / 3, abs=1e-6)
        gain = 1 / math.log2(3)
        assert measured["ndcg@10"]["value"] == pytest.approx(
            (gain + 1 / (1 + gain) + 0) / 3, abs=1e-6
        )
        # All businesses but 3 are in somebody's list.
        assert measured["coverage@10"]["value"] == 0.8
        cold, warm = measured["slices"]["cold_user"], measured["slices"]["warm"]
        assert (cold["num_users"], warm["num_users"]) == (1, 2)
        assert cold["recall@10"]["value"] == 0.0
        assert warm["recall@10"]["value"] == pytest.approx(0.75)

    def test_intervals_hold_the_value_in_every_slice(self):
        rng = np.random.default_rng(0)
        rows = rng.integers(200, size=1_000), rng.integers(60, size=1_000)
        test = Interactions(*rows, np.ones(1_000))
        known = Known(np.arange(200) % 3, np.ones(60))
        evaluation = RetrievalEvaluation(test, test[:0], known)
        lists = np.tile(np.arange(60), [len(evaluation.users), 1])
        measured = evaluation.evaluate(rng.permuted(lists, axis=1))
        for group in (measured, *measured["slices"].values()):
            for name in ("recall@10", "ndcg@20", "mrr"):
                assert group[name]["low"] < group[name]["value"] < group[name]["high"]

    def test_cut_offs_count_ranks(self):
        known = Known(np.array([1]), np.ones(60, int))
        evaluation = RetrievalEvaluation(_ratings((0, 30, 5)), _ratings((0, 0, 5)), known)
        ranked = np.setdiff1d(np.arange(60), [0])[None, :50]  # Business 30 is on rank 30.
        measured = evaluation.evaluate(ranked)
        assert CUT_OFFS == (10, 20, 50)
        assert [measured[f"recall@{k}"]["value"] for k in CUT_OFFS] == [0.0, 0.0, 1.0]
        assert measured["coverage@20"]["value"] == pytest.approx(20 / 60, abs=1e-6)
        assert measured["mrr"]["value"] == pytest.approx(1 / 30, abs=1e-6)

    def test_padding_covers_nothing(self):
        measured = self.evaluation.evaluate(np.full([3, 50], -1))
        assert measured["coverage@50"]["value"] == 0.0
        assert measured["recall@50"]["value"] == 0.0

    def test_difference_by_hand(self):
        best = np.array([[2, -1], [0, 2], [4, -1]])
        worst = np.full([3, 2], -1)
        assert self.evaluation.recall_difference(best, worst).value == pytest.approx(1.0)
        same = self.evaluation.recall_difference(best, best)
        assert (same.low, same.value, same.high) == (0.0, 0.0, 0.0)

    def test_tables_whose_cells_exceed_32_bits(self):
        # 60,000 users x 50,000 businesses: 3e9 pairs.
        last = (59_999, 49_999, 5)
        known = Known(np.ones(60_000, int), np.ones(50_000, int))
        evaluation = RetrievalEvaluation(_ratings(last), _ratings((59_999, 0, 3)), known)
        assert evaluation.users.tolist() == [59_999]
        measured = evaluation.evaluate(np.array([[7, 49_999]]))
        assert measured["mrr"]["value"] == 0.5


class TestJudge:
    def test_a_model_that_passes_everything_is_blessed(self):
        verdict = judge({"beats the bias model": True, "index recall is .99": True})
        assert verdict.blessed
        assert verdict.reasons == ("passed: beats the bias model", "passed: index recall is .99")

    def test_one_failure_is_enough_and_is_named(self):
        verdict = judge({"first": True, "second": False, "third": True})
        assert not verdict.blessed
        assert verdict.reasons == ("passed: first", "FAILED: second", "passed: third")
