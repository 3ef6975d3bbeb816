import numpy as np
import pytest

from models.baselines import choosing
from models.baselines.global_mean import GlobalMean
from models.baselines.popularity import Popularity


def test_the_least_loss_wins_and_the_first_of_equals():
    losses = {"a": 2.0, "b": 1.0, "c": 1.0}
    chosen = choosing.choose(list(losses), losses.__getitem__, seconds=60.0)
    assert chosen == choosing.Chosen("b", 1.0)


def test_without_time_only_the_first_is_tried():
    tried = []
    chosen = choosing.choose(["a", "b"], lambda c: tried.append(c) or 1.0, seconds=0.0)
    assert chosen == choosing.Chosen("a", 1.0)
    assert tried == ["a"]


def test_no_trial_begins_that_would_end_too_late(monkeypatch, caplog):
    # Each trial takes 4 s: the third would end after 12 s.
    now = [0.0]
    monkeypatch.setattr(choosing.time, "monotonic", lambda: now[0])
    caplog.set_level("INFO", "t2rec")
    tried = []

    def loss(choice):
        now[0] += 4.0
        tried.append(choice)
        return -choice

    assert choosing.choose([1, 2, 3], loss, seconds=10.0).value == 2
    assert tried == [1, 2]
    assert "tried 2 of 3 choices" in caplog.text


class TestOfSomeUsers:
    @pytest.fixture
    def data(self, make_data):
        rng = np.random.default_rng(0)
        pairs = [(user, place) for user in range(1_000) for place in range(6)]
        triples = [
            (*pair, stars) for pair, stars in zip(pairs, rng.uniform(1, 5, 6_000), strict=True)
        ]
        train, held_out = (
            [one for one in triples if (one[1] == 5) == is_eval] for is_eval in (False, True)
        )
        return make_data(train, held_out, 1_000, 6)

    def test_whole_users_remain_in_both_splits(self, data):
        some = choosing.of_some_users(data, 1_500)
        users = np.unique(some.train.user_rows)
        assert len(users) == pytest.approx(300, abs=60)
        assert len(some.train) == 5 * len(users)
        np.testing.assert_array_equal(np.unique(some.held_out.user_rows), users)
        is_kept = np.isin(data.train.user_rows, users)
        np.testing.assert_array_equal(some.train.stars, data.train.stars[is_kept])

    def test_what_is_fitted_in_the_end_is_all(self, data):
        assert choosing.of_some_users(data, 1_500).fitted is data.fitted

    def test_few_ratings_are_left_alone(self, data):
        assert choosing.of_some_users(data) is data
        assert choosing.of_some_users(data, 5_000) is data


def test_the_loss_of_a_single_choice_is_known_too():
    assert choosing.choose(["a"], {"a": 0.5}.__getitem__, seconds=0.0).loss == 0.5


def test_nan_never_wins():
    losses = {"a": 3.0, "b": np.nan}
    assert choosing.choose(["a", "b"], losses.__getitem__, seconds=9.0).value == "a"


def test_rmse_by_hand(make_data):
    data = make_data([(0, 0, 2.0), (1, 0, 4.0)], [(0, 1, 3.0), (1, 1, 5.0)], 2, 2)
    # The mean of train is 3: errors 0 and 2.
    assert choosing.rmse(GlobalMean(data.train), data) == pytest.approx(2**0.5)


def test_missed_share_by_hand(make_data):
    # 25 businesses; business 24 is the least visited, the others twice as much.
    train = [(user, place, 5.0) for user in (0, 1) for place in range(24)] + [(2, 24, 5.0)]
    data = make_data(train, [(3, 0, 5.0), (3, 24, 5.0), (0, 24, 5.0)], 4, 25)
    # User 3 finds one of two among the first twenty; user 0 has seen all but what is wanted.
    missed = choosing.MissedShare(data)
    assert missed(Popularity(data.train, 25)) == pytest.approx(0.25)


def test_without_eval_nothing_is_missed(make_data):
    data = make_data([(0, 0, 2.0)], [], 1, 1)
    assert choosing.MissedShare(data)(Popularity(data.train, 1)) == 0.0
    assert choosing.rmse(GlobalMean(data.train), data) == 0.0
