"""Shows which component runs, and how long each took."""

import logging
import os
import sys
import time

from absl import logging as absl_logging

from models import memory
from pipeline import console

# What TFX's local runner and launcher log of a node.
_STARTED, _FINISHED = "Component %s is running.", "Component %s is finished."
_CACHED = "A cached execution %d is used."


class ComponentProgress(logging.Handler):
    """Turns the local runner's log into one line a component on the terminal.

    Before a component starts, memory that earlier ones left is given back.

    Attributes:
      timings: Seconds by component, in order.
      memory_mb: By component, the most memory that this process held while it ran, in 10⁶ bytes;
        libraries that are loaded count, too. Empty where the system does not tell.
      cached: Components whose earlier output was used again.
    """

    def __init__(self, num_components: int):
        """Starts with no component done.

        Args:
          num_components: Nodes of the pipeline.
        """
        super().__init__(logging.INFO)
        self._num_components = num_components
        self._begin = 0.0
        self._is_cached = False
        self.timings: dict[str, float] = {}
        self.memory_mb: dict[str, float] = {}
        self.cached: list[str] = []

    def __enter__(self) -> "ComponentProgress":
        """Starts to listen."""
        # By absl's own switch: TFX parses absl's flags in mid-run, which resets a plain level.
        self._verbosity = absl_logging.get_verbosity()
        absl_logging.set_verbosity(absl_logging.INFO)
        logging.getLogger("absl").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Stops listening."""
        logging.getLogger("absl").removeHandler(self)
        absl_logging.set_verbosity(self._verbosity)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record of the log."""
        if record.msg == _STARTED:
            memory.release()
            memory.forget_peak()
            self._begin, self._is_cached = time.perf_counter(), False
            console.note(f"{self._place()} {_component(record)} ...")
        elif record.msg == _CACHED:
            self._is_cached = True
        elif record.msg == _FINISHED:
            name = _component(record)
            seconds = time.perf_counter() - self._begin
            console.note(
                f"{self._place()} {name}: "
                + (
                    "unchanged, taken from an earlier run"
                    if self._is_cached
                    else f"{seconds:.1f} s"
                )
            )
            self.timings[name] = round(seconds, 3)
            peak = memory.peak_mb()
            if peak is not None:
                self.memory_mb[name] = peak
            if self._is_cached:
                self.cached.append(name)

    def _place(self) -> str:
        return f"[{len(self.timings) + 1:2d}/{self._num_components}]"


def _component(record: logging.LogRecord) -> str:
    (name,) = record.args or ("",)
    return str(name)


class _Details(logging.Handler):
    """Indents what components say of their own progress."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            console.note(f"        {record.getMessage()}")
        except OSError:  # Such as of a full disk, where the terminal is a file.
            self.handleError(record)


def log_to_file(path: str) -> None:
    """Sends all logs and warnings to a file; the terminal gets t2rec's own progress only.

    Args:
      path: Log file, appended to.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    logging.captureWarnings(True)
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(to_file)
    root.setLevel(logging.INFO)
    absl = logging.getLogger("absl")
    for handler in list(absl.handlers):
        absl.removeHandler(handler)
    absl.propagate = True
    show_details()


def show_details() -> None:
    """Shows t2rec's own progress on the terminal."""
    logger = logging.getLogger("t2rec")
    logger.setLevel(logging.INFO)
    if sys.stderr is not None and not any(isinstance(h, _Details) for h in logger.handlers):
        logger.addHandler(_Details())
    root = logging.getLogger()
    if not root.handlers:
        # Libraries would put one there that says all this again.
        others = logging.StreamHandler()
        others.setLevel(logging.WARNING)
        others.addFilter(lambda record: record.name != logger.name)
        root.addHandler(others)
