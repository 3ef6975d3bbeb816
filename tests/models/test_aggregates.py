import math

import numpy as np
import pytest

from models.aggregates import (
    NUM_AGGREGATES,
    NUM_SUMS,
    aggregate_features,
    cross_fit,
    rating_columns,
    shrunken_bias,
    sum_ratings,
    sum_side,
)
from models.bias import BiasModel, fit_bias
from models.ridge import Priors
from models.tables import Interactions
from models.taste import Taste

_SHRINKAGES = (3.0, 2.0)


def _random_ratings(num_ratings=60, num_users=6, num_businesses=5, seed=0):
    rng = np.random.default_rng(seed)
    return Interactions(
        rng.integers(num_users, size=num_ratings),
        rng.integers(num_businesses, size=num_ratings),
        rng.integers(1, 6, num_ratings).astype(np.float32),
    )


def test_columns_by_hand():
    columns = rating_columns(
        np.array([5.0, 1.0, 4.0]), np.array([0.5, -2.0, 0.0]), np.array([2.0, 0.0, 0.5])
    )
    # Count, residual, its square, is it five stars, is it one, age.
    assert np.stack(list(columns), axis=1).tolist() == [
        [1, 0.5, 0.25, 1, 0, 2],
        [1, -2.0, 4.0, 0, 1, 0],
        [1, 0, 0, 0, 0, 0.5],
    ]


class TestSumRatings:
    ratings = Interactions(
        np.array([0, 0, 1]),
        np.array([0, 1, 0]),
        np.array([5.0, 1.0, 4.0], np.float32),
        # One year before the newest, the newest, and half a year before it.
        np.array([0, 31_557_600, 15_778_800]),
    )
    bias = BiasModel(
        3.0, np.array([0.5, -0.5, 0.0]), np.array([1.0, -1.0]), 1.0, 1.0, Priors.none(3, 2)
    )

    def test_sums_by_hand(self):
        sums = sum_ratings(self.ratings, self.bias)
        # A user's residuals are against the mean and the business: user 0 has 5-3-1 = 1 and
        # 1-3+1 = -1, user 1 has 4-3-1 = 0, user 2 has no ratings.
        assert sums.users.tolist() == [
            [2, 0, 2, 1, 1, 1],
            [1, 0, 0, 0, 0, 0.5],
            [0, 0, 0, 0, 0, 0],
        ]
        # A business's are against the mean and the user: business 0 has 5-3-.5 = 1.5 and
        # 4-3+.5 = 1.5, business 1 has 1-3-.5 = -2.5.
        assert sums.businesses.tolist() == [[2, 3, 4.5, 1, 0, 1.5], [1, -2.5, 6.25, 0, 1, 0]]
        assert sums.bias is self.bias

    def test_sums_along_taste_coordinates_by_hand(self):
        taste = Taste(
            np.array([[2.0], [4.0], [8.0]]), np.array([[1.0, 0.0], [-3.0, 0.5]]), np.zeros([0, 1])
        )
        sums = sum_ratings(self.ratings, self.bias, taste=taste)
        # User 0 visited both businesses, with residuals 1 and -1; user 1 the first, with 0.
        assert sums.users[:, 6:].tolist() == [[-2, 0.5, 4, -0.5], [1, 0, 0, 0], [0, 0, 0, 0]]
        # Business 0 was visited by users 0 and 1, residuals 1.5; business 1 by user 0, -2.5.
        assert sums.businesses[:, 6:].tolist() == [[6, 9], [2, -5]]
        assert sums.taste is taste

    @pytest.mark.parametrize("order", ["user_rows", "business_rows", "stars"])
    def test_sums_are_the_same_in_any_order(self, order):
        ratings, rng = _random_ratings(), np.random.default_rng(3)
        bias = fit_bias(ratings, 6, 5, *_SHRINKAGES)
        users, businesses = (rng.normal(size=(rows, 3)).astype("f4") for rows in (6, 5))
        taste = Taste(users, businesses, np.zeros([0, 1]))
        expected = sum_ratings(ratings, bias, taste)
        ordered = ratings[np.argsort(getattr(ratings, order), kind="stable")]
        found = sum_ratings(ordered, bias, taste)
        np.testing.assert_allclose(found.users, expected.users, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.businesses, expected.businesses, rtol=1e-5, atol=1e-5)
        # Which sorts them; these take the order that they get.
        visitors, visited = ordered.user_rows, ordered.business_rows
        for rows, others, taken_off, coordinates, sums in (
            (visitors, visited, bias.business_bias, businesses, expected.users),
            (visited, visitors, bias.user_bias, users, expected.businesses),
        ):
            residual = ordered.stars - bias.mean_stars - taken_off[others]
            columns = (ordered.stars, residual, ordered.ages_years())
            side = sum_side(rows, *columns, others, coordinates, len(sums))
            np.testing.assert_allclose(side, sums, rtol=1e-5, atol=1e-5)


