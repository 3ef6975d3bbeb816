"""The memory of this process, in which the components of a local run follow each other."""

import contextlib
import ctypes
import gc


def keep() -> None:
    """Takes what is there for good: later `release`s need not look through it.

    Libraries have made most objects that there ever are, and to look through those takes half a
    second.
    """
    gc.freeze()


def release() -> None:
    """Gives back what nobody needs any more: objects in cycles, and what the C library keeps.

    Of seven million reviews, what a training leaves behind is gigabytes: graphs are cycles, and
    pages that blocks of all sizes lay in are given back only when asked for.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # Of another C library.
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak() -> None:
    """Makes Linux count the peak anew."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak_mb() -> float | None:
    """Asks for the peak since it was forgotten, in 10⁶ bytes; None where no one tells."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            (line,) = (line for line in file if line.startswith("VmHWM:"))
    except (OSError, ValueError):
        return None
    return round(1.024e-3 * int(line.split()[1]), 1)
