"""The two-tower model beside its rivals: where it is better, and where it is not."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models import features
from models.theory.experiments import (
    QUICK,
    Experiment,
    Report,
    mean_and_error,
    table,
)
from models.theory.figures import Figure
from models.theory.results import Row

OURS = "t2rec"
# Those of the paper's comparison, and the one to beat.
_PAPER = ("svd", "svdpp", "coclustering", "knn_user", "knn_item", "bias")
_LIMIT_MODELS = (OURS, "bias", "svd")
_SEEDS = (10, 11, 12, 13, 14)
_TUNING_SECONDS = {QUICK: 0.0}
_FULL_TUNING_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class RivalCell:
    """One model on one world of stars.

    Attributes:
      setting: What the world stands for.
      model: `t2rec` or a baseline's name.
      num_ratings: See `StarOptions`, as all up to `seed`.
      ratings_a_user: Average.
      informative: Whether covariates tell anything.
      cold_share: Share of users without training ratings.
      seed: Of the world and of the model.
      tuning_seconds: How long values may be tried; at 0 the first is taken.
    """

    setting: str
    model: str
    num_ratings: int
    ratings_a_user: int
    informative: bool
    cold_share: float
    seed: int
    tuning_seconds: float


KEYS = tuple(field.name for field in dataclasses.fields(RivalCell))
VALUES = ("rmse", "cold_rmse", "cpu_seconds")


def run_rival(cell: RivalCell) -> dict[str, Any]:
    """Fits a model on train and eval and measures it on test, in stars."""
    from models.theory.star_worlds import StarOptions, draw_star_world

    world = draw_star_world(
        StarOptions(
            cell.num_ratings, cell.ratings_a_user, cell.informative, cell.cold_share, cell.seed
        )
    )
    start = time.process_time()
    stars = _rate_ours(world, cell) if cell.model == OURS else _rate_baseline(world, cell)
    squares = np.square(np.clip(stars, features.MIN_STARS, features.MAX_STARS) - world.test.stars)
    known = np.bincount(world.train.user_rows, minlength=world.users.num_rows)
    cold = known[world.test.user_rows] == 0
    return {
        "rmse": math.sqrt(squares.mean()),
        "cold_rmse": math.sqrt(squares[cold].mean()) if cold.any() else math.nan,
        "cpu_seconds": time.process_time() - start,
    }


def _rate_ours(world, cell: RivalCell) -> np.ndarray:
    """Trains as every run does: choices on eval, then both splits."""
    from models.options import ModelOptions, Objective, TrainingOptions
    from models.training import train

    result = train(
        world.users,
        world.businesses,
        world.train,
        world.eval,
        ModelOptions(objective=Objective(retrieval=0.0, rating=1.0)),
        TrainingOptions(seed=cell.seed, tuning_seconds=cell.tuning_seconds),
        refit=True,
    )
    model, test = result.model, world.test
    candidates = model.embed_candidates()
    queries = model.embed_queries(candidates, np.arange(world.users.num_rows))
    block = -model.rating_block_dim
    return np.einsum(
        "nd,nd->n", queries[test.user_rows, block:], candidates[test.business_rows, block:]
    )


def _rate_baseline(world, cell: RivalCell) -> np.ndarray:
    from models.baselines import registry
    from models.baselines.interface import BaselineData

    data = BaselineData(
        fitted=world.train + world.eval,
        train=world.train,
        held_out=world.eval,
        users=world.users,
        businesses=world.businesses,
        seed=cell.seed,
        tuning_seconds=cell.tuning_seconds,
    )
    fitted = registry.load(registry.RATING[cell.model]).fit(data)
    return fitted.model.rate(world.test.user_rows, world.test.business_rows)


def _cells(
    profile: str,
    models: Sequence[str],
    settings: Sequence[tuple[str, int, int, bool, float]],
    num_seeds: tuple[int, int],
) -> list[RivalCell]:
    seeds = _SEEDS[: num_seeds[profile != QUICK]]
    seconds = _TUNING_SECONDS.get(profile, _FULL_TUNING_SECONDS)
    return [
        RivalCell(name, model, num, each, informative, cold, seed, seconds)
        for name, num, each, informative, cold in settings
        for seed in seeds
        for model in models
    ]


def compare_cells(profile: str) -> list[RivalCell]:
    """Lists the cells of `compare`: all users known, and a third of them not."""
    num = 8_000 if profile == QUICK else 40_000
    settings = [("all users known", num, 20, True, 0.0), ("30 % cold users", num, 20, True, 0.3)]
    return _cells(profile, (OURS, *_PAPER), settings, (2, 5))


def limit_cells(profile: str) -> list[RivalCell]:
    """Lists the cells of `limits`: few to many ratings, covariates that tell much or nothing."""
    sizes = (500, 8_000) if profile == QUICK else (300, 1_000, 3_000, 10_000, 30_000)
    settings = []
    for informative in (True, False):
        told = "covariates tell all" if informative else "covariates tell nothing"
        settings += [(f"{told}, {num:,} ratings", num, 20, informative, 0.0) for num in sizes]
    dense = (3_000,) if profile == QUICK else (10_000, 30_000)
    settings += [
        (f"covariates tell nothing, {num:,} ratings, 200 a user", num, 200, False, 0.0)
        for num in dense
    ]
    return _cells(profile, _LIMIT_MODELS, settings, (1, 3))


def _group(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Groups rows by setting and model, in the order of the seeds."""
    settings: dict[str, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        settings.setdefault(row["setting"], {}).setdefault(row["model"], []).append(row)
    return settings


def report_compare(rows: Sequence[Row]) -> Report:
    """Lays out means and standard errors: a line a model, a column a setting."""
    groups = _group(rows)
    lines = []
    for model in (OURS, *_PAPER):
        line = [model]
        for column, models in itertools.product(("rmse", "cold_rmse"), groups.values()):
            line.append(mean_and_error([float(row[column]) for row in models.get(model, [])]))
        lines.append(line)
    # Nobody is cold where all users are known.
    headers = [*groups, *(f"{name}: these alone" for name in groups)]
    kept = [place for place in range(len(headers)) if any(line[place + 1] for line in lines)]
    text = table(
        ("RMSE in stars, mean (standard error)", *(headers[place] for place in kept)),
        [[line[0], *(line[place + 1] for place in kept)] for line in lines],
    )
    return Report(text)


def report_limits(rows: Sequence[Row]) -> Report:
    """Says in each setting how much better the two towers are than each rival, or worse."""
    lines = []
    points: dict[str, list[tuple[float, float]]] = {}
    for setting, models in _group(rows).items():
        ours = {row["seed"]: float(row["rmse"]) for row in models.get(OURS, [])}
        line = [setting, mean_and_error(list(ours.values()))]
        lost = []
        for rival in _LIMIT_MODELS[1:]:
            gaps = [
                ours[row["seed"]] - float(row["rmse"])
                for row in models.get(rival, [])
                if row["seed"] in ours
            ]
            line.append(_signed(gaps))
            if gaps and np.mean(gaps) > 0:
                lost.append(rival)
        lines.append([*line, f"loses to {', '.join(lost)}" if lost else "wins"])
        for model, found in models.items():
            if ", 200 a user" not in setting:
                name = f"{model}, {setting.split(',')[0].removeprefix('covariates ')}"
                points.setdefault(name, []).extend(
                    (float(row["num_ratings"]), float(row["rmse"])) for row in found
                )
    header = ("setting", "t2rec", "minus bias", "minus svd", "verdict")
    figure = Figure(
        "When not to use two towers", "ratings", "RMSE in stars", points, y_scale="linear"
    )
    return Report(table(header, lines), figure)


def _signed(gaps: Sequence[float]) -> str:
    text = mean_and_error(gaps)
    return f"+{text}" if gaps and np.mean(gaps) > 0 else text


def _experiment(
    title: str, cells: Callable[[str], list[RivalCell]], report: Callable[[Sequence[Row]], Report]
) -> Experiment:
    return Experiment(title, KEYS, VALUES, cells, run_rival, report)


COMPARE = _experiment("Better than what exists", compare_cells, report_compare)
LIMITS = _experiment("Where it fails", limit_cells, report_limits)
