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


def labelled(label: str, name: str, text: str) -> str:
    """Lays out a finding, so that those of several lines stand below each other.

    Args:
      label: What matters about it, in a word.
      name: Of what it is about.
      text: What is said of it.
    """
    return f"{label:<8} {name:<18} {text}".rstrip()


# Of more baselines, the ones in between are in the report only.
_MAX_ROWS = 7


def metrics_tables(report: Mapping) -> str:
    """Lays out a run's metrics: the model among the best baselines, and the verdict.

    Args:
      report: The content of `metrics.json`.
    """
    parts = []
    if "rating" in report:
        columns = {"RMSE [95 %]": "rmse", "MAE": "mae"}
        cold = {"cold users": "cold_user", "cold places": "cold_business"}
        parts.append(_models(report["rating"]["test"], "ratings", columns, cold, is_loss=True))
    if "retrieval" in report:
        columns = {
            "recall@20 [95 %]": "recall@20",
            "recall@10": "recall@10",
            "NDCG@20": "ndcg@20",
            "coverage@20": "coverage@20",
        }
        parts.append(_models(report["retrieval"]["test"], "lists", columns, {}, is_loss=False))
    skipped = [
        f"  {name}: {reason}"
        for task in ("rating", "retrieval")
        for name, reason in report.get(task, {}).get("test", {}).get("skipped", {}).items()
    ]
    if skipped:
        parts.append("\n".join(["skipped:", *skipped]))
    index = report["index"]
    parts.append(
        f"index: recall@10 against exact search {index['recall@10']:.3f}, "
        f"{index['speedup_vs_exact']:.1f} x as fast over {index['num_candidates']:,} candidates"
        if index["num_leaves"]
        else f"index: none, exact search of {index['num_candidates']:,} candidates is as fast"
    )
    parts.append(_verdict(report["blessing"]))
    return "\n\n".join(parts)


def _models(test: Mapping, title: str, columns: Mapping, slices: Mapping, is_loss: bool) -> str:
    """Lays out one task: the first column decides the order, and has its interval."""
    models, leading = test["models"], next(iter(columns.values()))
    if not any(leading in measured for measured in models.values()):
        return f"{title}: {test.get('undefined', 'nothing was measured')}"
    sign = 1 if is_loss else -1
    names = sorted(models, key=lambda name: sign * models[name][leading]["value"])
    shown = [name for place, name in enumerate(names) if place < _MAX_ROWS or name == "t2rec"]
    rows = []
    for name in shown:
        measured = models[name]
        cells = [_interval(measured[leading])]
        cells += [f"{measured[key]['value']:.4f}" for key in list(columns.values())[1:]]
        for key in slices.values():
            part = measured["slices"].get(key)
            cells.append(f"{part[leading]['value']:.4f}" if part else "none")
        rows.append([name, *cells])
    text = table([title, *columns, *slices], rows)
    left = len(names) - len(shown)
    return f"{text}\n(and {left} more in the report)" if left else text


def _verdict(blessing: Mapping) -> str:
    """Says what was decided, what speaks against it first; routine checks are only counted."""
    checks = list(zip(blessing["checks"], blessing["reasons"], strict=True))
    failed = [reason for check, reason in checks if check["ok"] is False]
    left_out = [reason for check, reason in checks if check["ok"] is None]
    fine = [(check["kind"], reason) for check, reason in checks if check["ok"]]
    compared = [reason for kind, reason in fine if kind == "comparison"]
    lines = ["blessed" if blessing["blessed"] else "NOT blessed:"]
    lines += [f"  {text}" for text in (*failed, *compared, *left_out)]
    passed = len(fine) - len(compared)
    if passed:
        lines.append(f"  passed: {passed} other checks, of the index and for leaks")
    return "\n".join(lines)


def _interval(measured: Mapping[str, float]) -> str:
    value = f"{measured['value']:.4f}"
    if "low" not in measured:
        return value
    return f"{value} [{measured['low']:.4f}, {measured['high']:.4f}]"
