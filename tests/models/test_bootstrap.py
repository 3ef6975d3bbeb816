import math

import numpy as np
import pytest

from models.bootstrap import MIN_USERS, Interval, UserBootstrap


def _sums(bootstrap, **groups):
    """Adds up groups of users, each told as its users and their columns."""

    def read(start, stop):
        return {
            name: (users[(users >= start) & (users < stop)],
                   columns[(users >= start) & (users < stop)])
            for name, (users, columns) in groups.items()
        }  # fmt: skip

    return bootstrap.sums(read)


def _of_all(bootstrap, columns):
    return _sums(bootstrap, all=(np.arange(len(columns)), columns))["all"]


def _ratio(bootstrap, numerator, denominator, transform=None):
    columns = np.stack([numerator, denominator], axis=1)
    return _of_all(bootstrap, columns).ratio(0, 1, transform)


def _difference(bootstrap, numerator, other, denominator, transform=None):
    columns = np.stack([numerator, other, denominator], axis=1)
    return _of_all(bootstrap, columns).difference(0, 1, 2, transform)


class TestUserBootstrap:
    def setup_method(self):
        rng = np.random.default_rng(0)
        self.counts = rng.integers(1, 20, 300).astype(float)
        self.errors = self.counts * rng.gamma(2.0, 0.5, 300)
        self.bootstrap = UserBootstrap(300, seed=3)

    def test_value_is_the_ratio_itself(self):
        interval = _ratio(self.bootstrap, self.errors, self.counts)
        assert interval.value == pytest.approx(self.errors.sum() / self.counts.sum())
        assert interval.low < interval.value < interval.high

    def test_transform_applies_to_value_and_ends(self):
        plain = _ratio(self.bootstrap, self.errors, self.counts)
        root = _ratio(self.bootstrap, self.errors, self.counts, np.sqrt)
        for end in ("value", "low", "high"):
            assert getattr(root, end) ** 2 == pytest.approx(getattr(plain, end), rel=1e-4)

    def test_width_is_that_of_the_normal_approximation(self):
        # The mean of n values has a 95 % interval of ±1.96 s/√n.
        values = np.random.default_rng(5).normal(2.0, 1.0, 4_000)
        interval = _ratio(UserBootstrap(4_000), values, np.ones(4_000))
        expected = 2 * 1.96 * values.std() / math.sqrt(4_000)
        assert interval.high - interval.low == pytest.approx(expected, rel=0.1)

    def test_users_are_drawn_and_not_ratings(self):
        # 100 users with 50 equal ratings each carry no more than 100 independent values.
        values = np.random.default_rng(6).normal(size=100)
        interval = _ratio(UserBootstrap(100), values * 50, np.full(100, 50.0))
        expected = 2 * 1.96 * values.std() / 10
        assert interval.high - interval.low == pytest.approx(expected, rel=0.2)

    def test_several_groups_are_those_of_one_at_a_time(self):
        some = np.arange(50, 300, 3)
        columns = np.stack([self.errors, self.counts], axis=1)
        sums = _sums(self.bootstrap, whole=(np.arange(300), columns), part=(some, columns[some]))
        whole, part = sums["whole"], sums["part"]
        alone = _ratio(self.bootstrap, self.errors, self.counts, np.sqrt)
        assert whole.ratio(0, 1, np.sqrt) == alone
        # The weights go with the users, not with their places in a group.
        masked = np.zeros((300, 2))
        masked[some] = columns[some]
        expected = _of_all(self.bootstrap, masked)
        np.testing.assert_allclose(part.resampled, expected.resampled)
        assert part.num_users == len(some)

    def test_weights_are_poisson_of_mean_one(self):
        weights = _of_all(UserBootstrap(200, num_resamples=5_000), np.eye(200)).resampled
        assert weights.mean() == pytest.approx(1.0, abs=0.005)
        assert weights.var() == pytest.approx(1.0, abs=0.01)
        assert (weights == 0).mean() == pytest.approx(math.exp(-1), abs=0.002)

    def test_a_model_differs_by_exactly_nothing_from_itself(self):
        same = _difference(self.bootstrap, self.errors, self.errors, self.counts, np.sqrt)
        assert same == Interval(0.0, 0.0, 0.0)

    def test_differences_are_paired(self):
        # A constant advantage of .1 a rating has no spread at all, unlike either model.
        difference = _difference(
            self.bootstrap, self.errors + 0.1 * self.counts, self.errors, self.counts
        )
        assert difference.value == pytest.approx(0.1)
        assert difference.high - difference.low == pytest.approx(0.0, abs=1e-9)

    def test_the_same_seed_gives_the_same_interval(self):
        again = _ratio(UserBootstrap(300, seed=3), self.errors, self.counts)
        assert again == _ratio(self.bootstrap, self.errors, self.counts)
        other = _ratio(UserBootstrap(300, seed=4), self.errors, self.counts)
        assert (other.low, other.high) != (again.low, again.high)

    def test_more_users_than_a_block(self):
        values = np.random.default_rng(7).normal(1.0, 1.0, 25_000)
        interval = _ratio(UserBootstrap(25_000, num_resamples=50), values, np.ones(25_000))
        assert interval.low < interval.value < interval.high
        assert interval.high - interval.low < 0.05

    def test_groups_add_up_over_blocks_and_one_of_nobody_is_left_out(self):
        values = np.random.default_rng(8).normal(1.0, 1.0, (25_000, 1))
        late = np.arange(20_000, 25_000, 5)  # In the last block alone.
        sums = _sums(
            UserBootstrap(25_000, num_resamples=20),
            late=(late, values[late]),
            all=(np.arange(25_000), values),
            nobody=(late[:0], values[:0]),
        )
        assert list(sums) == ["late", "all"]
        assert sums["late"].num_users == 1_000
        np.testing.assert_allclose(sums["late"].sums, values[late].sum(axis=0))
        np.testing.assert_allclose(sums["all"].sums, values.sum(axis=0))
        assert sums["late"].resampled.std() == pytest.approx(
            np.sqrt((values[late] ** 2).sum()), rel=0.5
        )

    def test_json_has_the_three_numbers(self):
        assert Interval(1.23456789, 1, 2.0).to_json() == {
            "value": 1.234568,
            "low": 1.0,
            "high": 2.0,
        }

    def test_few_users_have_no_interval(self):
        few = _ratio(UserBootstrap(3), np.array([1.0, 2.0, 3.0]), np.ones(3))
        assert few.value == 2.0
        assert few.to_json() == {"value": 2.0}
        # As docs/validation.md promises.
        assert MIN_USERS == 30
        for num_users in (29, 30):
            found = _ratio(UserBootstrap(num_users), np.arange(num_users) * 1.0, np.ones(num_users))
            assert ("low" in found.to_json()) is (num_users == 30)
