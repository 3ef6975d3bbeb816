"""The root folder of a run: what lies where in it, and who may write there. Without TFX."""

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator

from models.errors import ConfigError, InputError


@dataclasses.dataclass(frozen=True)
class Root:
    """Where everything of a run lies.

    Attributes:
      path: The root folder.
    """

    path: str

    @property
    def data(self) -> str:
        """The generated data of a run without data."""
        return os.path.join(self.path, "data")

    @property
    def metadata(self) -> str:
        """The ML Metadata database, which the cache reads."""
        return os.path.join(self.path, "metadata.sqlite")

    @property
    def artifacts(self) -> str:
        """What the components wrote."""
        return os.path.join(self.path, "artifacts")

    @property
    def serving(self) -> str:
        """The pushed exports."""
        return os.path.join(self.path, "serving")

    @property
    def checkpoints(self) -> str:
        """What a training that goes on, or was killed, has done."""
        return os.path.join(self.path, "checkpoints")

    @property
    def report(self) -> str:
        """The metrics of the latest run, and their page."""
        return os.path.join(self.path, "report")

    @property
    def log(self) -> str:
        """The log of all runs."""
        return os.path.join(self.path, "logs", "run.log")

    def absolute(self) -> "Root":
        """Returns the same root by its whole path, as TFX wants it."""
        return Root(os.path.abspath(self.path))

    def make(self) -> None:
        """Makes sure that results can be written before anything is computed.

        Raises:
          ConfigError: If the folder can't be made or written to, or has a name that TFX takes for
            a pattern.
        """
        if "://" in self.path or set(self.path) & set("*?["):
            raise ConfigError(
                "Expected a folder of this machine as --root, without the characters *, ? and [, "
                f"which TFX would take for a pattern; got {self.path!r}. Choose another one; "
                "remote storage that workers share can be mounted."
            )
        probe = os.path.join(self.path, ".writable")
        try:
            os.makedirs(self.path, exist_ok=True)
            with open(probe, "w", encoding="utf-8"):
                pass
            os.remove(probe)
        except OSError as error:
            raise ConfigError(
                f"Expected a folder that can be written to as --root; got {self.path!r} "
                f"({error.strerror}). Choose another one."
            ) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps others who would write to the root out of it.

        Raises:
          InputError: If one is there.
        """
        with open(os.path.join(self.path, ".lock"), "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise InputError(
                    f"Expected no other run or refresh on {self.path!r}; got that of process "
                    f"{file.read()}. Wait for its end, or choose another root."
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def root_of(model: str) -> Root | None:
    """Finds the root that an export lies in; None if it lies elsewhere, as those of Kubeflow do.

    Args:
      model: The root, or a folder of its exports.
    """
    path = os.path.realpath(model)
    # As deep as ROOT/serving/t2rec/VERSION.
    for _ in range(4):
        if os.path.exists((root := Root(path)).metadata):
            return root
        path = os.path.dirname(path)
    return None
