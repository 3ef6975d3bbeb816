import numpy as np
import pytest
import tensorflow as tf

from models import factors
from models.factors import Factors, fit_factors, fold_in
from models.tables import Interactions

_NUM_USERS, _NUM_BUSINESSES = 60, 40


def ratings(users, businesses):
    stars = np.full(len(users), 3.0, np.float32)
    return Interactions(np.asarray(users, np.int32), np.asarray(businesses, np.int32), stars)


def planted(seed=0, noise=0.3):
    """Four of five cells of a matrix of rank 2, with noise; residuals are about 0.85 + noise."""
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(_NUM_USERS, 2))
    businesses = 0.6 * rng.normal(size=(_NUM_BUSINESSES, 2))
    rows, columns = np.nonzero(rng.random((_NUM_USERS, _NUM_BUSINESSES)) < 0.8)
    residuals = (users[rows] * businesses[columns]).sum(axis=1) + noise * rng.normal(size=len(rows))
    return ratings(rows, columns), residuals.astype(np.float32)


def noise_only(density, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((200, 100)) < density)
    return ratings(rows, columns), rng.normal(size=len(rows)).astype(np.float32)


def fit(interactions, residuals, factor_dim=4, seed=0, **changes):
    # One more user and one more business than those who are in the ratings.
    return fit_factors(
        interactions, residuals, _NUM_USERS + 1, _NUM_BUSINESSES + 1, factor_dim, seed, **changes
    )


def predict(found, interactions):
    users, businesses = interactions.user_rows, interactions.business_rows
    return (found.users[users] * found.businesses[businesses]).sum(axis=1)


def rmse(found, interactions, residuals):
    return float(np.sqrt(np.mean(np.square(predict(found, interactions) - residuals))))


@pytest.fixture(scope="module")
def found():
    return fit(*planted())


