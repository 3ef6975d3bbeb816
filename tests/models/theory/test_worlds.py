import dataclasses

import numpy as np
import pytest

from models.intrinsic_dimension import estimate_dimension
from models.theory.power_laws import fit_power_law
from models.theory.star_worlds import StarOptions, draw_star_world
from models.theory.worlds import (
    NOISE,
    RandomSeries,
    WorldOptions,
    draw_world,
    embed_cube,
)


@pytest.mark.parametrize("smoothness", [0.3, 0.6])
def test_increments_of_a_series_have_its_smoothness(smoothness):
    """E (f(z + h) - f(z))² ∝ h^2β for a process with β < 1 derivatives."""
    rng = np.random.default_rng(0)
    points = 0.9 * rng.random((500, 1))
    distances = [0.002, 0.004, 0.008, 0.016]
    squares = np.zeros(len(distances))
    for _ in range(15):
        series = RandomSeries.draw(rng, 1, smoothness, num_outputs=2)
        here = series(points)
        squares += [np.mean(np.square(series(points + h) - here)) for h in distances]
    law = fit_power_law(distances, squares, [0] * len(distances))
    assert law.exponent == pytest.approx(2 * smoothness, abs=0.1)


def test_outputs_of_a_series_have_mean_0_and_variance_1():
    rng = np.random.default_rng(1)
    values = RandomSeries.draw(rng, 2, 2.0, num_outputs=3)(rng.random((5_000, 2)))
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(values.std(axis=0), 1.0, atol=0.1)


@pytest.mark.parametrize("ambient", [4, 128])
def test_a_cube_keeps_its_dimension_in_any_space(ambient):
    rng = np.random.default_rng(2)
    rows = embed_cube(rng.random((3_000, 2)), ambient, rng)
    assert rows.shape == (3_000, ambient)
    np.testing.assert_allclose(rows.std(axis=0), 1.0, rtol=1e-3)
    assert estimate_dimension(rows).value == pytest.approx(2.0, rel=0.1)


def test_a_cube_does_not_fit_into_too_small_a_space():
    with pytest.raises(ValueError, match="at least 6 columns for 3 dimensions; got 5"):
        embed_cube(np.zeros([1, 3]), 5, np.random.default_rng(0))


class TestWorld:
    options = WorldOptions(num_ratings=2_000, ambient=8, seed=3)

    def test_splits_share_no_entity(self):
        world = draw_world(self.options)
        for side in ("user_rows", "business_rows"):
            parts = [set(getattr(split, side)) for split in (world.train, world.eval, world.test)]
            assert not parts[0] & parts[1]
            assert not parts[1] & parts[2]
            assert not parts[0] & parts[2]

    def test_the_truth_has_variance_about_1_and_the_noise_its_own(self):
        world = draw_world(dataclasses.replace(self.options, num_ratings=20_000))
        truth = world.test.stars.var()
        assert 0.5 < truth < 2.0
        assert world.train.stars.var() - truth == pytest.approx(NOISE**2, abs=0.2)

    def test_the_same_options_give_the_same_world(self):
        one, other = draw_world(self.options), draw_world(self.options)
        np.testing.assert_array_equal(one.train.stars, other.train.stars)
        np.testing.assert_array_equal(one.user_covariates, other.user_covariates)
        another = draw_world(dataclasses.replace(self.options, seed=4))
        assert not np.array_equal(one.train.stars, another.train.stars)


class TestStarWorld:
    def test_cold_users_have_test_ratings_only(self):
        world = draw_star_world(StarOptions(4_000, cold_share=0.3))
        cold = np.arange(world.users.num_rows) < 0.3 * world.users.num_rows
        assert not cold[world.train.user_rows].any()
        assert not cold[world.eval.user_rows].any()
        assert cold[world.test.user_rows].mean() == pytest.approx(0.3, abs=0.03)

    def test_stars_are_whole_and_a_tenth_is_eval(self):
        world = draw_star_world(StarOptions(4_000))
        assert set(np.unique(world.train.stars)) == {1.0, 2.0, 3.0, 4.0, 5.0}
        assert len(world.eval) == pytest.approx(400, rel=0.2)
        assert len(world.train) + len(world.eval) == 4_000
        assert len(world.test) == 5_000

    @pytest.mark.parametrize("informative", [True, False])
    def test_covariates_tell_of_the_mean_rating_only_if_they_are_informative(self, informative):
        world = draw_star_world(StarOptions(8_000, informative=informative))
        num = world.users.num_rows
        counts = np.maximum(np.bincount(world.train.user_rows, minlength=num), 1)
        means = np.bincount(world.train.user_rows, world.train.stars, num) / counts
        columns = np.concatenate([world.users.numeric[:, :4], np.ones([num, 1])], axis=1)
        half = num // 2
        weights, *_ = np.linalg.lstsq(columns[:half], means[:half], rcond=None)
        explained = np.corrcoef(columns[half:] @ weights, means[half:])[0, 1]
        assert (explained > 0.4) == informative
