"""Sizes that `auto` finds for the rating towers, against a grid of them, on the eval split."""

import argparse
import json
import os
import statistics
import sys
import tempfile

from benchmarks import processes

_PROGRAM = "benchmarks.sizes_program"
_AUTO = "auto"


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks sizes", description=__doc__)
    parser.add_argument("--data", help="Yelp files; generated if left out")
    parser.add_argument("--reviews", type=int, default=100_000, help="how many to generate")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each size")
    parser.add_argument("--root", help="where the ingested data is, or goes")
    options = parser.parse_args(arguments or [])
    with tempfile.TemporaryDirectory(prefix="sizes-") as directory:
        root = options.root or os.path.join(directory, "root")
        if not os.path.isdir(root):
            data = options.data or _generate(os.path.join(directory, "data"), options.reviews)
            processes.run("benchmarks.ingest_pipeline", data, root, "split.method=random")
        report = os.path.join(directory, "report.json")
        processes.run(_PROGRAM, root, options.seeds, report)
        with open(report, encoding="utf-8") as file:
            _print(json.load(file))


def _generate(directory: str, num_reviews: int) -> str:
    arguments = ("synth", "--out", directory, "--reviews", num_reviews)
    processes.run("pipeline.cli", *arguments)
    return directory


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
