"""Cost of the ingestion of each table, against DuckDB, Polars and a textbook Beam pipeline.

`--full` runs ingestion, statistics, validation and Transform over data of Yelp's own size instead.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile

from benchmarks import processes

NUM_REVIEWS = 300_000
NUM_PAIRS = 3
NUM_FULL_REVIEWS = 7_000_000
PREFIX = "yelp_academic_dataset_"
# Programs by table; `floor` only counts lines. Each reads a file and writes to a directory.
PROGRAMS = {
    "review": ("ours", "duckdb", "polars", "textbook", "floor"),
    "user": ("ours", "duckdb", "floor"),
    "business": ("ours", "duckdb", "floor"),
}
_TINY_LINES = 100
_MIN_BYTES = 100 << 20
_TWO_WORKER_BYTES = 2 << 30
_WORKERS = (
    ("one process", []),
    ("2 processes", ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]),
    ("2 threads", ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]),
)


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks ingest", description=__doc__)
    parser.add_argument("--dir", help="where the data goes; by default a temporary directory")
    parser.add_argument("--reviews", type=int, help="number of reviews to generate")
    parser.add_argument("--full", action="store_true", help="the real pipeline, at Yelp's size")
    parser.add_argument(
        "--no-workers", action="store_true", help="leave out the runs of two workers"
    )
    parser.add_argument(
        "--programs", nargs="+", help="which programs to compare; by default all of them"
    )
    options = parser.parse_args(arguments or [])
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="ingest-") as directory:
        if options.full:
            _run_pipeline(directory, options.reviews or NUM_FULL_REVIEWS)
            return
        data = os.path.join(directory, "data")
        processes.run(
            "benchmarks.ingest_programs", "generate", data, options.reviews or NUM_REVIEWS
        )
        for table, programs in PROGRAMS.items():
            chosen = [name for name in programs if name in (options.programs or programs)]
            _compare(table, chosen, directory, _enlarge(table, data))
        if not options.no_workers:
            _compare_workers(directory, data)


def _enlarge(table: str, data: str) -> str:
    """Returns the path of a table's file, enlarged so that start-up is little beside its rows."""
    path = os.path.join(data, f"{PREFIX}{table}.json")
    num_copies = -(-_MIN_BYTES // os.path.getsize(path))
    if num_copies == 1:
        return path
    large = os.path.join(data, "large", os.path.basename(path))
    os.makedirs(os.path.dirname(large), exist_ok=True)
    processes.run("benchmarks.ingest_programs", "repeat", path, large, num_copies)
    return large


def _compare(table: str, programs: list[str], directory: str, path: str) -> None:
    """Prints the cost of programs on a table's file, in turns."""
    inputs = {
        "full": _take(path, None, directory),
        "1/20": _take(path, 1 / 20, directory),
        "tiny": _take(path, 0, directory),
    }
    num_rows = _count_lines(inputs["full"]) - _count_lines(inputs["tiny"])
    size_mb = os.path.getsize(inputs["full"]) / 1e6
    print(f"{table}: {num_rows:,} rows more than the tiny file, {size_mb:.0f} MB")
    measured: dict[tuple[str, str], list[processes.Usage]] = {}
    for turn in range(NUM_PAIRS):
        for size in ("tiny", "full") if turn else inputs:
            for program in programs:
                out = os.path.join(directory, "out")
                usage = processes.run(
                    "benchmarks.ingest_programs", program, table, inputs[size], out
                )
                measured.setdefault((program, size), []).append(usage)
                shutil.rmtree(out, ignore_errors=True)
    _print_row(
        "", "CPU s, min", "median", "tiny file", "us/row, min", "median", "MB peak", "at 1/20"
    )
    for program in programs:
        full = [usage.cpu_seconds for usage in measured[program, "full"]]
        tiny = [usage.cpu_seconds for usage in measured[program, "tiny"]]
        # Turn by turn, the machine being as busy for the one as for the other.
        marginal = [(f - t) / num_rows * 1e6 for f, t in zip(full, tiny, strict=True)]
        _print_row(
            program,
            f"{min(full):.2f}",
            f"{statistics.median(full):.2f}",
            f"{min(tiny):.2f}",
            f"{min(marginal):.2f}",
            f"{statistics.median(marginal):.2f}",
            _peak(measured[program, "full"]),
            _peak(measured[program, "1/20"]),
        )


def _peak(usages: list[processes.Usage]) -> str:
    """Says the largest peak in MB; nothing if a process was too small and short to be seen."""
    peak = max(usage.peak_mb for usage in usages)
    return f"{peak:.0f}" if peak else ""


def _compare_workers(directory: str, data: str) -> None:
    """Prints the wall time of one worker against that of two, over at least 2 GB of reviews."""
    path = os.path.join(data, f"{PREFIX}review.json")
    large = os.path.join(directory, "large", os.path.basename(path))
    os.makedirs(os.path.dirname(large))
    num_copies = -(-_TWO_WORKER_BYTES // os.path.getsize(path))
    processes.run("benchmarks.ingest_programs", "repeat", path, large, num_copies)
    print(f"workers: {os.path.getsize(large) / 1e9:.2f} GB of reviews")
    _print_row("", "wall s, min", "median", "CPU s", "MB peak")
    measured: dict[str, list[processes.Usage]] = {}
    for _ in range(NUM_PAIRS):
        for name, beam_args in _WORKERS:
            out = os.path.join(directory, "out")
            usage = processes.run(
                "benchmarks.ingest_programs", "ours", "review", large, out, *beam_args
            )
            measured.setdefault(name, []).append(usage)
            shutil.rmtree(out, ignore_errors=True)
    for name, usages in measured.items():
        walls = [usage.wall_seconds for usage in usages]
        _print_row(
            name,
            f"{min(walls):.1f}",
            f"{statistics.median(walls):.1f}",
            f"{statistics.median(usage.cpu_seconds for usage in usages):.1f}",
            _peak(usages),
        )


def _run_pipeline(directory: str, num_reviews: int) -> None:
    """Generates data and runs the pipeline up to Transform on it."""
    data, root = os.path.join(directory, "data"), os.path.join(directory, "root")
    usage = processes.run("benchmarks.ingest_programs", "generate", data, num_reviews)
    size_gb = sum(os.path.getsize(entry.path) for entry in os.scandir(data)) / 1e9
    print(f"generated {size_gb:.2f} GB in {usage.wall_seconds:.0f} s")
    usage = processes.run("benchmarks.ingest_pipeline", data, root)
    print(
        f"in all {usage.wall_seconds:.0f} s, {usage.cpu_seconds:.0f} CPU s, "
        f"peak {usage.peak_mb:.0f} MB in the largest process, "
        f"{usage.tree_peak_mb:.0f} MB in all of them"
    )


def _take(path: str, share: float | None, directory: str) -> str:
    """Writes the first lines of a file, under its name, to a directory of their own."""
    name = "full" if share is None else f"part-{share}"
    folder = os.path.join(directory, f"{os.path.basename(path)}.{name}")
    os.makedirs(folder)
    taken = os.path.join(folder, os.path.basename(path))
    if share is None:
        os.link(path, taken)
        return taken
    num_bytes = share * os.path.getsize(path)
    with open(path, "rb") as source, open(taken, "wb") as sink:
        for number, line in enumerate(source):
            if number >= _TINY_LINES and sink.tell() >= num_bytes:
                break
            sink.write(line)
    return taken


def _count_lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _print_row(name: str, *cells: str) -> None:
    print(f"  {name:<12}" + "".join(f"{cell:>13}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
