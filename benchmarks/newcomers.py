"""Lists for users who were never in training, by their history, against those trained in."""

import argparse
import os
import sys
import tempfile

from benchmarks import processes


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks newcomers", description=__doc__)
    parser.add_argument("--data", help="Yelp files; generated if left out")
    parser.add_argument("--reviews", type=int, default=100_000, help="how many to generate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.1, help="of users, to be withheld")
    parser.add_argument("--root", help="where the ingested data is, or goes")
    options = parser.parse_args(arguments or [])
    with tempfile.TemporaryDirectory(prefix="newcomers-") as directory:
        root = options.root or os.path.join(directory, "root")
        if not os.path.isdir(root):
            data = options.data
            if not data:
                data = os.path.join(directory, "data")
                told = ("synth", "--out", data, "--reviews", options.reviews)
                processes.run("pipeline.cli", *told)
            settings = ("split.method=random", f"split.seed={options.seed}")
            processes.run("benchmarks.ingest_pipeline", data, root, *settings)
        processes.run(
            "benchmarks.newcomers_program", root, options.seed, options.share, num_threads=2
        )


if __name__ == "__main__":
    main(sys.argv[1:])
