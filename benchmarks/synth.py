"""Speed of `t2rec synth` on one core, against writing the same bytes and nothing else."""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

NUM_REVIEWS = 300_000
NUM_PAIRS = 5

_GENERATE = "import sys; from pipeline import synth; synth.generate(sys.argv[1], int(sys.argv[2]))"
_COPY = (
    "import sys, os\n"
    "for name in os.listdir(sys.argv[1]):\n"
    "    with open(os.path.join(sys.argv[1], name), 'rb') as a, "
    "open(os.path.join(sys.argv[2], name), 'wb') as b:\n"
    "        while block := a.read(1 << 20): b.write(block)\n"
)


def _cpu_seconds(program: str, *args: str) -> float:
    """Runs a program in a process of its own and returns its CPU seconds, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", program, *args], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: list[str] | None = None) -> None:
    """Prints the medians over pairs of runs.

    Args:
      arguments: Command line; it has no options.
    """
    argparse.ArgumentParser(prog="python -m benchmarks synth", description=__doc__).parse_args(
        arguments or []
    )
    generated, copied, ratios = [], [], []
    for _ in range(NUM_PAIRS):
        with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as copy:
            generated.append(_cpu_seconds(_GENERATE, data, str(NUM_REVIEWS)))
            # The copier's peak is far lower, so the children's is the generator's.
            peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            copied.append(_cpu_seconds(_COPY, data, copy))
            size_mb = sum(os.path.getsize(os.path.join(data, f)) for f in os.listdir(data)) / 1e6
        ratios.append(generated[-1] / copied[-1])
    seconds = statistics.median(generated)
    print(
        f"{NUM_REVIEWS:,} reviews, {size_mb:.0f} MB: {seconds:.2f} CPU s, "
        f"{size_mb / seconds:.0f} MB/s a core, peak {peak_mb:.0f} MB; "
        f"{statistics.median(ratios):.1f} x the CPU time of copying the same bytes"
    )
