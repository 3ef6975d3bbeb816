"""One trunk a tower for both tasks, against one of its own for each task, on the eval split."""

import argparse
import json
import os
import statistics
import sys
import tempfile

from benchmarks import processes, roots

_METRICS = ("rmse", "ndcg@20", "ndcg@50")


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks trunks", description=__doc__)
    roots.add_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arrangement")
    options = parser.parse_args(arguments or [])
    with roots.ingested(options) as root, tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.json")
        processes.run("benchmarks.trunks_program", root, options.seeds, report)
        with open(report, encoding="utf-8") as file:
            _print(json.load(file))


def _print(runs: list[dict]) -> None:
    """Prints each arrangement's means, and how far each seed's are from those of the first.

    Args:
      runs: One or, where tasks are trained apart, two a seed and arrangement: `name`, `seed`,
        `cpu_seconds` and some of the metrics.
    """
    by_name: dict[str, dict[int, dict]] = {}
    for run in runs:
        of_seed = by_name.setdefault(run["name"], {}).setdefault(run["seed"], {"cpu_seconds": 0.0})
        of_seed["cpu_seconds"] += run["cpu_seconds"]
        of_seed.update({key: run[key] for key in _METRICS if key in run})
    first = next(iter(by_name.values()))
    print(f"  {'eval':<28}" + "".join(f"{key:>26}" for key in _METRICS) + f"{'CPU s':>8}")
    for name, seeds in by_name.items():
        cells = ""
        for key in _METRICS:
            gaps = [of_seed[key] - first[seed][key] for seed, of_seed in seeds.items()]
            error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
            told = f"{_mean(seeds, key):.4f} ({statistics.mean(gaps):+.4f} ± {error:.4f})"
            cells += f"{told:>26}"
        print(f"  {name:<28}{cells}{_mean(seeds, 'cpu_seconds'):>8.1f}")


def _mean(seeds: dict[int, dict], key: str) -> float:
    return statistics.mean(of_seed[key] for of_seed in seeds.values())


if __name__ == "__main__":
    main(sys.argv[1:])
