"""The estimators of intrinsic dimension, on manifolds whose dimension is known."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.theory.experiments import QUICK, Experiment, Report, table
from models.theory.results import Row


@dataclasses.dataclass(frozen=True)
class ManifoldCell:
    """One sample of one manifold.

    Attributes:
      manifold: `cube` (bent into space), `sphere`, `swiss roll` or `grid` (of three values).
      dim: Its dimension.
      ambient: Columns.
      num_rows: Rows of the sample.
      seed: Of the sample.
    """

    manifold: str
    dim: int
    ambient: int
    num_rows: int
    seed: int


_KEYS = tuple(field.name for field in dataclasses.fields(ManifoldCell))
_VALUES = ("two_nn", "mle", "cpu_seconds")


def _draw(cell: ManifoldCell) -> np.ndarray:
    from models.theory.worlds import embed_cube

    rng = np.random.default_rng(cell.seed)
    if cell.manifold == "cube":
        return embed_cube(rng.random((cell.num_rows, cell.dim)), cell.ambient, rng)
    if cell.manifold == "sphere":
        points = rng.normal(size=(cell.num_rows, cell.dim + 1))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    elif cell.manifold == "swiss roll":
        angle = 1.5 * np.pi * (1 + 2 * rng.random(cell.num_rows))
        height = 20 * rng.random(cell.num_rows)
        points = np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], axis=1)
    else:
        points = rng.integers(3, size=(cell.num_rows, cell.dim)).astype(float)
    turn, _ = np.linalg.qr(rng.normal(size=(cell.ambient, points.shape[1])))
    return points @ turn.T


def _run(cell: ManifoldCell) -> dict[str, Any]:
    from models.intrinsic_dimension import estimate_dimension

    rows = _draw(cell)
    estimate_dimension(rows[:100])  # Imports.
    start = time.process_time()
    found = estimate_dimension(rows, cell.seed)
    seconds = time.process_time() - start
    return {
        "two_nn": found.two_nn or float("nan"),
        "mle": found.mle or float("nan"),
        "cpu_seconds": seconds,
    }


def _cells(profile: str) -> list[ManifoldCell]:
    seeds = (10, 11) if profile == QUICK else (10, 11, 12, 13, 14)
    sizes = (4_000,) if profile == QUICK else (500, 4_000)
    kinds = [("cube", dim, 64) for dim in (1, 2, 4, 8, 16)]
    kinds += [("sphere", 2, 16), ("sphere", 8, 16), ("swiss roll", 2, 16), ("grid", 8, 16)]
    return [
        ManifoldCell(*kind, num_rows, seed)
        for num_rows in sizes
        for kind in kinds
        for seed in seeds
    ]


def _report(rows: Sequence[Row]) -> Report:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[column] for column in ("manifold", "dim", "ambient", "num_rows"))
        groups.setdefault(key, []).append(row)
    lines = []
    for key, found in groups.items():
        line = list(key)
        for column in ("two_nn", "mle"):
            values = [float(row[column]) for row in found]
            line.append(f"{np.mean(values):.2f} ({np.mean(values) / float(key[1]) - 1:+.0%})")
        seconds = np.mean([float(row["cpu_seconds"]) for row in found])
        lines.append([*line, f"{seconds:.2f}"])
    header = ("manifold", "dimension", "columns", "rows", "TwoNN", "MLE", "CPU s of both")
    return Report(table(header, lines))


DIMENSION = Experiment("Intrinsic dimension, estimated", _KEYS, _VALUES, _cells, _run, _report)
