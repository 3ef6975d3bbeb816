"""The one place that prints: progress, results and errors on the terminal."""

import sys
from collections.abc import Mapping, Sequence


def say(text: str = "") -> None:
    """Prints a line of a command's result."""
    print(text, flush=True)


def note(text: str) -> None:
    """Prints a line about progress or errors, on standard error."""
    print(text, file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out a table in columns.

    Args:
      header: One title a column.
      rows: As many cells a row; the first column is aligned left, the others right.
    """
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def metrics_tables(report: Mapping) -> str:
    """Lays out a run's metrics: the model among the baselines, best first, and the verdict.

    Args:
      report: The content of `metrics.json`.
    """
    parts = []
    if "rating" in report:
        models = report["rating"]["test"]["models"]
        rows = [
            [name, _interval(m["rmse"]), _interval(m["mae"]), *_slices(m, "rmse")]
            for name, m in sorted(models.items(), key=lambda item: item[1]["rmse"]["value"])
        ]
        header = ["rating, test split", "RMSE [95 %]", "MAE [95 %]", "cold users", "cold places"]
        parts.append(table(header, rows))
    if "retrieval" in report:
        models = report["retrieval"]["test"]["models"]
        keys = ("recall@10", "recall@20", "ndcg@20", "mrr")
        rows = [
            [name, *(_interval(m[key]) for key in keys), f"{m['coverage@20']['value']:.3f}"]
            for name, m in sorted(models.items(), key=lambda item: -item[1]["recall@20"]["value"])
        ]
        parts.append(table(["retrieval, test split", *keys, "coverage@20"], rows))
    skipped = [
        f"  {name} ({task}): {reason}"
        for task in ("rating", "retrieval")
        for name, reason in report.get(task, {}).get("test", {}).get("skipped", {}).items()
    ]
    if skipped:
        parts.append("\n".join(["skipped:", *skipped]))
    index = report["index"]
    parts.append(
        f"index: recall@10 against exact search {index['recall@10']:.3f}, "
        f"{index['speedup_vs_exact']:.1f} x as fast over {index['num_candidates']:,} candidates"
    )
    verdict = report["blessing"]
    parts.append(
        "\n".join(
            ["blessed" if verdict["blessed"] else "NOT blessed:"]
            + [f"  {reason}" for reason in verdict["reasons"]]
        )
    )
    return "\n\n".join(parts)


def _interval(measured: Mapping[str, float]) -> str:
    return f"{measured['value']:.4f} [{measured['low']:.4f}, {measured['high']:.4f}]"


def _slices(measured: Mapping, key: str) -> list[str]:
    slices = measured["slices"]
    return [
        f"{slices[name][key]['value']:.4f}" if name in slices else "none"
        for name in ("cold_user", "cold_business")
    ]
