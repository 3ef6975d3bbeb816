"""What changed between two runs' metrics."""

from collections.abc import Mapping
from typing import Any

from models.gate import MODEL

_METRICS = {
    "rating": ("rmse", "mae", "calibration"),
    "retrieval": ("recall@20", "ndcg@20", "coverage@20", "novelty@20"),
}


def compare_metrics(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compares our model's metrics, the size of the data and the time of two runs.

    Args:
      now: The content of `metrics.json`.
      before: That of the earlier run; empty if there was none.

    Returns:
      By metric, `name`, `before`, `now` and `change`; those that one of both lacks are left out.
    """
    if not before:
        return []
    pairs: list[tuple[Any, ...]] = [
        (name, before.get("dataset", {}).get(name), now.get("dataset", {}).get(name))
        for name in ("num_interactions", "num_users", "num_businesses")
    ]
    for task, metrics in _METRICS.items():
        told = [run.get(task, {}).get("test", {}).get("models", {}).get(MODEL, {})
                for run in (before, now)]  # fmt: skip
        pairs += [(metric, *((model.get(metric) or {}).get("value") for model in told))
                  for metric in metrics]  # fmt: skip
    pairs.append((
        "recall@10 of the index",
        *(run.get("index", {}).get("recall@10") for run in (before, now)),
    ))
    pairs.append(("seconds", *(_seconds(run) for run in (before, now))))
    return [
        {"name": name, "before": old, "now": new, "change": new - old}
        for name, old, new in pairs
        if old is not None and new is not None
    ]


def _seconds(report: Mapping[str, Any]) -> float | None:
    timings = report.get("timings")
    return round(sum(timings.values()), 1) if timings else None
