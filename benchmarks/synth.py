"""Speed of `t2rec synth` on one core, against writing the same bytes and nothing else."""

import argparse
import os
import statistics
import tempfile

from benchmarks import processes

NUM_REVIEWS = 300_000
NUM_PAIRS = 5


def main(arguments: list[str] | None = None) -> None:
    """Prints the medians over pairs of runs.

    Args:
      arguments: Command line; it has no options.
    """
    argparse.ArgumentParser(prog="python -m benchmarks synth", description=__doc__).parse_args(
        arguments or []
    )
    generated, ratios = [], []
    for _ in range(NUM_PAIRS):
        with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as copy:
            generating = processes.run("benchmarks.synth_programs", "generate", data, NUM_REVIEWS)
            copying = processes.run("benchmarks.synth_programs", "copy", data, copy)
            size_mb = sum(os.path.getsize(os.path.join(data, f)) for f in os.listdir(data)) / 1e6
        generated.append(generating)
        ratios.append(generating.cpu_seconds / copying.cpu_seconds)
    seconds = statistics.median(used.cpu_seconds for used in generated)
    peak_mb = max(used.peak_mb for used in generated)
    print(
        f"{NUM_REVIEWS:,} reviews, {size_mb:.0f} MB: {seconds:.2f} CPU s, "
        f"{size_mb / seconds:.0f} MB/s a core, peak {peak_mb:.0f} MB; "
        f"{statistics.median(ratios):.1f} x the CPU time of copying the same bytes"
    )
