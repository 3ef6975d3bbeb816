"""Engines that Beam pipelines can be sent to by a URL: Flink and Spark."""

import dataclasses
import json
import platform
import re
import urllib.parse
from collections.abc import Iterable

from models.errors import ConfigError, InputError
from pipeline.beam_options import NOT_PACKED

_ENGINES = ("flink", "spark")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_CONNECT_SECONDS = 5.0
_IDLE_WORKER_MILLIS = 20_000
_START = "`pipeline/deploy/{0}/start` starts one on this machine"

# The worker refuses to run under another Python: what is pickled here would not load there.
PYTHON_VARIABLE = "T2REC_BEAM_PYTHON"


@dataclasses.dataclass(frozen=True)
class Engine:
    """A Beam job server, and what it is asked to run workers with.

    Attributes:
      name: `flink` or `spark`.
      host: Its host.
      port: Its port.
      worker: Program that is a Python worker, on the machines of the engine's task managers.
      parallelism: Tasks at a time; 0 for the engine's default.
      shares_paths: Whether local paths mean the same on all machines, as on a network drive.
    """

    name: str
    host: str
    port: int
    worker: str = "t2rec-beam-worker"
    parallelism: int = 0
    shares_paths: bool = False

    @classmethod
    def from_url(cls, url: str) -> "Engine":
        """Reads `flink://HOST:PORT`, after which `?worker=…&parallelism=…&shared=true` may follow.

        Args:
          url: From the command line.

        Raises:
          ConfigError: If it is no such URL.
        """
        parts = urllib.parse.urlsplit(url)
        known = " or ".join(f"{name}://HOST:PORT" for name in _ENGINES)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in _ENGINES or not parts.hostname or not port or parts.path.strip("/"):
            raise ConfigError(
                f"Expected --beam {known}, the address of a Beam job server; got {url!r}. Other "
                "engines are chosen by Beam's own options, such as --runner=DataflowRunner."
            )
        given = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        unknown = set(given) - {"worker", "parallelism", "shared"}
        parallelism = given.get("parallelism", "0")
        shared = given.get("shared", "false")
        if unknown or not parallelism.isdigit() or shared not in ("true", "false"):
            raise ConfigError(
                f"Expected worker=PROGRAM, parallelism=N or shared=true after the ? of --beam; got "
                f"{parts.query!r}. Correct it."
            )
        return cls(
            name=parts.scheme,
            host=parts.hostname,
            port=port,
            worker=given.get("worker") or cls.worker,
            parallelism=int(parallelism),
            shares_paths=shared == "true",
        )

    @property
    def address(self) -> str:
        """Host and port of the job server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def beam_args(self) -> list[str]:
        """Returns the options that send a pipeline there.

        The engine's task managers start Python workers as processes, as containers would need
        Docker on every machine.
        """
        environment = {"command": self.worker, "env": {PYTHON_VARIABLE: python_version()}}
        args = [
            "--runner=PortableRunner",
            f"--job_endpoint={self.address}",
            "--environment_type=PROCESS",
            f"--environment_config={json.dumps(environment)}",
            # The next stage takes over the workers, which need seconds to import.
            f"--environment_cache_millis={_IDLE_WORKER_MILLIS}",
            NOT_PACKED,
        ]
        if self.parallelism:
            args.append(f"--parallelism={self.parallelism}")
        return args

    def check_reachable(self) -> None:
        """Asks the job server what it is, before a pipeline pays for its imports.

        Raises:
          InputError: If nobody answers, or somebody else does.
        """
        import grpc
        from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

        remedy = f"Start the job server ({_START.format(self.name)}), or correct --beam."
        with grpc.insecure_channel(self.address) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
            except grpc.FutureTimeoutError as error:
                raise InputError(
                    f"Expected a Beam job server of {self.name.title()} at {self.address}; nobody "
                    f"answers there. {remedy}"
                ) from error
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            try:
                stub.DescribePipelineOptions(
                    beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_CONNECT_SECONDS
                )
            except grpc.RpcError as error:
                raise InputError(
                    f"Expected a Beam job server of {self.name.title()} at {self.address}; what "
                    f"answers there is another server ({error.code().name}). {remedy} Flink's own "
                    "port, 8081, is not it."
                ) from error

    def check_paths(self, paths: Iterable[str]) -> None:
        """Refuses local paths that workers on other machines can't see.

        Args:
          paths: Whatever workers read or write.

        Raises:
          ConfigError: If one of them is on this machine only.
        """
        if self.shares_paths or self.host in _LOCAL_HOSTS:
            return
        for path in paths:
            if not re.match(r"[a-z][a-z0-9+.-]*://", path):
                raise ConfigError(
                    f"Expected paths that the workers of {self.address} see, such as gs://… or "
                    f"hdfs://…; got {path!r}, which is on this machine. If it is mounted on all of "
                    "them, as --root must be, add ?shared=true to --beam."
                )


def python_version() -> str:
    """Returns the version of Python that pickles are exchanged under, such as 3.10."""
    return ".".join(platform.python_version_tuple()[:2])
