"""The memory of this process, in which components or served versions follow each other."""

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
    """Gives back what nobody needs any more: objects in cycles, and what the allocator keeps.

    Graphs refer to themselves, and pages that were freed are kept for long, if not for good: of a
    training on seven million reviews it is gigabytes.
    """
    gc.collect()
    program = ctypes.CDLL(None)
    if hasattr(program, "mallctl"):  # jemalloc, preloaded; 4096 stands for all of its arenas.
        program.mallctl(b"arena.4096.purge", None, None, None, ctypes.c_size_t(0))
    elif hasattr(program, "malloc_trim"):  # glibc.
        program.malloc_trim(0)


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