class TestFit:
    def test_shapes(self, found):
        assert found.users.shape == (_NUM_USERS + 1, 4)
        assert found.businesses.shape == (_NUM_BUSINESSES + 1, 4)
        assert found.ridge.shape == (4,)
        assert found.users.dtype == found.businesses.dtype == found.ridge.dtype == np.float32
        assert (found.factor_dim, found.weight) == (4, 1.0)

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("factor_dim", [2, 4, 16])
    def test_planted_structure_is_found_in_held_out_ratings(self, seed, factor_dim):
        interactions, residuals = planted(seed)
        held_out = np.random.default_rng(9).random(len(residuals)) < 0.2
        found = fit(interactions[~held_out], residuals[~held_out], factor_dim)
        error = rmse(found, interactions[held_out], residuals[held_out])
        # The noise alone is 0.3; without factors the error is the residuals' own deviation.
        assert 0.27 < error < 0.36
        assert error < 0.5 * residuals[held_out].std()

    @pytest.mark.parametrize("seed", range(3))
    def test_planted_structure_is_found_where_ratings_are_sparse(self, seed):
        """One cell of 25, 20 ratings each: from a random start the priors shrink all to nothing."""
        rng = np.random.default_rng(seed)
        users, businesses = rng.normal(size=(2, 500, 2))
        rows, columns = rng.integers(500, size=(2, 15_000))
        signal = np.sqrt(0.2) * (users[rows] * businesses[columns]).sum(axis=1)
        residuals = (signal + 0.7 * rng.normal(size=len(rows))).astype(np.float32)
        known = slice(10_000)
        found = fit_factors(ratings(rows[known], columns[known]), residuals[known], 500, 500, 4, 0)
        new = ratings(rows[10_000:], columns[10_000:])
        left = np.square(signal[10_000:] - predict(found, new)).mean()
        assert left < 0.5 * np.square(signal[10_000:]).mean()

    def test_one_factor_of_two_explains_a_part(self):
        interactions, residuals = planted()
        one, two = (
            rmse(fit(interactions, residuals, dim), interactions, residuals) for dim in (1, 2)
        )
        assert two + 0.1 < one < 0.9 * residuals.std()

    def test_superfluous_factors_are_shrunk_to_nothing(self):
        # The priors see that two are enough: the others add less than a hundredth of a star.
        found = fit(*planted(), factor_dim=6, num_sweeps=40)
        sizes = np.sqrt(
            np.square(found.users).mean(axis=0) * np.square(found.businesses).mean(axis=0)
        )
        assert sorted(sizes > 0.01) == [False] * 4 + [True] * 2
        assert found.ridge[sizes > 0.01].max() < found.ridge[sizes <= 0.01].min()

    def test_the_ridge_is_the_noise_over_the_variance_of_users(self):
        # The variance of the noise is 0.09; with 32 ratings a user, the factors are nearly exact.
        found = fit(*planted(), factor_dim=2, num_sweeps=40)
        variances = np.square(found.users[:_NUM_USERS]).mean(axis=0)
        np.testing.assert_allclose(found.ridge * variances, [0.09, 0.09], rtol=0.1)

    @pytest.mark.parametrize("density", [0.03, 0.1])
    @pytest.mark.parametrize("seed", range(2))
    def test_noise_has_no_factors(self, density, seed):
        found = fit_factors(*noise_only(density, seed), 200, 100, 4, seed)
        assert found.factor_dim == 0
        assert found.users.shape == (200, 0)
        assert found.businesses.shape == (100, 0)

    def test_noise_predicts_nothing(self):
        # Whatever the dimension: less than a thousandth of a star for anybody.
        interactions, residuals = noise_only(0.03)
        found = fit_factors(interactions, residuals, 200, 100, 4, 0)
        assert np.abs(predict(found, interactions)).max() < 1e-3

    def test_no_residuals_have_no_factors(self):
        interactions, residuals = planted()
        assert fit(interactions, np.zeros_like(residuals)).factor_dim == 0

    def test_the_same_seed_gives_the_same_factors(self, found):
        again = fit(*planted())
        np.testing.assert_array_equal(again.users, found.users)
        np.testing.assert_array_equal(again.businesses, found.businesses)
        np.testing.assert_array_equal(again.ridge, found.ridge)
        assert not np.array_equal(fit(*planted(), seed=1).businesses, found.businesses)

    def test_the_order_of_ratings_does_not_matter(self, found):
        interactions, residuals = planted()
        order = np.random.default_rng(0).permutation(len(residuals))
        shuffled = fit(interactions[order], residuals[order])
        np.testing.assert_allclose(shuffled.users, found.users, atol=1e-3)

    def test_who_has_no_ratings_has_no_factors(self, found):
        assert not found.users[_NUM_USERS].any()
        assert not found.businesses[_NUM_BUSINESSES].any()
        assert np.isfinite(found.users).all()
        assert np.isfinite(found.businesses).all()

    def test_does_not_depend_on_the_block_size(self, found, monkeypatch):
        monkeypatch.setattr(factors, "_BLOCK_ROWS", 7)
        np.testing.assert_allclose(fit(*planted()).users, found.users, atol=1e-3)

    @pytest.mark.parametrize("factor_dim", [1, 3])
    @pytest.mark.parametrize("residual", [-2.0, 0.0, 0.5])
    def test_one_rating_gives_finite_factors(self, factor_dim, residual):
        found = fit_factors(ratings([0], [0]), np.array([residual]), 1, 1, factor_dim, 0)
        assert found.users.shape == found.businesses.shape == (1, found.factor_dim)
        assert np.isfinite(found.users).all()
        assert np.isfinite(found.businesses).all()
        assert np.isfinite(found.ridge).all()

    # The larger side has 61 rows of covariances of 4 x 4 floats of 4 bytes: 3,904 bytes.
    @pytest.mark.parametrize(("max_bytes", "factor_dim"), [(3_904, 4), (3_903, 0)])
    def test_covariances_over_the_memory_bound_leave_the_factors_out(
        self, monkeypatch, max_bytes, factor_dim
    ):
        monkeypatch.setattr(factors, "_MAX_BYTES", max_bytes)
        found = fit(*planted())
        assert found.factor_dim == factor_dim
        assert found.users.shape == (_NUM_USERS + 1, factor_dim)
        assert found.businesses.shape == (_NUM_BUSINESSES + 1, factor_dim)


