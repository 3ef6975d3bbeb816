"""Turns `metrics.json` into what the figures draw."""

from collections.abc import Mapping
from typing import Any

from components.report import figures
from models.gate import MODEL, PREVIOUS

# The metric of each task that models are ranked by, and whether less is better.
LEADING = {"rating": ("rmse", True), "retrieval": ("recall@20", False)}
_TITLES = {"rmse": "test RMSE, stars", "recall@20": "test recall@20"}
_COUNTED = {"rating": "num_ratings", "retrieval": "num_users"}

_MAX_LABEL = 24

Figure = Mapping[str, str]


def kind_of(name: str) -> str:
    """Tells `t2rec` and `previous` from the baselines."""
    return name if name in (MODEL, PREVIOUS) else "baseline"


def ranked(models: Mapping[str, Any], task: str) -> list[str]:
    """Orders models by the leading metric, the best first; those without it are left out."""
    metric, is_loss = LEADING[task]
    names = [name for name, measured in models.items() if metric in measured]
    return sorted(names, key=lambda name: models[name][metric]["value"] * (1 if is_loss else -1))


def of_task(task: str, test: Mapping[str, Any]) -> list[Figure]:
    """Draws a task: models with intervals, differences, slices, and of ratings reliability.

    Args:
      task: `rating` or `retrieval`.
      test: What `metrics.json` tells of its test split.
    """
    metric, _ = LEADING[task]
    models = test["models"]
    names = ranked(models, task)
    if not names:
        return []
    drawn = [
        _figure(
            "All models, with 95 % intervals over users",
            figures.intervals(
                [_estimate(name, models[name][metric]) for name in names], _TITLES[metric]
            ),
        )
    ]
    differences = test.get("differences", {})
    rows = [
        _estimate(name, differences[name][metric])
        for name in names
        if metric in differences.get(name, {})
    ]
    if rows:
        drawn.append(
            _figure(
                "T²Rec minus each, paired: an interval beside 0 is a difference",
                figures.intervals(rows, f"difference in {_TITLES[metric]}", zero_line=True),
            )
        )
    if MODEL in models and models[MODEL].get("slices"):
        drawn.append(_figure("By slice", _slices(task, test)))
    if task == "rating" and models.get(MODEL, {}).get("reliability"):
        drawn.append(_figure("What is predicted, and what is given", _reliability(test)))
    return drawn


def _estimate(name: str, interval: Mapping[str, float]) -> dict[str, Any]:
    value = interval["value"]
    return {
        "name": name,
        "kind": kind_of(name),
        "value": value,
        "low": interval.get("low", value),
        "high": interval.get("high", value),
    }


def _slices(task: str, test: Mapping[str, Any]) -> str:
    metric, _ = LEADING[task]
    compared = [name for name in (MODEL, test.get("best_baseline")) if name in test["models"]]
    rows = [
        {
            "slice": f"{_label(name)} ({measured[_COUNTED[task]]:,})",
            "model": model,
            "value": measured[metric]["value"],
        }
        for model in compared
        for name, measured in test["models"][model]["slices"].items()
    ]
    return figures.slices(rows, _TITLES[metric])


def _label(name: str) -> str:
    """Shortens the name of a slice, so that its size still fits behind it."""
    family, equals, label = name.partition("=")
    shown = {"activity": f"{label} visits"}.get(family, label) if equals else name.replace("_", " ")
    return shown if len(shown) <= _MAX_LABEL else f"{shown[: _MAX_LABEL - 1]}…"


def _reliability(test: Mapping[str, Any]) -> str:
    compared = [name for name in (MODEL, test.get("best_baseline")) if name in test["models"]]
    rows = [
        {"name": model, "x": point["predicted"], "y": point["stars"]}
        for model in compared
        for point in test["models"][model]["reliability"]
    ]
    return figures.curves(rows, "mean predicted stars", "mean stars", diagonal=True)


def of_training(training: Mapping[str, Any]) -> list[Figure]:
    """Draws the looks at eval of each task's longest run, and the loss."""
    drawn = []
    for task, choice in training.get("choices", {}).items():
        runs = [trial["looks"] for trial in choice.get("trials", []) if trial.get("looks")]
        if not runs:
            continue
        looks = max(runs, key=len)
        for metric in looks[0]["metrics"]:
            rows = [{"name": metric, "x": k["step"], "y": k["metrics"][metric]} for k in looks]
            drawn.append(_figure(f"{task}: {metric} on eval", figures.curves(rows, "step", metric)))
        rows = [{"name": "training loss", "x": look["step"], "y": look["loss"]} for look in looks]
        drawn.append(_figure(f"{task}: loss", figures.curves(rows, "step", "training loss")))
    return drawn


def of_index(index: Mapping[str, Any]) -> list[Figure]:
    """Draws recall against time for requests of the usual kind, as far as more time finds more.

    `index["curve"]` is a list of points with `num_leaves`, `recall@10` and `microseconds`.
    """
    points = [point for point in index.get("curve", []) if point["kind"] == "plain"]
    best: dict[int, float] = {}
    rows = []
    for point in sorted(points, key=lambda point: point["microseconds"]):
        leaves, recall = point["num_leaves"], point["recall@10"]
        if recall > best.get(leaves, 0.0):
            best[leaves] = recall
            name = f"{leaves:,} leaves"
            rows.append({"name": name, "x": point["microseconds"], "y": recall})
    if not rows:
        return []
    rows.append({"name": "exact search", "x": index["exact_microseconds"], "y": 1.0})
    drawn = figures.curves(rows, "CPU microseconds a query", "recall@10 against exact search")
    return [_figure("The index: recall against time", drawn)]


def of_time(report: Mapping[str, Any]) -> list[Figure]:
    """Draws what each component took, the longest first."""
    drawn = []
    for key, title in (("timings", "Seconds by component"), ("memory_mb", "Peak memory, MB")):
        told = report.get(key) or {}
        rows = [
            {"name": name, "value": value}
            for name, value in sorted(told.items(), key=lambda item: -item[1])
            if name not in report.get("cached", ())
        ]
        if rows:
            drawn.append(_figure(title, figures.bars(rows[:14], title)))
    return drawn


def of_data(statistics: Mapping[str, Any]) -> list[Figure]:
    """Draws how stars are distributed in each split."""
    rows = [
        {"name": split, "x": quantile, "y": 100 * place / (len(stars["quantiles"]) - 1)}
        for split, told in statistics.get("interactions", {}).items()
        if "quantiles" in (stars := told["features"].get("stars", {}))
        for place, quantile in enumerate(stars["quantiles"])
    ]
    if not rows:
        return []
    drawn = figures.curves(rows, "stars", "share of ratings up to there, %")
    return [_figure("Stars by split", drawn)]


def _figure(title: str, svg: str) -> Figure:
    return {"title": title, "svg": svg}
