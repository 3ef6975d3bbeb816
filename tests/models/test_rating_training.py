import dataclasses

import numpy as np
import pytest

from models.options import TrainingOptions
from models.rating_training import distinct_epochs, num_steps
from models.tables import Interactions

_RATINGS = Interactions(
    np.zeros(80, np.int32), np.arange(80, dtype=np.int32), np.tile(np.float32([1, 4]), 40)
)


class TestLength:
    """80 ratings, 10 a step: 8 steps a pass."""

    ratings = _RATINGS

    def steps(self, epochs, ratings=ratings, **limits):
        return num_steps(
            ratings, epochs, TrainingOptions(rating_batch_size=10, **{"min_steps": 1, **limits})
        )

    def test_as_many_passes_as_are_told(self):
        assert self.steps(3) == 24

    def test_small_data_has_the_least_steps_all_the_same(self):
        assert self.steps(3, min_steps=50) == 50

    @pytest.mark.parametrize(("most", "steps"), [(160, 16), (200, 20), (10, 8)])
    def test_large_data_is_seen_fewer_times_but_once(self, most, steps):
        assert self.steps(3, max_rating_examples=most) == steps

    def test_equal_stars_need_no_pass(self):
        alike = dataclasses.replace(self.ratings, stars=np.full(80, 4.0, np.float32))
        assert self.steps(3, alike, min_steps=5) == 5

    @pytest.mark.parametrize(
        ("limits", "distinct"),
        [
            ({}, [8, 16, 32]),
            ({"min_steps": 100}, [8, 16, 32]),
            ({"min_steps": 128}, [8, 32]),
            ({"min_steps": 500}, [8]),
            ({"max_rating_examples": 1_000}, [8, 16]),
            ({"max_rating_examples": 640}, [8]),
        ],
    )
    def test_passes_that_the_limits_make_equal_count_once(self, limits, distinct):
        options = TrainingOptions(rating_batch_size=10, **{"min_steps": 1, **limits})
        assert distinct_epochs(self.ratings, (8, 16, 32), options) == distinct
