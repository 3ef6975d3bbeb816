"""One version of a model through its life: loaded, warmed up, leased to requests, dropped."""

import dataclasses
import logging
import threading
import time
from types import TracebackType

from models import memory
from serving.errors import ServingError
from serving.loader import ServedModel
from serving.warmup import warm_up

START, LOADING, AVAILABLE, UNLOADING, END = (
    "START",
    "LOADING",
    "AVAILABLE",
    "UNLOADING",
    "END",
)

_LOGGER = logging.getLogger("t2rec")


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """Says how a version is.

    Attributes:
      version: Its number.
      state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
      code: Name of a gRPC status code, `OK` unless it could not be loaded.
      message: Why it could not be loaded.
    """

    version: int
    state: str
    code: str = "OK"
    message: str = ""


class ServedVersion:
    """A version that requests lease while they use it, so that it is freed after the last.

    Attributes:
      name: Name of the model.
      number: Number of the version.
      path: Its folder.
      model: The loaded model, while the version is available.
      status: How it is.
    """

    def __init__(self, name: str, number: int, path: str):
        """Remembers a version; `load` loads it."""
        self.name = name
        self.number = number
        self.path = path
        self.model: ServedModel
        self.status = VersionStatus(number, START)
        self._leases = 0
        self._idle = threading.Condition()

    def load(self, batch_rows: int) -> bool:
        """Loads and warms up the version; takes seconds.

        Args:
          batch_rows: Rows of the largest call that it will get.

        Returns:
          Whether it is available.
        """
        begin = time.monotonic()
        self.status = VersionStatus(self.number, LOADING)
        model = None
        try:
            model = ServedModel(self.path, self.name)
            calls = warm_up(model, batch_rows)
        # Whatever is wrong with it, the versions that work go on.
        except Exception as error:
            if model:
                model.close()
            code = error.code if isinstance(error, ServingError) else "UNKNOWN"
            self.status = VersionStatus(self.number, END, code, str(error))
            _LOGGER.error("%s version %d can't be served: %s", self.name, self.number, error)
            return False
        self.model = model
        self.status = VersionStatus(self.number, AVAILABLE)
        _LOGGER.info(
            "Serving %s version %d from %s (%.1f s, %d warm-up calls)",
            self.name,
            self.number,
            self.path,
            time.monotonic() - begin,
            calls,
        )
        return True

    def lease(self) -> "ServedVersion":
        """Keeps the version from being freed until the end of a `with` block."""
        with self._idle:
            self._leases += 1
        return self

    def __enter__(self) -> "ServedVersion":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._idle:
            self._leases -= 1
            if not self._leases:
                self._idle.notify_all()

    def drop(self) -> None:
        """Frees the version once the requests that lease it are done; nobody may lease it now."""
        with self._idle:
            self._idle.wait_for(lambda: not self._leases)
        self.model.close()
        del self.model
        memory.release()
        self.status = VersionStatus(self.number, END)
        _LOGGER.info("Dropped %s version %d", self.name, self.number)
