"""Tells how far a batch job has come, whatever runs it: by the parts that appear in its folder."""

import logging
import threading
import time
from collections.abc import Sequence

from serving.job_folder import JobFolder, StagedChunk

# How often a folder is looked at, and the least time between two lines.
_LOOK_SECONDS = 2.0
_TELL_SECONDS = 10.0

_LOG = logging.getLogger("t2rec")


class JobProgress(threading.Thread):
    """Logs rows done, the rate and the time left, while it is entered."""

    def __init__(self, folder: JobFolder, chunks: Sequence[StagedChunk], noun: str):
        """Prepares to watch.

        Args:
          folder: The job's folder.
          chunks: All of its chunks.
          noun: What a row of the input is, in the plural.
        """
        super().__init__(daemon=True)
        self._folder = folder
        self._rows = {chunk.name: chunk.num_rows for chunk in chunks}
        self._noun = noun
        self._ended = threading.Event()

    def __enter__(self) -> "JobProgress":
        """Starts to watch."""
        self._begin = self._told = time.monotonic()
        self._done_before = self._last = self._done()
        if self._done_before:
            _LOG.info("%s %s were done before", f"{self._done_before:,}", self._noun)
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stops watching."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Looks and tells, until the end."""
        while not self._ended.wait(_LOOK_SECONDS):
            self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        done = self._done()
        if done == self._last or now - self._told < _TELL_SECONDS:
            return
        self._last, self._told = done, now
        total = sum(self._rows.values())
        rate = (done - self._done_before) / (now - self._begin)
        left = (total - done) / rate
        _LOG.info(
            "%s of %s %s, %s a second, %s left",
            f"{done:,}",
            f"{total:,}",
            self._noun,
            f"{rate:,.0f}",
            f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s",
        )

    def _done(self) -> int:
        return sum(self._rows.get(name, 0) for name in self._folder.part_names())
