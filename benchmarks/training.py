"""Speed of training and of full-catalogue evaluation, against textbook TensorFlow Recommenders."""

import argparse
import json
import os
import statistics
import sys
import tempfile

from benchmarks import processes

NUM_USERS, NUM_BUSINESSES, NUM_PAIRS = 32_000, 38_000, 1_200_000
NUM_TEST_PAIRS_A_USER = 10
NUM_TURNS = 3
_PROGRAMS, _FULL = "benchmarks.training_programs", "benchmarks.training_full"
# By task and program, how long a run is: in steps; in users or, for the last two, test pairs.
LENGTHS = {
    "retrieval": {"ours": 60, "textbook": 40},
    "history": {"ours": 60, "textbook": 40},
    "rating": {"ours": 300, "textbook": 200},
}
EVALUATION_LENGTHS = {
    "floor": NUM_USERS,
    "top_k": NUM_USERS,
    "brute_force": 12_288,
    "streaming": 12_288,
}


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks training", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data, at most 1")
    parser.add_argument("--turns", type=int, default=NUM_TURNS, help="runs of each program")
    parser.add_argument("--only", choices=[*LENGTHS, "evaluation"], help="one of the comparisons")
    parser.add_argument(
        "--full",
        nargs="*",
        metavar="KEY=VALUE",
        help="the whole trainer on data of Yelp's size (times --scale), on all cores; training "
        "options may be set",
    )
    options = parser.parse_args(arguments or [])
    if options.full is not None:
        _run_full(options.scale, options.full)
        return
    sizes = [round(n * options.scale) for n in (NUM_USERS, NUM_BUSINESSES, NUM_PAIRS)]
    with tempfile.TemporaryDirectory(prefix="training-") as directory:
        data = os.path.join(directory, "data.npz")
        processes.run(_PROGRAMS, "generate", data, *sizes)
        print("{:,} users, {:,} businesses, {:,} pairs".format(*sizes))
        for task in LENGTHS:
            if options.only in (None, task):
                _compare_training(task, data, options.turns)
        if options.only in (None, "evaluation"):
            _compare_evaluation(data, sizes[0], options.turns)


def _run_full(scale: float, settings: list[str]) -> None:
    """Prints what the whole trainer takes; its own log says what each part does."""
    with tempfile.TemporaryDirectory(prefix="training-") as directory:
        report = os.path.join(directory, "report.json")
        cores = len(os.sched_getaffinity(0))
        processes.run(_FULL, scale, report, *settings, num_threads=cores)
        with open(report) as file:
            run = json.load(file)
    _print_row("trainer", "ratings", "wall s", "CPU s", "MB peak", "eval")
    _print_row(
        "ours",
        f"{run['ratings']:,}",
        f"{run['wall_seconds']:.0f}",
        f"{run['cpu_seconds']:.0f}",
        f"{run['peak_mb']:,.0f}",
        ", ".join(f"{task} {score:.4f}" for task, score in run["scores"].items()),
    )


def _compare_training(task: str, data: str, num_turns: int) -> None:
    """Prints the examples that a CPU second is enough for."""
    measured = _measure(LENGTHS[task], task, data, num_turns)
    speeds = {name: [1 / run[0] for run in runs] for name, runs in measured.items()}
    _print_row(task, "examples/CPU s", "slowest", "ratio", "MB peak")
    for name, runs in measured.items():
        ratios = [a / b for a, b in zip(speeds[name], speeds["textbook"], strict=True)]
        _print_row(
            name,
            f"{statistics.median(speeds[name]):,.0f}",
            f"{min(speeds[name]):,.0f}",
            f"{statistics.median(ratios):.2f}",
            f"{max(run[1] for run in runs):.0f}",
        )


def _compare_evaluation(data: str, num_users: int, num_turns: int) -> None:
    """Prints what the evaluation of all users costs."""
    measured = _measure(EVALUATION_LENGTHS, "retrieval", data, num_turns)
    num_rows = dict.fromkeys(measured, num_users)
    num_rows |= dict.fromkeys(("brute_force", "streaming"), num_users * NUM_TEST_PAIRS_A_USER)
    seconds = {name: [run[0] * num_rows[name] for run in runs] for name, runs in measured.items()}
    _print_row("evaluation", "rows", "CPU s", "slowest", "ratio", "MB peak")
    for name, runs in measured.items():
        ratios = [a / b for a, b in zip(seconds[name], seconds["floor"], strict=True)]
        _print_row(
            name,
            f"{num_rows[name]:,}",
            f"{statistics.median(seconds[name]):.2f}",
            f"{max(seconds[name]):.2f}",
            f"{statistics.median(ratios):.2f}",
            f"{max(run[1] for run in runs):.0f}",
        )


def _measure(
    lengths: dict[str, int], task: str, data: str, num_turns: int
) -> dict[str, list[tuple[float, float]]]:
    """Runs programs in turns.

    Returns:
      By program, the CPU seconds an example and the peak memory in MB, turn by turn.
    """
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in lengths}
    report = os.path.join(os.path.dirname(data), "report.json")
    for _ in range(num_turns):
        for name, length in lengths.items():
            usage = processes.run(_PROGRAMS, name, data, task, length, report)
            with open(report) as file:
                run = json.load(file)
            measured[name].append((run["cpu_seconds"] / run["done"], usage.peak_mb))
    return measured


def _print_row(name: str, *cells: str) -> None:
    print(f"  {name:<12}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
