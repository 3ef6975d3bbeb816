"""Builds the page: one file that needs nothing else."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe

from components.report import charts
from components.report.charts import kind_of, ranked
from components.report.drift import compare_metrics
from components.report.statistics import drift

_TASKS = {"rating": "Ratings", "retrieval": "Lists"}
_COLUMNS = {
    "rating": ("rmse", "mae", "calibration"),
    "retrieval": (
        "recall@10", "recall@20", "recall@50", "ndcg@20", "hit_rate@20", "mrr",
        "coverage@20", "novelty@20", "popularity@20", "overlap@20",
    ),
}  # fmt: skip
_MAX_DRIFT = 12
_MARKS = {
    True: {"mark": "✓", "kind": "passed"},
    False: {"mark": "✗", "kind": "failed"},
    None: {"mark": "–", "kind": "left-out"},
}


def build(
    report: Mapping[str, Any], page: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> str:
    """Lays out a run.

    Args:
      report: The content of `metrics.json`.
      page: The content of `page.json`: example users and statistics.
      before: Of the run before: `metrics` and `page`, the same two; None if there was none.

    Returns:
      The page, a whole HTML document.
    """
    before = before or {}
    statistics = page.get("statistics", {})
    blessing = report.get("blessing", {"blessed": False, "reasons": []})
    return _environment().get_template("page.html.j2").render(
        report=report,
        blessed=blessing["blessed"],
        reasons=_reasons(blessing),
        facts=_facts(report),
        tasks=[_task(task, report) for task in _TASKS if task in report],
        training=charts.of_training(report.get("training", {})),
        choices=_choices(report.get("training", {})),
        sizes=_flat(report.get("training", {}).get("sizes") or {}),
        index=_flat({k: v for k, v in report.get("index", {}).items() if k != "curve"}),
        index_figures=charts.of_index(report.get("index", {})),
        users=page.get("users", []),
        tables=_tables(report),
        data_figures=charts.of_data(statistics),
        drift=drift(statistics, before.get("page", {}).get("statistics", {}))[:_MAX_DRIFT],
        changes=compare_metrics(report, before.get("metrics", {})),
        time_figures=charts.of_time(report),
        configuration=_flat(report.get("config", {})),
    )  # fmt: skip


def compare(runs: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Sets two runs side by side.

    Args:
      runs: Of both, a name, the content of `metrics.json`, and that of `page.json`.

    Returns:
      The page, a whole HTML document.
    """
    (_, first, first_page), (_, second, second_page) = runs
    configurations = [_flat(report.get("config", {})) for _, report, _ in runs]
    values = [dict(configuration) for configuration in configurations]
    keys = sorted({key for configuration in values for key in configuration})
    return _environment().get_template("compare.html.j2").render(
        names=[name for name, _, _ in runs],
        reports=[report for _, report, _ in runs],
        facts=[_facts(report) for _, report, _ in runs],
        reasons=[_reasons(report.get("blessing", {})) for _, report, _ in runs],
        tasks=[[_task(task, report) for task in _TASKS if task in report] for _, report, _ in runs],
        changes=compare_metrics(second, first),
        settings=[
            (key, *(value.get(key, "–") for value in values))
            for key in keys
            if values[0].get(key) != values[1].get(key)
        ],
        drift=drift(second_page.get("statistics", {}), first_page.get("statistics", {}))[
            :_MAX_DRIFT
        ],
    )  # fmt: skip


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = markupsafe.Markup  # Drawn here; their texts are escaped in them.
    environment.filters["interval"] = _interval
    environment.filters["number"] = _number
    return environment


def _interval(measured: Mapping[str, float] | None, digits: int = 4) -> str:
    if not measured or measured.get("value") is None:
        return "–"
    text = f"{measured['value']:.{digits}f}"
    if "low" not in measured:
        return text
    return f"{text} [{measured['low']:.{digits}f}, {measured['high']:.{digits}f}]"


def _number(value: float, sign: bool = False) -> str:
    """Writes a number of any size, with as many digits as tell something."""
    digits = ".0f" if isinstance(value, int) else (".1f" if abs(value) >= 100 else ".4f")
    return f"{value:{'+' if sign and value else ''},{digits}}"


def _reasons(blessing: Mapping[str, Any]) -> list[dict[str, str]]:
    """Lists the checks, those against a model first; of an old run, its words as they are."""
    old = [{"mark": "", "kind": "", "text": text} for text in blessing.get("reasons", [])]
    checks = sorted(blessing.get("checks", []), key=lambda check: check["ok"] is not False)
    return [{**_MARKS[check["ok"]], "text": check["text"]} for check in checks] or old


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    dataset, splits = report.get("dataset", {}), report.get("splits", {})
    sizes = splits.get("num_interactions", {})
    facts = [
        ("interactions", f"{dataset.get('num_interactions', 0):,}"),
        ("users", f"{dataset.get('num_users', 0):,}"),
        ("businesses", f"{dataset.get('num_businesses', 0):,}"),
        (f"{splits.get('method', '')} split", " / ".join(f"{n:,}" for n in sizes.values())),
        ("pushed version", str(report.get("pushed_version") or "none")),
        ("configuration", str(report.get("config_digest", ""))),
    ]
    return [(key, value) for key, value in facts if value]


def _task(task: str, report: Mapping[str, Any]) -> dict[str, Any]:
    test = report[task]["test"]
    models = test["models"]
    losses = report[task].get("eval", {}).get("losses", {})
    columns = [c for c in _COLUMNS[task] if any(c in measured for measured in models.values())]
    return {
        "name": task,
        "title": _TASKS[task],
        "undefined": test.get("undefined", ""),
        "figures": charts.of_task(task, test),
        "columns": columns,
        "has_losses": bool(losses),
        "rows": [
            {
                "name": name,
                "kind": kind_of(name),
                "is_best": name == test.get("best_baseline"),
                "cells": [models[name].get(column) for column in columns],
                "loss": losses.get(name),
            }
            for name in ranked(models, task)
        ],
        "skipped": test.get("skipped", {}),
        "native": _native(test),
    }


def _native(test: Mapping[str, Any]) -> dict[str, Any] | None:
    """Lays out what TensorFlow Model Analysis found, slice by slice."""
    native = test.get("native") or {}
    found = native.get("metrics")
    if not found:
        return None
    names = ["", *sorted(found["candidate"]["slices"])]

    def of(model: str, name: str) -> Mapping[str, Any]:
        return found[model] if not name else found[model]["slices"].get(name, {})

    return {
        **native,
        "rows": [
            (name or "all", of("candidate", name).get("num_ratings"),
             of("candidate", name).get("rmse"), of("baseline", name).get("rmse"))
            for name in names
        ],
    }  # fmt: skip


def _choices(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "task": task,
            "recipe": _flat(choice.get("recipe", {})),
            "steps": f"{choice.get('best_step', '–')} of {choice.get('num_steps', '–')}",
            "trials": len(choice.get("trials", [])),
        }
        for task, choice in training.get("choices", {}).items()
    ]


def _tables(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    tables = report.get("dataset", {}).get("tables", {})
    return [
        {
            "name": name,
            "read": told.get("lines_read", 0),
            "kept": told.get("kept", 0),
            "rejected": told.get("rejected", {}),
        }
        for name, told in tables.items()
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Lists the leaves of a tree, with dotted names."""
    leaves: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves += _flat(value, f"{prefix}{key}.")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            leaves.append((f"{prefix}{key}", shown))
    return leaves
