"""Lists for users who were never in training, by their history, against those trained in."""

import argparse
import sys

from benchmarks import processes, roots


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks newcomers", description=__doc__)
    roots.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.1, help="of users, to be withheld")
    options = parser.parse_args(arguments or [])
    with roots.ingested(options, options.seed) as root:
        processes.run(
            "benchmarks.newcomers_program", root, options.seed, options.share, num_threads=2
        )


if __name__ == "__main__":
    main(sys.argv[1:])
