"""Builds and searches one index over millions of candidates."""

import argparse
import sys

from benchmarks import processes


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks index_scale", description=__doc__)
    parser.add_argument("--businesses", type=int, default=1_000_000, help="10 million need 20 GB")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--leaves-by-root", type=float, default=2.0, help="leaves / √businesses")
    options = parser.parse_args(arguments or [])
    print(f"{options.businesses:,} businesses, drawn in clusters", flush=True)
    used = processes.run(
        "benchmarks.index_scale_program",
        options.businesses,
        options.queries,
        options.leaves_by_root,
        num_threads=2,
    )
    print(
        f"  as a process: {used.wall_seconds:.0f} s, {used.cpu_seconds:.0f} CPU s, "
        f"{used.peak_mb:,.0f} MB"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
