import dataclasses

import pytest

from models.theory.experiments import FULL, QUICK
from models.theory.rates import (
    RATE,
    TowerCell,
    predicted_exponent,
    report_curves,
    report_width,
    run_towers,
)


def _row(cell, risk, width=16):
    values = {"used_width": width, "excess_risk": risk, "cpu_seconds": 1}
    return {key: str(value) for key, value in {**dataclasses.asdict(cell), **values}.items()}


def test_the_predicted_exponent_is_that_of_the_theorem():
    # -2β / (2β + d): -4/6, -2/4 and -4/8.
    assert predicted_exponent(2, 2.0) == pytest.approx(-2 / 3)
    assert predicted_exponent(2, 1.0) == -0.5
    assert predicted_exponent(4, 2.0) == -0.5


@pytest.mark.parametrize(
    ("exponent", "verdict"), [(-2 / 3, "as predicted"), (-0.9, "steeper"), (-0.4, "flatter")]
)
def test_the_verdict_says_how_a_slope_compares(exponent, verdict):
    rows = [
        # Within a percent of a line, so that the interval is narrow but not empty.
        _row(TowerCell("a", num, seed=seed), num**exponent * (1 + 0.01 * (-1) ** place))
        for seed in (1, 2)
        for place, num in enumerate((1_000, 4_000, 16_000, 64_000))
    ]
    report = report_curves(rows)
    assert f"| -0.67 | {verdict} |" in report.text
    assert list(report.figure.curves) == ["a"]


def test_an_interval_that_holds_anything_is_no_verdict():
    # Two points of one seed have no interval at all; the slope is just what is predicted.
    rows = [_row(TowerCell("a", num), num ** (-2 / 3)) for num in (1_000, 4_000)]
    assert "| -0.67 [-inf, inf] | -0.67 | too few runs to tell |" in report_curves(rows).text


def test_the_larger_dimension_of_both_sides_is_what_is_predicted_from():
    rows = [_row(TowerCell("a", num, 1, 4, seed=1), 1 / num) for num in (1_000, 2_000)]
    assert "| -0.50 |" in report_curves(rows).text


def test_the_best_width_and_the_regret_are_those_of_the_means():
    rows = []
    for num, best in ((1_000, 16), (8_000, 32)):
        for width in (16, 32):
            risk = 0.1 if width == best else 0.2
            rows.append(_row(TowerCell("grid", num, width=width), risk, width))
        rows.append(_row(TowerCell("auto", num), 0.15, 24))
    text = report_width(rows).text
    assert "| 1,000 | 16 | 0.1000 | 24 | 0.1500 | +50% | 1 | 2 |" in text
    # Twice the width at eight times the ratings.
    assert "Slope of the best width 0.33 [-inf, inf], predicted 0.33." in text


@pytest.mark.parametrize("profile", [QUICK, FULL])
def test_no_cell_is_there_twice(profile):
    cells = RATE.cells(profile)
    assert len(set(cells)) == len(cells)


def test_towers_learn_a_smooth_world():
    cell = TowerCell("a", 4_000, 1, 1, ambient=4, smoothness=3.0, seed=1, width=16)
    values = run_towers(cell)
    assert set(values) == set(RATE.values)
    # The noise has a variance of .25, the truth of about 1, of which a constant misses all.
    assert 0.0 < values["excess_risk"] < 0.1