class TestAggregateFeatures:
    def test_features_by_hand(self):
        # Four ratings, residuals sum to 2, squares to 3; two fives, one one; ages sum to 6 years.
        features = aggregate_features(np.array([[4, 2, 3, 2, 1, 6]], np.float32), 6.0).numpy()
        assert features.shape == (1, NUM_AGGREGATES)
        expected = [
            0.2,  # 2 / (4 + 6)
            0.4,  # 2 / (4 + 1)
            2 / 9,  # 2 / (4 + 5)
            2 / 29,  # 2 / (4 + 25)
            math.log(5) / 2,
            0.0,
            # Variance (3 + 4·1.2) / (4 + 4) = .975.
            math.log(0.975) / 2,
            # Shares (2 + 4·.4)/8 = .45 and (1 + 4·.12)/8 = .185, less .4 and .12: .05 - .065.
            -0.015,
            math.log(2.5),  # 6 / 4 years
        ]
        np.testing.assert_allclose(features[0], expected, rtol=1e-5, atol=1e-7)

    def test_without_ratings_only_the_flag_and_the_prior_remain(self):
        features = aggregate_features(np.zeros([1, NUM_SUMS], np.float32), 6.0).numpy()
        expected = [0, 0, 0, 0, 0, 1, math.log(1.2) / 2, 0, 0]
        np.testing.assert_allclose(features[0], expected, rtol=1e-5, atol=1e-7)

    def test_taste_features_by_hand(self):
        # Four ratings, a bias of .2; positions sum to 3 and -1, residuals times them to 5 and 1.
        sums = np.array([[4, 2, 3, 2, 1, 6, 3, -1, 5, 1]], np.float32)
        features = aggregate_features(sums, 6.0).numpy()[0, NUM_AGGREGATES:]
        # Means 3/(4+2), -1/(4+2); twice (5 - .2·3)/(4+5) and (1 + .2·1)/(4+5).
        np.testing.assert_allclose(features, [0.5, -1 / 6, 2 * 4.4 / 9, 2 * 1.2 / 9], rtol=1e-5)


