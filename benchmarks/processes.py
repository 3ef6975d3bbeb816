"""Runs a module in a process of its own and says what it cost."""

import dataclasses
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

_MB = 1e6
_POLL_SECONDS = 0.25


@dataclasses.dataclass(frozen=True)
class Usage:
    """Says what a process took, with its children.

    Attributes:
      cpu_seconds: User and system time.
      wall_seconds: Elapsed time.
      peak_mb: Largest resident set of the process or of one of its children, in 10^6 bytes; if the
        caller's was larger, what polling saw of all of them.
      tree_peak_mb: Largest sum of the resident sets of all of them, as far as polling sees it.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    tree_peak_mb: float


def run(module: str, *arguments: object, num_threads: int = 1) -> Usage:
    """Runs `python -m MODULE ARGUMENTS`.

    Args:
      module: The module.
      arguments: Its command line.
      num_threads: Threads of each library.

    Raises:
      CalledProcessError: If it fails.
    """
    threads = (
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    )
    fixed = {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    environment = {**os.environ, **dict.fromkeys(threads, str(num_threads)), **fixed}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    tree = _TreePeak(process.pid)
    tree.start()
    # Of this child alone and of its own children; RUSAGE_CHILDREN would mix all that ever ran.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_seconds = time.perf_counter() - start
    tree.finished.set()
    tree.join()
    peak = usage.ru_maxrss * 1024
    # The system counts from what the process was forked off from.
    if usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        peak = tree.peak_bytes
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Usage(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=wall_seconds,
        peak_mb=peak / _MB,
        tree_peak_mb=max(tree.peak_bytes, peak) / _MB,
    )


class _TreePeak(threading.Thread):
    """Watches the memory of a process and of its descendants."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self._pid = pid
        self.finished = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self.finished.wait(_POLL_SECONDS):
            self.peak_bytes = max(self.peak_bytes, _tree_bytes(self._pid))


def _tree_bytes(pid: int) -> int:
    """Adds up the resident sets of a process and its descendants; 0 for what has just ended."""
    folder = pathlib.Path("/proc", str(pid))
    try:
        pages = int((folder / "statm").read_text().split()[1])
        children = [
            int(child)
            for task in (folder / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(_tree_bytes, children))
