"""Benchmarks that train on ingested tables with several seeds, and compare seed by seed."""

import argparse
import json
import os
import statistics
import tempfile

from benchmarks import processes, roots


def run(name: str, description: str | None, arguments: list[str] | None) -> list[dict]:
    """Runs the program of a benchmark, as its command line says.

    Args:
      name: The benchmark; `benchmarks.NAME_program` takes the tables' root, a number of seeds and
        the JSON file that it writes its runs to.
      description: What `--help` tells.
      arguments: Command line.

    Returns:
      The runs, as the program wrote them.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=description)
    roots.add_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3, help="how often everything is trained")
    options = parser.parse_args(arguments or [])
    with roots.ingested(options) as root, tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.json")
        processes.run(f"benchmarks.{name}_program", root, options.seeds, report)
        with open(report, encoding="utf-8") as file:
            return json.load(file)


def mean(runs: list[dict], key: str) -> float:
    """Returns the mean of a metric."""
    return statistics.mean(one[key] for one in runs)


def gap(runs: list[dict], others: list[dict], key: str) -> tuple[float, float]:
    """Compares a metric seed by seed.

    Args:
      runs: One a seed.
      others: The same of the other side, in the same order.
      key: The metric.

    Returns:
      The mean of `runs` minus `others`, and its standard error; NaN of a single seed.
    """
    gaps = [one[key] - other[key] for one, other in zip(runs, others, strict=True)]
    error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
    return statistics.mean(gaps), error
