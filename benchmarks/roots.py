"""Data of a benchmark that needs tables: given or generated, and ingested once."""

import argparse
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator

from benchmarks import processes

# In a root, what it was made of; written last.
_RECORD = "benchmark.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says where the data is."""
    parser.add_argument("--data", help="Yelp files; generated if left out")
    parser.add_argument("--reviews", type=int, default=100_000, help="how many to generate")
    parser.add_argument(
        "--root", help="where the ingested data goes, or is from the same --data or --reviews"
    )


@contextlib.contextmanager
def ingested(options: argparse.Namespace, split_seed: int = 0) -> Iterator[str]:
    """Ingests what the options name, unless that was done, and splits it at random.

    Args:
      options: What `add_arguments` added.
      split_seed: Seed of the split.

    Yields:
      Where `benchmarks.ingested.read` finds it.

    Raises:
      SystemExit: If `--root` holds something else.
    """
    asked = {
        "data": os.path.abspath(options.data) if options.data else None,
        "reviews": None if options.data else options.reviews,
        "split_seed": split_seed,
    }
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        root = options.root or os.path.join(directory, "root")
        record = os.path.join(root, _RECORD)
        if os.path.isdir(root):
            _check_same(root, record, asked)
        else:
            data = options.data
            if not data:
                data = os.path.join(directory, "data")
                told = ("synth", "--out", data, "--reviews", options.reviews)
                processes.run("pipeline.cli", *told)
            settings = ("split.method=random", f"split.seed={split_seed}")
            processes.run("benchmarks.ingest_pipeline", data, root, *settings)
            with open(record, "w", encoding="utf-8") as file:
                json.dump(asked, file)
        yield root


def _check_same(root: str, record: str, asked: dict) -> None:
    """Checks that a root was made of what is asked for.

    Raises:
      SystemExit: If it wasn't, or nothing says so.
    """
    try:
        with open(record, encoding="utf-8") as file:
            held = json.load(file)
    except FileNotFoundError:
        held = "something else, or half of it"
    if held != asked:
        raise SystemExit(
            f"Expected --root to be new or to hold {asked}; {root} holds {held}. Give another "
            "folder, or the same --data, --reviews and --seed as then."
        )
