"""Runs the benchmarks: all of them, or `python -m benchmarks NAME [OPTIONS]` one."""

import importlib
import sys

NAMES = (
    "batch_scoring",
    "engines",
    "index_scale",
    "ingest",
    "newcomers",
    "retrieval",
    "serving",
    "sizes",
    "synth",
    "training",
    "trunks",
    "validation",
)

if __name__ == "__main__":
    chosen = sys.argv[1:2] or NAMES
    for name in chosen:
        if name not in NAMES:
            sys.exit(f"Expected the name of a benchmark: {', '.join(NAMES)}; got {name!r}.")
        print(f"== {name}", flush=True)
        # What one imports would count as memory of whatever another starts.
        importlib.import_module(f"benchmarks.{name}").main(sys.argv[2:])
