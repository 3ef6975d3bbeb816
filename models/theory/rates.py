"""How fast the error falls with the ratings: the rate, what it depends on, and the best width."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.sizing import ANCHOR_WIDTH, choose_sizes, growth
from models.theory.experiments import QUICK, Experiment, Report, table
from models.theory.figures import Figure
from models.theory.power_laws import fit_power_law
from models.theory.results import Row
from models.theory.worlds import WorldOptions, draw_world

AUTO_WIDTH = 0  # Stands for the sizes that `auto` finds.
_RATING_DIM = 8

# Fixed before anything was run.
_RATE_RATINGS = {QUICK: (1_000, 4_000, 16_000)}
_FULL_RATINGS = (1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000)
_RATE_WORLDS = {QUICK: ((2, 1.0), (2, 2.0))}  # Pairs of d and β.
_FULL_WORLDS = ((1, 2.0), (2, 1.0), (2, 2.0), (4, 2.0))
_AMBIENT_RATINGS = {QUICK: (1_000, 4_000, 16_000)}
_FULL_AMBIENT_RATINGS = (1_000, 3_162, 10_000, 31_623, 100_000)
_AMBIENTS = {QUICK: (4, 256)}
_FULL_AMBIENTS = (4, 16, 64, 256)
_DIMS = {QUICK: (1, 4)}
_FULL_DIMS = (1, 2, 4, 8)
_WIDTH_RATINGS = {QUICK: (1_000, 16_000)}
_FULL_WIDTH_RATINGS = (1_000, 10_000, 100_000)
_WIDTHS = {QUICK: (8, 32, 128)}
_FULL_WIDTHS = (4, 8, 16, 32, 64, 128, 256)
_SEEDS = {QUICK: (10, 11)}
_FULL_SEEDS = (10, 11, 12)


@dataclasses.dataclass(frozen=True)
class TowerCell:
    """One training of the towers on one world.

    Attributes:
      curve: What the point belongs to.
      num_ratings: See `WorldOptions`, as all up to `seed`.
      user_dim: d_u.
      business_dim: d_i.
      ambient: D.
      smoothness: β.
      seed: Of the world and of the training.
      width: Of the hidden layers; `AUTO_WIDTH` for what `auto` finds.
    """

    curve: str
    num_ratings: int
    user_dim: int = 2
    business_dim: int = 2
    ambient: int = 16
    smoothness: float = 2.0
    seed: int = 0
    width: int = AUTO_WIDTH


KEYS = tuple(field.name for field in dataclasses.fields(TowerCell))
VALUES = ("used_width", "excess_risk", "train_loss", "best_share", "cpu_seconds")


def run_towers(cell: TowerCell) -> dict[str, Any]:
    """Draws the world, trains, and measures."""
    from models.theory.towers import fit_towers

    world = draw_world(
        WorldOptions(
            cell.num_ratings,
            cell.user_dim,
            cell.business_dim,
            cell.ambient,
            cell.smoothness,
            cell.seed,
        )
    )
    width, rating_dim = cell.width, _RATING_DIM
    if width == AUTO_WIDTH:
        sizes = choose_sizes(
            world.user_covariates,
            world.business_covariates,
            cell.num_ratings,
            cell.smoothness,
            cell.seed,
        )
        width, rating_dim = sizes.tower_widths[0], sizes.rating_dim
    fitted = fit_towers(world, width, rating_dim, cell.seed)
    return {"used_width": width, **dataclasses.asdict(fitted)}


def predicted_exponent(dimension: float, smoothness: float) -> float:
    """Returns -2β / (2β + d): how the excess risk should fall with the ratings.

    Source: arXiv 2403.00802, the theorem on the convergence rate, its logarithms left out.
    """
    return -2.0 * smoothness / (2.0 * smoothness + dimension)


def rate_cells(profile: str) -> list[TowerCell]:
    """Lists the cells of `rate`."""
    return [
        TowerCell(f"d {dim}, β {beta:g}", num, dim, dim, 16, beta, seed)
        for num in _RATE_RATINGS.get(profile, _FULL_RATINGS)
        for dim, beta in _RATE_WORLDS.get(profile, _FULL_WORLDS)
        for seed in _SEEDS.get(profile, _FULL_SEEDS)
    ]


def ambient_cells(profile: str) -> list[TowerCell]:
    """Lists the cells of `ambient`: D at d = 2, then d at D = 32, then either side alone."""
    cells = []
    seeds = _SEEDS[QUICK][:1] if profile == QUICK else _FULL_SEEDS
    dims = _DIMS.get(profile, _FULL_DIMS)
    for num in _AMBIENT_RATINGS.get(profile, _FULL_AMBIENT_RATINGS):
        for seed in seeds:
            for ambient in _AMBIENTS.get(profile, _FULL_AMBIENTS):
                cells.append(TowerCell(f"D {ambient}", num, 2, 2, ambient, 2.0, seed))
            for dim in dims:
                cells.append(TowerCell(f"d {dim}", num, dim, dim, 32, 2.0, seed))
            for sides in ((dims[0], dims[-1]), (dims[-1], dims[0])):
                name = f"d_u {sides[0]}, d_i {sides[1]}"
                cells.append(TowerCell(name, num, *sides, 32, 2.0, seed))
    return cells


def width_cells(profile: str) -> list[TowerCell]:
    """Lists the cells of `width`: a grid, and what `auto` finds."""
    seeds = _SEEDS[QUICK][:1] if profile == QUICK else _FULL_SEEDS
    return [
        TowerCell("auto" if width == AUTO_WIDTH else "grid", num, seed=seed, width=width)
        for num in _WIDTH_RATINGS.get(profile, _FULL_WIDTH_RATINGS)
        for seed in seeds
        for width in (AUTO_WIDTH, *_WIDTHS.get(profile, _FULL_WIDTHS))
    ]


def _curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    curves: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["curve"], float(row["num_ratings"]))):
        curves.setdefault(row["curve"], []).append(row)
    return curves


def _numbers(rows: Sequence[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows]


def report_curves(rows: Sequence[Row]) -> Report:
    """Fits a slope to each curve and holds it against the prediction.

    Args:
      rows: Rows of `rate` or `ambient`.
    """
    lines, points, guides = [], {}, {}
    for name, curve in _curves(rows).items():
        ratings, risks = _numbers(curve, "num_ratings"), _numbers(curve, "excess_risk")
        dimension = max(float(curve[0]["user_dim"]), float(curve[0]["business_dim"]))
        predicted = predicted_exponent(dimension, float(curve[0]["smoothness"]))
        points[name] = list(zip(ratings, risks, strict=True))
        if len(set(ratings)) < 2:
            continue
        law = fit_power_law(ratings, risks, [int(row["seed"]) for row in curve])
        if law.holds(predicted):
            # An interval that holds anything from none to double the slope says nothing.
            wide = law.holds(0.0) or law.holds(2 * predicted)
            verdict = "too few runs to tell" if wide else "as predicted"
        else:
            verdict = "steeper" if law.exponent < predicted else "flatter"
        first, last = min(ratings), max(ratings)
        start = float(np.mean([y for x, y in points[name] if x == first]))
        guides[name] = [(first, start), (last, start * (last / first) ** predicted)]
        lines.append([name, str(len(curve)), str(law), f"{predicted:.2f}", verdict])
    header = ("curve", "runs", "slope [95 %]", "predicted", "verdict")
    figure = Figure(
        "Dashed: the predicted slope",
        "training ratings |Ω|",
        "excess risk",
        points,
        guides,
    )
    return Report(table(header, lines), figure)


def report_width(rows: Sequence[Row]) -> Report:
    """Finds the best width of each number of ratings, its slope, and the regret of `auto`."""
    grid = [row for row in rows if row["curve"] == "grid"]
    auto = [row for row in rows if row["curve"] == "auto"]
    lines, best = [], []
    for num in sorted({float(row["num_ratings"]) for row in grid}):
        at = [row for row in grid if float(row["num_ratings"]) == num]
        means = _mean_risks(at, "used_width")
        width = min(means, key=lambda key: means[key])
        best.append((num, width))
        found = [row for row in auto if float(row["num_ratings"]) == num]
        risk = float(np.mean(_numbers(found, "excess_risk"))) if found else float("nan")
        widths = ", ".join(sorted({row["used_width"] for row in found}))
        cost = [float(np.mean(_numbers(found, "cpu_seconds"))) if found else float("nan")]
        cost.append(sum(_numbers(at, "cpu_seconds")) / len({row["seed"] for row in at}))
        lines.append([
            f"{num:,.0f}",
            f"{width:g}",
            f"{means[width]:.4f}",
            widths,
            f"{risk:.4f}",
            f"{risk / means[width] - 1:+.0%}",
            f"{cost[0]:.0f}",
            f"{cost[1]:.0f}",
        ])
    header = ("ratings", "best width", "risk", "auto", "risk", "regret", "CPU s", "of grid")
    text = table(header, lines)
    dimension, smoothness = (float(grid[0][key]) for key in ("user_dim", "smoothness"))
    predicted = dimension / (2 * smoothness + dimension)
    if len(best) > 1:
        law = fit_power_law([num for num, _ in best], [size for _, size in best], [0] * len(best))
        text += f"\nSlope of the best width {law}, predicted {predicted:.2f}.\n"
    text += "\nWhat `auto` would take, before rounding and bounds, if β were another:\n\n"
    text += sensitivity_table()
    names = {f"{num:,.0f} ratings": num for num, _ in best}
    curves = {
        name: [
            (float(row["used_width"]), float(row["excess_risk"]))
            for row in grid
            if float(row["num_ratings"]) == num
        ]
        for name, num in names.items()
    }
    return Report(text, Figure("Two layers of each width", "width", "excess risk", curves))


def _mean_risks(rows: Sequence[Row], column: str) -> Mapping[float, float]:
    by_key: dict[float, list[float]] = {}
    for row in rows:
        by_key.setdefault(float(row[column]), []).append(float(row["excess_risk"]))
    return {key: float(np.mean(risks)) for key, risks in by_key.items()}


def sensitivity_table() -> str:
    """Returns a Markdown table of widths by ratings, dimension and smoothness."""
    betas = (0.5, 1.0, 2.0, 4.0, 8.0)
    lines = [
        [f"{num:,}", str(dim), *(f"{ANCHOR_WIDTH * growth(num, dim, beta):.0f}" for beta in betas)]
        for num in (10_000, 80_000, 1_000_000)
        for dim in (2, 8)
    ]
    return table(("ratings", "d", *(f"β {beta:g}" for beta in betas)), lines)


RATE = Experiment("Convergence rate", KEYS, VALUES, rate_cells, run_towers, report_curves)
AMBIENT = Experiment(
    "Intrinsic, not ambient", KEYS, VALUES, ambient_cells, run_towers, report_curves
)
WIDTH = Experiment("Width law", KEYS, VALUES, width_cells, run_towers, report_width)
