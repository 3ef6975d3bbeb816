"""Sizes that `auto` finds for the rating towers, against a grid of them, on the eval split."""

import argparse
import json
import os
import statistics
import sys
import tempfile

from benchmarks import processes, roots

_PROGRAM = "benchmarks.sizes_program"
_AUTO = "auto"


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks sizes", description=__doc__)
    roots.add_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each size")
    options = parser.parse_args(arguments or [])
    with roots.ingested(options) as root, tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.json")
        processes.run(_PROGRAM, root, options.seeds, report)
        with open(report, encoding="utf-8") as file:
            _print(json.load(file))


def _print(runs: list[dict]) -> None:
    """Prints each size's errors, and how far `auto` is from the best of the grid.

    Args:
      runs: One a seed and size: `size`, `found`, `seed`, `rmse` and `cpu_seconds`.
    """
    by_size: dict[str, list[dict]] = {}
    for run in runs:
        by_size.setdefault(run["size"], []).append(run)
    auto = by_size[_AUTO]
    print(f"  {'size':<16}{'eval RMSE':>12}{'auto - it':>12}{'se':>10}{'CPU s':>10}")
    for size, of_size in sorted(by_size.items(), key=lambda item: _mean(item[1], "rmse")):
        gaps = [a["rmse"] - b["rmse"] for a, b in zip(auto, of_size, strict=True)]
        error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
        print(
            f"  {size:<16}{_mean(of_size, 'rmse'):>12.4f}{statistics.mean(gaps):>12.4f}"
            f"{error:>10.4f}{_mean(of_size, 'cpu_seconds'):>10.1f}"
        )
    grid = sum(run["cpu_seconds"] for run in runs if run["size"] != _AUTO)
    found = sum(run["cpu_seconds"] for run in auto)
    print(f"  auto found {', '.join(sorted({run['found'] for run in auto}))}")
    print(f"  CPU of auto {found:.0f} s, of the grid {grid:.0f} s: {grid / found:.1f} x")


def _mean(runs: list[dict], key: str) -> float:
    return statistics.mean(run[key] for run in runs)


if __name__ == "__main__":
    main(sys.argv[1:])
