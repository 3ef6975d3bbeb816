"""The comparison on real data: what finished runs of the pipeline measured on their test split.

A run trains the two towers and all baselines on the same ratings; runs that differ in the seeds of
their split and training are repetitions.
"""

import json
import os
from collections.abc import Sequence

from models.errors import InputError
from models.theory.experiments import mean_and_error, table
from models.theory.results import Row

KEYS, VALUES = ("run", "model", "group"), ("rmse",)
_ALL = "all ratings"
# By the slice's name, what it is in the table: those that say what history is known.
_GROUPS = {
    "cold_user": "cold users",
    "cold_business": "cold businesses",
    "warm": "both sides known",
}


def read_runs(roots: Sequence[str]) -> list[dict[str, object]]:
    """Reads the test RMSE of every model: overall, with a cold side, and with none.

    Args:
      roots: Roots of runs on one data set.

    Returns:
      One row a run, model and group of ratings.

    Raises:
      InputError: If a root has no finished run that rated anything.
    """
    rows: list[dict[str, object]] = []
    for place, root in enumerate(roots):
        path = os.path.join(root, "report", "metrics.json")
        try:
            with open(path, encoding="utf-8") as file:
                models = json.load(file)["rating"]["test"]["models"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"Expected the root of a finished run with the rating task on; {root!r} has no "
                f"ratings in report/metrics.json ({type(error).__name__}). Run `t2rec run` there."
            ) from error
        for model, measured in models.items():
            slices = measured["slices"]
            groups = {told: slices[name] for name, told in _GROUPS.items() if name in slices}
            groups = {_ALL: measured, **groups}
            rows += [
                {"run": place, "model": model, "group": group, "rmse": found["rmse"]["value"]}
                for group, found in groups.items()
            ]
    return rows


def report_runs(rows: Sequence[Row]) -> str:
    """Returns a Markdown table: a line a model, the best first; a column a group of ratings."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    by_model: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        of_model = by_model.setdefault(row["model"], {group: [] for group in groups})
        of_model[row["group"]].append(float(row["rmse"]))
    ranked = sorted(by_model.items(), key=lambda item: sum(item[1][_ALL]))
    lines = [
        [model, *(mean_and_error(found[group]) for group in groups)] for model, found in ranked
    ]
    return table(("RMSE in stars, mean (standard error)", *groups), lines)
