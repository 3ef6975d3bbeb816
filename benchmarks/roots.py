"""Data of a benchmark that needs tables: given or generated, and ingested once."""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator

from benchmarks import processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says where the data is."""
    parser.add_argument("--data", help="Yelp files; generated if left out")
    parser.add_argument("--reviews", type=int, default=100_000, help="how many to generate")
    parser.add_argument("--root", help="where the ingested data is, or goes")


@contextlib.contextmanager
def ingested(options: argparse.Namespace, split_seed: int = 0) -> Iterator[str]:
    """Ingests what the options name, unless that was done, and splits it at random.

    Args:
      options: What `add_arguments` added.
      split_seed: Seed of the split.

    Yields:
      Where `benchmarks.ingested.read` finds it.
    """
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        root = options.root or os.path.join(directory, "root")
        if not os.path.isdir(root):
            data = options.data
            if not data:
                data = os.path.join(directory, "data")
                told = ("synth", "--out", data, "--reviews", options.reviews)
                processes.run("pipeline.cli", *told)
            settings = ("split.method=random", f"split.seed={split_seed}")
            processes.run("benchmarks.ingest_pipeline", data, root, *settings)
        yield root
