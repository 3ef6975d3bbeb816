"""The whole batch scoring job, reading and Parquet included, against a bare product and top-k."""

import argparse
import json
import os
import statistics
import sys
import tempfile

from benchmarks import processes

_MODEL_PROGRAM, _FLOOR_PROGRAM = "benchmarks.serving_model", "benchmarks.batch_scoring_floor"
# The smallest job shows what is paid before the first user.
_FEW_USERS = 2_000
_STEP = 7_919  # Users are taken from all over the model.


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks batch_scoring", description=__doc__)
    parser.add_argument("--users", type=int, default=22_000, help="sample that is scored")
    parser.add_argument("--model-users", type=int, default=500_000)
    parser.add_argument("--businesses", type=int, default=150_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="also all users of the model, once")
    options = parser.parse_args(arguments or [])
    with tempfile.TemporaryDirectory(prefix="batch-scoring-") as directory:
        sizes = (options.model_users, options.businesses)
        processes.run(_MODEL_PROGRAM, directory, *sizes, "exact")
        turns = [_turn(directory, options, turn) for turn in range(options.turns)]
        _print_turns(turns)
        if options.full:
            usage = _score(directory, "all", options.k, "full")
            floor = statistics.median(turn["floor"]["product and top-k"] for turn in turns)
            total = options.model_users * floor / 1e6
            print(
                f"  all {options.model_users:,} users: {usage.cpu_seconds:.0f} CPU s, "
                f"{usage.cpu_seconds / total:.2f} x the floor's {total:.0f} s, "
                f"{usage.wall_seconds:.0f} s wall, peak {usage.peak_mb:,.0f} MB"
            )


def _turn(directory: str, options: argparse.Namespace, turn: int) -> dict:
    """Runs the floor, a small job and a large one."""
    report = os.path.join(directory, "floor.json")
    processes.run(_FLOOR_PROGRAM, directory, options.k, report)
    with open(report, encoding="utf-8") as file:
        floor = json.load(file)
    usages = {}
    for num_users in (_FEW_USERS, options.users):
        path = os.path.join(directory, "users.txt")
        with open(path, "w", encoding="utf-8") as file:
            rows = (row * _STEP % options.model_users for row in range(num_users))
            file.writelines(f"user-{row}\n" for row in rows)
        usages[num_users] = _score(directory, path, options.k, f"{turn}-{num_users}")
    few, many = usages[_FEW_USERS], usages[options.users]
    return {
        "floor": floor,
        "ours": 1e6 * (many.cpu_seconds - few.cpu_seconds) / (options.users - _FEW_USERS),
        "start": few.cpu_seconds,
        "few_mb": few.peak_mb,
        "many_mb": many.peak_mb,
    }


def _score(directory: str, users: str, k: int, name: str) -> processes.Usage:
    out = os.path.join(directory, name)
    arguments = ("--model", f"{directory}/t2rec", "--users", users, "--out", out, "-k", k)
    return processes.run("pipeline.cli", "score", *arguments, "--exclude-seen")


def _print_turns(turns: list[dict]) -> None:
    """Prints medians of CPU µs a user, of ratios within a turn, and the peaks."""
    ours = [turn["ours"] for turn in turns]
    print(f"  {'':<28}{'CPU µs a user':>14}{'ours against it':>17}{'worst':>8}")
    print(f"  {'ours':<28}{statistics.median(ours):>14.0f}")
    for name in turns[0]["floor"]:
        floors = [turn["floor"][name] for turn in turns]
        ratios = [a / b for a, b in zip(ours, floors, strict=True)]
        print(
            f"  {name:<28}{statistics.median(floors):>14.0f}{statistics.median(ratios):>15.2f} x"
            f"{max(ratios):>8.2f}"
        )
    start, few, many = (
        statistics.median(turn[key] for turn in turns) for key in ("start", "few_mb", "many_mb")
    )
    print(
        f"  {_FEW_USERS:,} users: {start:.1f} CPU s; peak {few:,.0f} MB, of the sample {many:,.0f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
