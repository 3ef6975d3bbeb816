"""One trunk a tower for both tasks, against one of its own for each task, on the eval split."""

import sys

from benchmarks import seeds

_METRICS = ("rmse", "ndcg@20", "ndcg@50")


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    _print(seeds.run("trunks", __doc__, arguments))


def _print(runs: list[dict]) -> None:
    """Prints each arrangement's means, and how far each seed's are from those of the first.

    Args:
      runs: One or, where tasks are trained apart, two a seed and arrangement: `name`, `seed`,
        `cpu_seconds` and some of the metrics.
    """
    by_name: dict[str, dict[int, dict]] = {}
    for run in runs:
        of_seed = by_name.setdefault(run["name"], {}).setdefault(run["seed"], {"cpu_seconds": 0.0})
        cpu_seconds = of_seed["cpu_seconds"] + run["cpu_seconds"]
        of_seed.update({**run, "cpu_seconds": cpu_seconds})
    arrangements = {name: list(of_name.values()) for name, of_name in by_name.items()}
    first = next(iter(arrangements.values()))
    print(f"  {'eval':<28}" + "".join(f"{key:>26}" for key in _METRICS) + f"{'CPU s':>8}")
    for name, of_name in arrangements.items():
        cells = ""
        for key in _METRICS:
            mean, error = seeds.gap(of_name, first, key)
            told = f"{seeds.mean(of_name, key):.4f} ({mean:+.4f} ± {error:.4f})"
            cells += f"{told:>26}"
        print(f"  {name:<28}{cells}{seeds.mean(of_name, 'cpu_seconds'):>8.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
