"""What the benchmark of `t2rec synth` compares, each in a process of its own."""

import os
import sys


def generate(out: str, num_reviews: str) -> None:
    """Generates data."""
    from pipeline import synth

    synth.generate(out, int(num_reviews))


def copy(data: str, out: str) -> None:
    """Copies the files of a folder."""
    for name in os.listdir(data):
        with (
            open(os.path.join(data, name), "rb") as source,
            open(os.path.join(out, name), "wb") as sink,
        ):
            while block := source.read(1 << 20):
                sink.write(block)


PROGRAMS = {program.__name__: program for program in (generate, copy)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
