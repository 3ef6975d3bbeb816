import math

import numpy as np
import pytest

from models import bootstrap
from models.evaluation import RatingEvaluation, RetrievalEvaluation
from models.measurements import CUT_OFFS, NUM_RATINGS, NUM_USERS
from models.slices import Known, Labels
from models.tables import Interactions


def _ratings(*triples):
    users, businesses, stars = zip(*triples, strict=True)
    return Interactions(
        np.array(users, np.int32), np.array(businesses, np.int32), np.array(stars, np.float32)
    )


def _rated(test, known, predicted, labels=None):
    measured = RatingEvaluation(test, known, labels).measure({"ours": predicted})
    return measured.to_json("ours", NUM_RATINGS)


def _ranked(evaluation, ranked):
    return evaluation.measure({"ours": ranked}).to_json("ours", NUM_USERS) | evaluation.describe(
        ranked
    )


def _values(measured):
    return {
        key: entry["value"] if isinstance(entry, dict) else entry
        for key, entry in measured.items()
        if key != "slices"
    }


class TestRatingEvaluation:
    # User 1 and business 2 are cold.
    known = Known(np.array([3, 0, 1]), np.array([2, 2, 0]))
    test = _ratings((0, 0, 5), (0, 2, 3), (1, 1, 4), (2, 1, 2))
    # Errors -1, 1, 2, 0.
    predicted = np.array([4.0, 4.0, 6.0, 2.0])

    def test_values_and_slices_by_hand(self):
        measured = _rated(self.test, self.known, self.predicted)
        assert _values(measured) == {
            "rmse": pytest.approx(math.sqrt((1 + 1 + 4 + 0) / 4), abs=1e-6),
            "mae": 1.0,
            # 16 stars are predicted and 14 were given.
            "calibration": pytest.approx(16 / 14, abs=1e-6),
            "num_ratings": 4,
        }
        slices = {name: _values(entry) for name, entry in measured["slices"].items()}
        root = pytest.approx(math.sqrt(0.5), abs=1e-6)
        expected = {
            "cold_user": (2.0, 2.0, 6 / 4, 1),
            # Rows 0, 1 and 3: errors -1, 1 and 0.
            "warm_user": (pytest.approx(math.sqrt(2 / 3), abs=1e-6), 2 / 3, 1.0, 3),
            "cold_business": (1.0, 1.0, 4 / 3, 1),
            "warm_business": (pytest.approx(math.sqrt(5 / 3), abs=1e-6), 1.0, 12 / 11, 3),
            # Rows 0 and 3: errors -1 and 0.
            "warm": (root, 0.5, 6 / 7, 2),
            # User 2 has one, user 0 three.
            "activity=1": (0.0, 0.0, 1.0, 1),
            "activity=2-3": (1.0, 1.0, 1.0, 2),
        }
        assert slices == {
            name: {
                "rmse": rmse,
                "mae": pytest.approx(mae, abs=1e-6),
                "calibration": pytest.approx(calibration, abs=1e-6),
                "num_ratings": n,
            }
            for name, (rmse, mae, calibration, n) in expected.items()
        }

    def test_three_rows_are_reported_with_their_number_and_no_interval(self):
        measured = _rated(self.test, self.known, self.predicted)["slices"]["warm_user"]
        assert measured["num_ratings"] == 3
        assert set(measured["rmse"]) == {"value"}

    def test_cities_and_categories(self):
        labels = Labels(
            cities={b"Reno": np.array([0]), b"Tampa": np.array([1, 2])},
            categories={b"Tea": np.array([0, 1])},
        )
        slices = _rated(self.test, self.known, self.predicted, labels)["slices"]
        assert slices["city=Reno"]["num_ratings"] == 1
        assert slices["city=Tampa"]["mae"]["value"] == 1.0
        assert slices["category=Tea"]["num_ratings"] == 3

    def test_reliability_by_hand(self):
        test = _ratings(*((0, 0, stars) for stars in (1, 2, 3, 4, 5)))
        evaluation = RatingEvaluation(test, self.known)
        # Five ratings fill five of ten bins, in the order of predictions.
        told = evaluation.reliability(np.array([1.0, 2.0, 3.0, 4.0, 3.5]))
        assert [(t["predicted"], t["stars"]) for t in told] == [
            (1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (3.5, 5.0), (4.0, 4.0)
        ]  # fmt: skip

    def test_a_cold_pair_is_in_both_cold_slices(self):
        measured = _rated(_ratings((1, 2, 3)), self.known, np.array([3.5]))
        assert set(measured["slices"]) == {"cold_user", "cold_business"}

    def test_an_empty_slice_is_left_out(self):
        measured = _rated(self.test[:1], self.known, self.predicted[:1])
        assert set(measured["slices"]) == {
            "warm", "warm_user", "warm_business", "activity=3"
        }  # fmt: skip

    def test_intervals_hold_the_value(self):
        rng = np.random.default_rng(0)
        test = Interactions(
            rng.integers(100, size=600), rng.integers(9, size=600), rng.integers(1, 6, 600)
        )
        known = Known(np.arange(100) % 3, np.ones(9, int))
        measured = _rated(test, known, np.full(600, 3.0))
        for entry in (measured, *measured["slices"].values()):
            for name in ("rmse", "mae"):
                assert entry[name]["low"] < entry[name]["value"] < entry[name]["high"]

    def test_difference_by_hand(self):
        perfect = self.test.stars.astype(float)
        measured = RatingEvaluation(self.test, self.known).measure({
            "ours": self.predicted, "again": self.predicted, "perfect": perfect
        })  # fmt: skip
        assert measured.difference("ours", "again", "rmse").value == 0.0
        found = measured.difference("perfect", "ours", "rmse")
        assert found.value == pytest.approx(-math.sqrt(1.5))
        # In the slice of the cold user the error is 2.
        assert measured.difference("perfect", "ours", "mae", "cold_user").value == -2.0


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
        measured = _ranked(self.evaluation, ranked)
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
        known = Known(np.arange(200) % 3, np.ones(60, int))
        evaluation = RetrievalEvaluation(test, test[:0], known)
        lists = np.tile(np.arange(60), [len(evaluation.users), 1])
        measured = _ranked(evaluation, rng.permuted(lists, axis=1))
        for group in (measured, *measured["slices"].values()):
            for name in ("recall@10", "ndcg@20", "mrr"):
                assert group[name]["low"] < group[name]["value"] < group[name]["high"]

    def test_cut_offs_count_ranks(self):
        known = Known(np.array([1]), np.ones(60, int))
        evaluation = RetrievalEvaluation(_ratings((0, 30, 5)), _ratings((0, 0, 5)), known)
        ranked = np.setdiff1d(np.arange(60), [0])[None, :50]  # Business 30 is on rank 30.
        measured = _ranked(evaluation, ranked)
        assert CUT_OFFS == (10, 20, 50)
        assert [measured[f"recall@{k}"]["value"] for k in CUT_OFFS] == [0.0, 0.0, 1.0]
        assert measured["coverage@20"]["value"] == pytest.approx(20 / 60, abs=1e-6)
        assert measured["mrr"]["value"] == pytest.approx(1 / 30, abs=1e-6)

    def test_padding_covers_nothing(self):
        measured = _ranked(self.evaluation, np.full([3, 50], -1))
        assert measured["coverage@50"]["value"] == 0.0
        assert measured["recall@50"]["value"] == 0.0

    def test_difference_by_hand(self):
        best = np.array([[2, -1], [0, 2], [4, -1]])
        measured = self.evaluation.measure({"best": best, "worst": np.full([3, 2], -1)})
        assert measured.difference("best", "worst", "recall@20").value == pytest.approx(1.0)
        assert measured.difference("best", "best", "recall@20").value == 0.0

    def test_only_businesses_of_a_slice_are_relevant_in_it(self):
        # Business 4 is cold and wanted by user 2 alone; business 2 by users 0 and 1.
        ranked = np.array([[2, 4], [0, 4], [4, 2]])
        slices = _ranked(self.evaluation, ranked)["slices"]
        assert slices["cold_business"]["num_users"] == 1
        assert slices["cold_business"]["mrr"]["value"] == 1.0
        # User 0 finds business 2 first; user 1 finds 0, one of the two that they want.
        assert slices["warm_business"]["num_users"] == 2
        assert slices["warm_business"]["recall@10"]["value"] == pytest.approx(0.75)

    def test_without_users_there_are_no_metrics(self):
        known = Known.from_interactions(self.fitted, 4, 5)
        evaluation = RetrievalEvaluation(self.test[-1:], self.fitted, known)
        measured = evaluation.measure({"ours": np.zeros([0, 50], np.int32)})
        assert measured.to_json("ours", NUM_USERS) == {"num_users": 0, "slices": {}}

    def test_tables_whose_cells_exceed_32_bits(self):
        # 60,000 users x 50,000 businesses: 3e9 pairs.
        last = (59_999, 49_999, 5)
        known = Known(np.ones(60_000, int), np.ones(50_000, int))
        evaluation = RetrievalEvaluation(_ratings(last), _ratings((59_999, 0, 3)), known)
        assert evaluation.users.tolist() == [59_999]
        measured = _ranked(evaluation, np.array([[7, 49_999]]))
        assert measured["mrr"]["value"] == 0.5


def test_users_in_blocks_add_up_to_all(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.integers(200, size=1_000), rng.integers(60, size=1_000)
    test = Interactions(*rows, rng.integers(1, 6, 1_000).astype(np.float32))
    known = Known(np.arange(200) % 3, np.arange(60) % 4)
    rating = RatingEvaluation(test, known)
    retrieval = RetrievalEvaluation(test, test[:0], known)
    lists = rng.permuted(np.tile(np.arange(60), [len(retrieval.users), 1]), axis=1)

    predicted = np.linspace(1.0, 5.0, 1_000)

    def values():
        measured = rating.measure({"ours": predicted}), retrieval.measure({"ours": lists})
        return [
            (name, metric, m.num_users(name), m.interval("ours", metric, name).value)
            for m in measured
            for name in ("", *m.slices)
            for metric in m.metrics
        ]

    whole = values()
    monkeypatch.setattr(bootstrap, "_BLOCK_USERS", 7)
    blocks = values()
    assert [told[:3] for told in blocks] == [told[:3] for told in whole]
    np.testing.assert_allclose([v for *_, v in blocks], [v for *_, v in whole])
