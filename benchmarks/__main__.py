"""Runs the benchmarks: all of them, or `python -m benchmarks NAME [OPTIONS]` one."""

import sys

from benchmarks import (
    batch_scoring,
    engines,
    index_scale,
    ingest,
    newcomers,
    retrieval,
    serving,
    sizes,
    synth,
    training,
    trunks,
    validation,
)

BENCHMARKS = {
    "batch_scoring": batch_scoring.main,
    "engines": engines.main,
    "index_scale": index_scale.main,
    "ingest": ingest.main,
    "newcomers": newcomers.main,
    "retrieval": retrieval.main,
    "serving": serving.main,
    "sizes": sizes.main,
    "synth": lambda _: synth.main(),
    "training": training.main,
    "trunks": trunks.main,
    "validation": validation.main,
}

if __name__ == "__main__":
    chosen = sys.argv[1:2] or list(BENCHMARKS)
    for name in chosen:
        print(f"== {name}", flush=True)
        BENCHMARKS[name](sys.argv[2:])
