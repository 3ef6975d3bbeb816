"""Search over a catalogue of Yelp's size, in the exports, against exact search and its peers."""

import argparse
import json
import os
import statistics
import sys
import tempfile

from benchmarks import processes, serving_model

_PROGRAM = "benchmarks.retrieval_program"


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks retrieval", description=__doc__)
    parser.add_argument("--businesses", type=int, default=serving_model.NUM_BUSINESSES)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--root", help="keeps the exports there, to use them again")
    options = parser.parse_args(arguments or [])
    with tempfile.TemporaryDirectory(prefix="retrieval-") as directory:
        root = options.root or directory
        print(f"{options.users:,} users, {options.businesses:,} businesses", flush=True)
        for kind in ("exact", "approximate"):
            name = "t2rec_scann" if kind == "approximate" else "t2rec"
            if os.path.exists(os.path.join(root, name)):
                continue
            used = processes.run(
                "benchmarks.serving_model", root, options.users, options.businesses, kind
            )
            print(
                f"  {kind} export built in {used.cpu_seconds:.1f} CPU s, "
                f"{used.wall_seconds:.1f} s, {used.peak_mb:.0f} MB",
                flush=True,
            )
        runs = []
        for turn in range(options.turns):
            report = os.path.join(directory, f"{turn}.json")
            used = processes.run(_PROGRAM, root, report)
            with open(report, encoding="utf-8") as file:
                runs.append(json.load(file))
            print(
                f"  turn {turn + 1}: {used.wall_seconds:.0f} s, {used.peak_mb:.0f} MB", flush=True
            )
        _print(runs)


def _print(runs: list[dict]) -> None:
    """Prints medians over the turns, and ratios that are made within a turn.

    Args:
      runs: By turn, what the program wrote.
    """
    print(f"  {'CPU us a query':<44}{'median':>10}{'recall@10':>11}")
    for name in runs[0]["microseconds"]:
        recall = runs[0]["recall"].get(name)
        median = statistics.median(run["microseconds"][name] for run in runs)
        print(f"  {name:<44}{median:>10.0f}{'' if recall is None else f'{recall:.3f}':>11}")
    print("  ratios within a turn, median (least to greatest)")
    for title, above, below in _RATIOS:
        ratios = [
            run["microseconds"][above] / run["microseconds"][below]
            for run in runs
            if above in run["microseconds"] and below in run["microseconds"]
        ]
        if ratios:
            print(
                f"  {title:<44}{statistics.median(ratios):>10.2f}"
                f"   ({min(ratios):.2f} to {max(ratios):.2f})"
            )


_RATIOS = (
    ("exact / ScaNN, batch 64 (10 wanted)", "exact, batch 64", "ScaNN, batch 64"),
    ("exact / ScaNN, batch 1 (5 wanted)", "exact, batch 1", "ScaNN, batch 1"),
    ("FAISS HNSW / ScaNN, index alone", "FAISS HNSW, index alone", "ScaNN, index alone"),
    ("hnswlib / ScaNN, index alone", "hnswlib, index alone", "ScaNN, index alone"),
    (
        "filtered / exact, batch 64 (1.5 wanted)",
        "exact, category and city, batch 64",
        "exact, batch 64",
    ),
    (
        "filtered / exact, batch 1 (1.5 wanted)",
        "exact, category and city, batch 1",
        "exact, batch 1",
    ),
    (
        "filters that differ / exact, batch 64",
        "exact, 64 different filters",
        "exact, batch 64",
    ),
    ("ScaNN filtered / exact, batch 1", "ScaNN, category and city, batch 1", "exact, batch 1"),
    ("exact, batch 64 / matmul and top-k", "exact, batch 64", "matmul and top-k, batch 64"),
)


if __name__ == "__main__":
    main(sys.argv[1:])
