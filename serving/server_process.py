"""Runs a server as a process of its own, for what checks one from outside."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from models.errors import InputError

_POLL_SECONDS = 0.05
# As `python -m serving`, which would prefer a package of that name in the current folder.
_PROGRAM = """
import sys
del sys.path[0]
from serving.__main__ import main
sys.exit(main())
"""


class ServerProcess:
    """A server on free ports of this machine; a context manager, which stops it.

    Attributes:
      rest_address: `host:port` of REST.
      grpc_address: `host:port` of gRPC.
      process: The process.
    """

    def __init__(self, arguments: Sequence[str], start_seconds: float = 120.0):
        """Remembers how to start it.

        Args:
          arguments: Options of `t2rec serve`, other than host and ports.
          start_seconds: How long it may take until requests are answered.
        """
        self._arguments = list(arguments)
        self._start_seconds = start_seconds
        self.rest_address = ""
        self.grpc_address = ""
        self.process: subprocess.Popen

    def __enter__(self) -> "ServerProcess":
        """Starts it and waits until it is ready: see `wait_until_ready`."""
        self.start()
        try:
            self.wait_until_ready()
        except InputError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Starts it, for who has something else to do until it is ready."""
        self._folder = tempfile.TemporaryDirectory(prefix="t2rec-server-")
        self._ready = pathlib.Path(self._folder.name, "ready.json")
        self._log = pathlib.Path(self._folder.name, "log")
        root = pathlib.Path(__file__).parent.parent
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-c", _PROGRAM, "--port", "0", "--grpc-port", "0"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-file", str(self._ready), *self._arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self._deadline = time.monotonic() + self._start_seconds

    def wait_until_ready(self) -> None:
        """Waits until it answers.

        Raises:
          InputError: If it ends or is not ready in time; says what it logged.
        """
        while not self._ready.exists():
            if self.process.poll() is not None or time.monotonic() > self._deadline:
                raise InputError(
                    f"Expected a server that is ready within {self._start_seconds:.0f} s; got: "
                    f"{self.log()[-2_000:].strip() or 'nothing'}"
                )
            time.sleep(_POLL_SECONDS)
        ports = json.loads(self._ready.read_text())
        self.rest_address = f"127.0.0.1:{ports['rest_port']}"
        self.grpc_address = f"127.0.0.1:{ports['grpc_port']}"

    def stop(self, seconds: float = 30.0) -> int:
        """Asks it to stop, and makes it if it doesn't.

        Args:
          seconds: How long to wait.

        Returns:
          Its exit code.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def log(self) -> str:
        """Returns what it logged so far."""
        return self._log.read_text(errors="replace")
