"""Sizes that `auto` finds for the rating towers, against a grid of them, on the eval split."""

import sys

from benchmarks import seeds

_AUTO = "auto"


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    _print(seeds.run("sizes", __doc__, arguments))


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
    for size, of_size in sorted(by_size.items(), key=lambda item: seeds.mean(item[1], "rmse")):
        gap, error = seeds.gap(auto, of_size, "rmse")
        print(
            f"  {size:<16}{seeds.mean(of_size, 'rmse'):>12.4f}{gap:>12.4f}"
            f"{error:>10.4f}{seeds.mean(of_size, 'cpu_seconds'):>10.1f}"
        )
    grid = sum(run["cpu_seconds"] for run in runs if run["size"] != _AUTO)
    found = sum(run["cpu_seconds"] for run in auto)
    print(f"  auto found {', '.join(sorted({run['found'] for run in auto}))}")
    print(f"  CPU of auto {found:.0f} s, of the grid {grid:.0f} s: {grid / found:.1f} x")


if __name__ == "__main__":
    main(sys.argv[1:])
