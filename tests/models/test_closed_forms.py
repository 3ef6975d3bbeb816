import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from models.closed_forms import choose_factors
from models.factors import FactorRecipe, Factors
from models.tables import Interactions

_STARS = np.array([1.0, 5.0, 3.0, 4.0], np.float32)
_RATINGS = Interactions(np.arange(4, dtype=np.int32), np.zeros(4, np.int32), _STARS)


@dataclasses.dataclass
class Look:
    """An eval split on which the towers say 3 stars of everything."""

    ratings: Interactions = _RATINGS

    def predict(self, model):
        return np.full(4, 3.0, np.float32)

    def squared_errors(self, stars):
        return np.square(stars - _STARS)


class Loop:
    """Towers that leave something over: by number of factors, what they say of each rating."""

    def __init__(self, most=16, **shifts):
        self.model = SimpleNamespace(options=SimpleNamespace(factor_dim=most))
        self.shifts = shifts

    def fit_factors(self, dims):
        self.dims = dims
        return [self._factors(dim, self.shifts.get(f"of_{dim}")) for dim in dims]

    @staticmethod
    def _factors(dim, shift):
        if shift is None:
            return Factors.none(4, 1)
        users = np.zeros([4, dim], np.float32)
        users[:, 0] = shift
        return Factors(users, np.ones([1, dim], np.float32), np.ones(dim, np.float32), 1.0)


_RIGHT = _STARS - 3.0


class TestFactors:
    @pytest.mark.parametrize(
        ("shifts", "chosen"),
        [
            ({"of_16": _RIGHT, "of_4": 0.5 * _RIGHT}, FactorRecipe(16, 1.0)),
            ({"of_16": 0.5 * _RIGHT, "of_4": _RIGHT}, FactorRecipe(4, 1.0)),
            # Many that vanish do not stand for the few that stay.
            ({"of_4": 2 * _RIGHT}, FactorRecipe(4, 0.5)),
            # Of equals, the first.
            ({"of_16": _RIGHT, "of_4": _RIGHT}, FactorRecipe(16, 1.0)),
            ({"of_16": -_RIGHT, "of_4": -_RIGHT}, FactorRecipe()),
            # Right about one rating and a bit wrong about another is no more than chance.
            ({"of_16": _RIGHT * [1, -0.3, 0, 0]}, FactorRecipe()),
            ({}, FactorRecipe()),
        ],
    )
    def test_the_number_and_weight_that_eval_likes_best(self, shifts, chosen):
        recipe, rmse = choose_factors(Loop(**shifts), Look())
        assert recipe == chosen
        without = float(np.sqrt(np.mean(np.square(_RIGHT))))
        assert rmse == pytest.approx(0.0 if chosen.dim else without)

    @pytest.mark.parametrize(
        ("most", "tried"), [(16, [16, 8, 4]), (4, [4, 2, 1]), (2, [2, 1]), (1, [1]), (0, [])]
    )
    def test_half_and_a_quarter_as_many_are_tried_where_that_is_any(self, most, tried):
        loop = Loop(most)
        choose_factors(loop, Look())
        assert loop.dims == tried
