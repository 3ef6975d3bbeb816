"""Each tripwire is quiet on sound data and fires on data that was sabotaged."""

import dataclasses

import numpy as np
import pytest

from models import metrics, tripwires
from models.bootstrap import Interval
from models.tables import Bag, Interactions

RNG = np.random.default_rng(0)


def interactions(cells, first_second=0):
    users, businesses = np.divmod(np.asarray(cells), 20)
    return Interactions(
        users.astype(np.int32),
        businesses.astype(np.int32),
        (1 + users % 5).astype(np.float32),
        first_second + np.arange(len(users)),
    )


CELLS = RNG.permutation(30 * 20)
FITTED, TEST = interactions(CELLS[:300]), interactions(CELLS[300:400], 10_000)


class TestNoTestRowsInTrain:
    def test_quiet(self):
        assert tripwires.no_test_rows_in_train(TEST, FITTED).ok
        assert tripwires.no_test_rows_in_train(TEST[:0], FITTED).ok

    def test_a_later_visit_of_the_same_business_is_no_leak(self):
        again = dataclasses.replace(
            FITTED[:5], timestamps_seconds=FITTED[:5].timestamps_seconds + 9
        )
        assert tripwires.no_test_rows_in_train(again, FITTED).ok

    def test_fires(self):
        check = tripwires.no_test_rows_in_train(TEST, FITTED + TEST[[3, 50]])
        assert check.ok is False
        assert check.text.startswith("LEAK: 2 of 100 test rows are among the training rows")


class TestLearntFromFittedOnly:
    def state(self, learnt, mean_of=FITTED):
        return tripwires.LearntState(learnt.histories(30), float(mean_of.stars.mean()))

    def test_quiet(self):
        assert tripwires.learnt_from_fitted_only(self.state(FITTED), FITTED).ok

    def test_fires_on_histories(self):
        check = tripwires.learnt_from_fitted_only(self.state(FITTED + TEST[:7]), FITTED)
        assert check.ok is False
        assert "7 visits that are no training rows" in check.text

    def test_fires_on_the_mean_of_more_ratings(self):
        # A single test rating among 301 moves the mean by a few thousandths of a star.
        check = tripwires.learnt_from_fitted_only(self.state(FITTED, FITTED + TEST[:1]), FITTED)
        assert check.ok is False
        assert "0 visits that are no training rows, and a mean of" in check.text


class TestTermsFromTrainOnly:
    train = Interactions(np.array([0, 1]), np.array([0, 2]), np.array([4.0, 5.0]))

    def test_quiet(self):
        terms = Bag.from_pairs(np.array([0, 0, 2]), np.array([b"tea", b"cake", b"tea"]), 3)
        assert tripwires.terms_from_train_only(terms, self.train).ok

    def test_fires(self):
        terms = Bag.from_pairs(np.array([0, 1]), np.array([b"tea", b"from the test split"]), 3)
        check = tripwires.terms_from_train_only(terms, self.train)
        assert check.ok is False
        assert "1 businesses without training reviews have words" in check.text


class TestNoiseFloor:
    def test_quiet_at_the_floor_and_a_little_below_by_luck(self):
        rmse = {"a": Interval(0.70, 0.69, 0.71), "b": Interval(0.685, 0.675, 0.695)}
        assert tripwires.not_below_the_noise_floor(rmse, 0.70).ok

    def test_fires_and_names_the_model(self):
        rmse = {"t2rec": Interval(0.70, 0.69, 0.71), "ridge": Interval(0.5, 0.49, 0.51)}
        check = tripwires.not_below_the_noise_floor(rmse, 0.70)
        assert check.ok is False
        assert check.text.endswith("ridge 0.5000")


class TestApproximateNotAboveExact:
    queries = RNG.normal(size=(8, 6)).astype(np.float32)
    candidates = RNG.normal(size=(50, 6)).astype(np.float32)

    def scores(self, rows):
        scores = np.take_along_axis(self.queries @ self.candidates.T, np.maximum(rows, 0), 1)
        return -np.sort(-np.where(rows >= 0, scores, -np.inf), axis=1)

    def test_quiet_where_approximate_search_misses_some(self):
        exact = metrics.top_k(self.queries, self.candidates, 12)
        missed = exact[:, [0, 2, 3, 5, 6, 7, 8, 9, 10, 11]]
        pair = self.scores(missed), self.scores(exact[:, :10])
        assert tripwires.approximate_not_above_exact(*pair).ok

    def test_ties_are_no_error(self):
        tied = np.array([[3.0, 2.0, 2.0, -np.inf]])
        assert tripwires.approximate_not_above_exact(tied, tied * (1 - 1e-6)).ok

    @pytest.mark.parametrize("sabotage", ["another block is left out", "too much is excluded"])
    def test_fires_where_exact_search_is_broken(self, sabotage):
        sound = metrics.top_k(self.queries, self.candidates, 10)
        if sabotage == "too much is excluded":
            seen = Bag.from_pairs(np.arange(8), sound[:, 0], 8)
            broken = metrics.top_k(self.queries, self.candidates, 10, seen)
        else:
            broken = metrics.top_k(self.queries, self.candidates[:25], 10)
        check = tripwires.approximate_not_above_exact(self.scores(sound), self.scores(broken))
        assert check.ok is False
        assert "of 8 users" in check.text