class TestFoldIn:
    def test_one_factor_by_hand(self):
        # Σ v r / (Σ v² + ridge) = (1·0.5 + 2·(-1)) / (1 + 4 + 3) = -1.5 / 8.
        found = fold_in(
            tf.constant([[[1.0], [2.0]]]),
            tf.constant([[0.5, -1.0]]),
            tf.constant([[True, True]]),
            tf.constant([3.0]),
        )
        np.testing.assert_allclose(found, [[-1.5 / 8]], rtol=1e-6)

    def test_two_factors_by_hand(self):
        # Businesses (1, 0) and (1, 1), residuals 1 and 2, ridge 1 and 2: the equations are
        #   (2 + 1) x +       y = 3
        #         x + (1 + 2) y = 2;  x = 7/8, y = 3/8.
        found = fold_in(
            tf.constant([[[1.0, 0.0], [1.0, 1.0]]]),
            tf.constant([[1.0, 2.0]]),
            tf.constant([[True, True]]),
            tf.constant([1.0, 2.0]),
        )
        np.testing.assert_allclose(found, [[7 / 8, 3 / 8]], rtol=1e-6)

    def test_padding_does_not_count(self):
        # (2·1) / (4 + 1) of the first; the second, of nobody, is zero whatever its padding says.
        found = fold_in(
            tf.constant([[[2.0], [9.0]], [[9.0], [9.0]]]),
            tf.constant([[1.0, 9.0], [9.0, 9.0]]),
            tf.constant([[True, False], [False, False]]),
            tf.constant([1.0]),
        )
        np.testing.assert_allclose(found, [[2 / 5], [0.0]], rtol=1e-6)

    @pytest.mark.parametrize("padding", [0, 5])
    def test_gives_the_factors_of_the_users_who_were_fitted(self, found, padding):
        interactions, residuals = planted()
        length = int(np.bincount(interactions.user_rows).max()) + padding
        rng = np.random.default_rng(3)
        # Padding holds any numbers.
        rows = rng.integers(_NUM_BUSINESSES, size=(_NUM_USERS + 1, length))
        values = rng.normal(size=rows.shape).astype(np.float32)
        rated = np.zeros(rows.shape, bool)
        for user in range(_NUM_USERS):
            own = interactions.user_rows == user
            places = rng.permutation(length)[: own.sum()]
            rows[user, places] = interactions.business_rows[own]
            values[user, places] = residuals[own]
            rated[user, places] = True
        folded = fold_in(
            tf.gather(found.businesses, rows),
            tf.constant(values),
            tf.constant(rated),
            tf.constant(found.ridge),
        )
        np.testing.assert_allclose(folded, found.users, atol=1e-4)

    def test_a_business_that_was_rated_twice_counts_twice(self):
        interactions, residuals = planted()
        interactions, residuals = interactions + interactions[:3], np.append(residuals, [1, 2, 3])
        found = fit(interactions, residuals)
        own = interactions.user_rows == interactions.user_rows[0]
        folded = fold_in(
            tf.constant(found.businesses[interactions.business_rows[own]][None]),
            tf.constant(residuals[own][None], tf.float32),
            tf.ones([1, own.sum()], tf.bool),
            tf.constant(found.ridge),
        )
        np.testing.assert_allclose(folded[0], found.users[interactions.user_rows[0]], atol=1e-4)


class TestWeighted:
    def test_scales_users_only(self, found):
        half = found.weighted(0.5)
        np.testing.assert_allclose(half.users, 0.5 * found.users)
        np.testing.assert_array_equal(half.businesses, found.businesses)
        np.testing.assert_array_equal(half.ridge, found.ridge)
        assert half.weight == 0.5
        assert half.users.dtype == np.float32

    def test_replaces_the_weight_there_was(self, found):
        back = found.weighted(0.25).weighted(0.75)
        np.testing.assert_allclose(back.users, found.weighted(0.75).users, rtol=1e-6)
        assert back.weight == 0.75

    def test_none_has_dimension_0(self):
        none = Factors.none(3, 2)
        assert (none.users.shape, none.businesses.shape) == ((3, 0), (2, 0))
        assert (none.factor_dim, none.weight) == (0, 0)