class TestCrossFit:
    num_folds, seed = 4, 11

    def _fit(self, ratings):
        known = cross_fit(ratings, 6, 5, _SHRINKAGES, self.num_folds, self.seed)
        return known.user_sums, known.business_sums

    def _folds(self, ratings):
        """Finds which rows share a fold by which sums a change of a row leaves alone."""
        users, businesses = self._fit(ratings)
        same = np.zeros([len(ratings), len(ratings)], bool)
        for row in range(len(ratings)):
            stars = ratings.stars.copy()
            stars[row] = 6.0 - stars[row] if stars[row] != 3.0 else 5.0
            changed_users, changed_businesses = self._fit(
                Interactions(ratings.user_rows, ratings.business_rows, stars)
            )
            same[row] = (users == changed_users).all(axis=1) & (
                businesses == changed_businesses
            ).all(axis=1)
        return same

    def test_a_rating_reaches_every_other_fold_and_nothing_in_its_own(self):
        same = self._folds(_random_ratings())
        assert same.diagonal().all()
        # "Unchanged together" is an equivalence with as many classes as folds: a rating moves the
        # mean, and so every residual of the other folds.
        assert (same == same.T).all()
        classes = {tuple(np.flatnonzero(row)) for row in same}
        assert len(classes) == self.num_folds
        assert sum(map(len, classes)) == len(same)

    def test_sums_are_those_of_a_fit_without_the_fold(self):
        ratings = _random_ratings()
        users, businesses = self._fit(ratings)
        folds = {tuple(np.flatnonzero(row)) for row in self._folds(ratings)}
        for rows in map(np.array, folds):
            outside = np.setdiff1d(np.arange(len(ratings)), rows)
            others = ratings[outside]
            sums = sum_ratings(others, fit_bias(others, 6, 5, *_SHRINKAGES))
            np.testing.assert_allclose(users[rows], sums.users[ratings.user_rows[rows]])
            np.testing.assert_allclose(
                businesses[rows], sums.businesses[ratings.business_rows[rows]]
            )

    def test_the_only_rating_of_an_entity_leaves_it_without_ratings(self):
        lone = Interactions(np.array([6]), np.array([5]), np.array([5.0], np.float32))
        known = cross_fit(_random_ratings() + lone, 7, 6, _SHRINKAGES, 4, 1)
        assert not known.user_sums[-1].any()
        assert not known.business_sums[-1].any()
        assert known.user_sums[:-1, 0].min() > 0

    @pytest.mark.parametrize("num_ratings", [1, 2])
    def test_hardly_any_ratings(self, num_ratings):
        ratings = _random_ratings(num_ratings)
        users, businesses = self._fit(ratings)
        assert users.shape == businesses.shape == (num_ratings, NUM_SUMS)
        assert np.isfinite(users).all()
        assert (users[:, 0] < num_ratings).all()

    def test_beyond_the_memory_sums_lie_on_disk(self):
        taste = Taste(np.ones((6, 2), np.float32), np.ones((5, 3), np.float32), np.zeros([0, 1]))
        arguments = (_random_ratings(), 6, 5, _SHRINKAGES, self.num_folds, self.seed, taste)
        # 60 ratings: 12 columns of a user's sums and 10 of a business's, 4 bytes each.
        in_memory = cross_fit(*arguments, max_bytes=60 * 22 * 4)
        on_disk = cross_fit(*arguments, max_bytes=60 * 22 * 4 - 1)
        for name in ("user_sums", "business_sums"):
            one, other = getattr(in_memory, name), getattr(on_disk, name)
            assert not isinstance(one, np.memmap)
            assert isinstance(other, np.memmap)
            np.testing.assert_array_equal(one, other)

    def test_the_same_seed_gives_the_same_folds(self):
        first, again = self._fit(_random_ratings()), self._fit(_random_ratings())
        np.testing.assert_array_equal(first, again)
        other = cross_fit(_random_ratings(), 6, 5, _SHRINKAGES, self.num_folds, self.seed + 1)
        assert (other.user_sums != first[0]).any()

    def test_priors_come_from_other_folds_as_well(self):
        ratings = _random_ratings()
        seen = []

        def fit_priors(others):
            seen.append(others)
            return Priors(
                np.full(6, 0.5), np.arange(5.0) + len(seen), np.zeros(0), 0.0, 0.0, np.zeros(0)
            )

        known = cross_fit(ratings, 6, 5, _SHRINKAGES, self.num_folds, self.seed, None, fit_priors)
        # Four folds are four groups: which one a row is in, its prior tells.
        group = known.business_priors - ratings.business_rows - 1
        assert sorted(set(group)) == [0, 1, 2, 3]
        for number, others in enumerate(seen):
            outside = ratings[group != number]
            np.testing.assert_array_equal(others.stars, outside.stars)
            priors = Priors(
                np.full(6, 0.5), np.arange(5.0) + number + 1, np.zeros(0), 0.0, 0.0, np.zeros(0)
            )
            sums = sum_ratings(outside, fit_bias(outside, 6, 5, *_SHRINKAGES, priors=priors))
            rows = group == number
            np.testing.assert_allclose(
                known.user_sums[rows], sums.users[ratings.user_rows[rows]], rtol=1e-5
            )


def test_a_shrunken_bias_lies_between_the_prior_and_the_mean_by_hand():
    sums = np.zeros([2, NUM_SUMS], np.float32)
    sums[0, :2] = [4, 2]  # Four ratings that are half a star above; the other entity has none.
    found = shrunken_bias(sums, np.array([[1.0], [-0.3]], np.float32), 6.0)
    np.testing.assert_allclose(found[:, 0], [(2 + 6 * 1.0) / 10, -0.3], rtol=1e-6)
