"""What an experiment is: cells that run on their own, and a report on what came of them."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from models.theory.figures import Figure
from models.theory.results import Row

QUICK, FULL = "quick", "full"
PROFILES = (QUICK, FULL)
NAMES = ("rate", "ambient", "width", "compare", "limits", "dimension")

Cell = TypeVar("Cell")


@dataclasses.dataclass(frozen=True)
class Report:
    """What an experiment found.

    Attributes:
      text: Markdown: tables and the verdict.
      figure: What to draw, if anything.
    """

    text: str
    figure: Figure | None = None


@dataclasses.dataclass(frozen=True)
class Experiment(Generic[Cell]):
    """One claim and how it is tested.

    Attributes:
      title: The claim, a few words.
      keys: Fields of a cell: columns that say what was run.
      values: Columns that say what came of it.
      cells: From a profile to the cells, the cheap ones first.
      run: Runs a cell; returns the values. Called in a process of its own.
      report: From all rows to what they say.
    """

    title: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    cells: Callable[[str], Sequence[Cell]]
    run: Callable[[Cell], dict[str, Any]]
    report: Callable[[Sequence[Row]], Report]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def mean_and_error(values: Sequence[float]) -> str:
    """Formats a mean with its standard error over repetitions; what is not a number is left out."""
    kept = [value for value in values if not math.isnan(value)]
    if not kept:
        return ""
    mean = f"{statistics.mean(kept):.4f}"
    if len(kept) < 2:
        return mean
    return f"{mean} ({statistics.stdev(kept) / math.sqrt(len(kept)):.4f})"
