import math

import numpy as np
import pytest

from models.theory.power_laws import fit_power_law

_X = [1e3, 1e4, 1e5, 1e6]


def test_finds_the_exponent_of_a_curve_without_noise():
    law = fit_power_law(_X, [3.0 * x**-0.6 for x in _X], [0] * 4)
    assert law.exponent == pytest.approx(-0.6)
    assert (law.low, law.high) == (pytest.approx(-0.6), pytest.approx(-0.6))
    assert law.num_points == 4


def test_each_group_has_a_constant_of_its_own():
    x, y, groups = [], [], []
    # The third curve has but the two largest x: pooled, the constants would bend the slope.
    for group, (constant, places) in enumerate(((1.0, _X), (10.0, _X), (1e3, _X[2:]))):
        x += places
        y += [constant * place**-0.5 for place in places]
        groups += [group] * len(places)
    assert fit_power_law(x, y, groups).exponent == pytest.approx(-0.5)
    assert fit_power_law(x, y, [0] * len(x)).exponent > -0.4


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    x, groups = np.tile(_X, 3), np.repeat([0, 1, 2], 4)
    laws = [
        fit_power_law(x, x**-0.6 * np.exp(0.3 * rng.normal(size=12)), groups) for _ in range(400)
    ]
    covered = sum(law.holds(-0.6) for law in laws) / len(laws)
    # 95 %, within three standard errors of 1.1 %.
    assert 0.915 < covered < 0.985
    assert not any(law.holds(0.0) for law in laws)


def test_too_few_points_for_an_interval_have_an_unbounded_one():
    law = fit_power_law([1.0, math.e], [1.0, math.e**2], [0, 0])
    assert law.exponent == pytest.approx(2.0)
    assert (law.low, law.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        ([1.0, 2.0], [1.0, 0.0], [0, 0], "positive values"),
        ([0.0, 2.0], [1.0, 1.0], [0, 0], "positive values"),
        ([1.0, 2.0], [1.0, 1.0], [0, 1], "at least two different x"),
    ],
)
def test_refuses_what_has_no_slope(x, y, groups, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(x, y, groups)
