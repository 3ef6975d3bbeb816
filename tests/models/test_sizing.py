import dataclasses
import json

import numpy as np
import pytest

from models.options import AUTO, ModelOptions, Objective, TrainingOptions
from models.sizing import (
    ANCHOR_RATINGS,
    RATING_DIM_BOUNDS,
    WIDTH_BOUNDS,
    choose_sizes,
    growth,
    settle_sizes,
)
from models.training import train


def _torus(dim, num_rows=2_000):
    angles = np.random.default_rng(dim).uniform(0, 2 * np.pi, (num_rows, dim))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def _choose(num_ratings, user_dim=2, business_dim=4, smoothness=2.0):
    return choose_sizes(_torus(user_dim), _torus(business_dim), num_ratings, smoothness)


def test_growth_follows_the_power_law():
    # d / (2β + d) is 4 / (4 + 4) = 1/2 and 1 / (2 + 1) = 1/3.
    assert growth(ANCHOR_RATINGS, 4.0, 2.0) == 1.0
    assert growth(4 * ANCHOR_RATINGS, 4.0, 2.0) == pytest.approx(2.0)
    assert growth(8 * ANCHOR_RATINGS, 1.0, 1.0) == pytest.approx(2.0)


def test_sizes_grow_with_the_ratings_from_the_anchors():
    # With d = β = 2 sizes grow as the cube root: 512 and 1,728 times the anchor's ratings have 8
    # and 12 times its sizes.
    middle, large = (_choose(times * ANCHOR_RATINGS, 2, 2) for times in (512, 1_728))
    assert (middle.tower_widths, middle.rating_dim) == ((64, 64), 16)
    assert (large.tower_widths, large.rating_dim) == ((96, 96), 24)


def test_the_dimension_that_real_ratings_have_gives_the_sizes_that_were_best_there():
    # 80,000 / 800 to the power of 3.34 / 7.34 is 8.13.
    assert growth(80_000, 3.34, 2.0) == pytest.approx(8.13, abs=0.01)


def test_the_larger_of_both_sides_governs():
    for sides in ((2, 4), (4, 2)):
        sizes = _choose(ANCHOR_RATINGS, *sides)
        assert sizes.dimension == max(sizes.users.value, sizes.businesses.value)
        assert sizes.dimension == pytest.approx(4.0, rel=0.1)


def test_a_smoother_truth_needs_less_of_large_data():
    # With d = 2 and β = 3 the exponent is 2/8: 512^(1/4) is 4.76, times 8 is 38.
    rough, smooth = (_choose(512 * ANCHOR_RATINGS, 2, 2, smoothness=beta) for beta in (2.0, 3.0))
    assert (rough.tower_widths, smooth.tower_widths) == ((64, 64), (40, 40))


@pytest.mark.parametrize(("num_ratings", "place"), [(1, 0), (10**12, 1)])
def test_sizes_are_bounded(num_ratings, place):
    sizes = _choose(num_ratings)
    assert sizes.tower_widths == (WIDTH_BOUNDS[place],) * 2
    assert sizes.rating_dim == RATING_DIM_BOUNDS[place]


def test_without_covariates_sizes_are_the_default_and_say_so():
    for rows in (np.zeros([500, 0]), np.ones([1, 3]), np.full([500, 3], np.nan)):
        sizes = choose_sizes(rows, rows, 10**6, 2.0)
        assert (sizes.dimension, sizes.tower_widths, sizes.rating_dim) == (None, (64, 64), 16)
        assert "neither side has the distinct rows" in sizes.why


def test_one_side_with_covariates_is_enough():
    sizes = choose_sizes(np.ones([500, 2]), _torus(2), 10**6, 2.0)
    assert sizes.users.value is None
    assert sizes.dimension == sizes.businesses.value


class TestSettling:
    def settle(self, planted, **told):
        options = ModelOptions(**told)
        return options, *settle_sizes(
            options, planted.users, planted.businesses, planted.train, (8.0, 4.0), seed=0
        )

    def test_what_is_auto_becomes_a_number_and_the_log_says_why(self, planted, caplog):
        with caplog.at_level("INFO", logger="t2rec"):
            options, settled, sizes = self.settle(planted)
        assert (options.tower_widths, options.rating_dim) == (AUTO, AUTO)
        assert settled.tower_widths == sizes.tower_widths
        assert settled.rating_dim == sizes.rating_dim
        assert sizes.num_ratings == len(planted.train)
        # 4 times the anchor's ratings, with d not far from 4.
        assert settled.hidden_widths in {(16, 16), (24, 24)}
        told = [record.getMessage() for record in caplog.records]
        assert told == [
            f"dimension of users {sizes.users}, of businesses {sizes.businesses}",
            f"tower_widths {sizes.tower_widths}: {sizes.why}",
            f"rating_dim {sizes.rating_dim}: {sizes.why}",
        ]

    def test_what_is_told_stays(self, planted):
        _, settled, sizes = self.settle(planted, tower_widths=(24, 8))
        assert settled.tower_widths == (24, 8)
        assert settled.rating_dim == sizes.rating_dim
        options, settled, sizes = self.settle(planted, tower_widths=(24,), rating_dim=3)
        assert settled == options
        assert sizes is None

    def test_a_run_has_towers_of_those_sizes_and_says_why(self, planted):
        options = ModelOptions(
            objective=Objective(retrieval=0.0, rating=1.0), taste_dim=0, factor_dim=0
        )
        training = TrainingOptions(min_steps=1, rating_epochs=1, num_folds=2, num_evaluations=1)
        ratings = planted.train[:1_000]
        result = train(
            planted.users, planted.businesses, ratings, planted.eval, options, training, refit=False
        )
        sizes = result.sizes
        first, *_ = result.model.query_tower.rating.trainable_variables
        assert first.shape[1] == sizes.tower_widths[0]
        embedded = result.model.embed_candidates()
        assert embedded.shape[1] == result.model.retrieval_block_dim + sizes.rating_dim + 2
        told = json.loads(json.dumps(dataclasses.asdict(sizes)))
        assert told["num_ratings"] == 1_000
        assert told["dimension"] == max(sizes.users.value, sizes.businesses.value)
        assert told["users"]["two_nn"] == sizes.users.two_nn
