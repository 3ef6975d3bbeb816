"""What a server is told, and the command-line options that tell it."""

import argparse
import dataclasses
from collections.abc import Sequence

from models import machine
from models.errors import ConfigError

_MAX_PORT, _MAX_COUNT, _MAX_SECONDS = 65_535, 2**31 - 1, 10**6
# By name, the least and the greatest that a number may be.
_RANGES: dict[str, tuple[float, float]] = {
    "model_config_poll_seconds": (0, _MAX_SECONDS),
    "port": (0, _MAX_PORT),
    "grpc_port": (-1, _MAX_PORT),
    "poll_seconds": (0, _MAX_SECONDS),
    "max_batch_rows": (1, _MAX_COUNT),
    "num_workers": (0, 1_000),
    "max_pending_requests": (1, _MAX_COUNT),
    "max_pending_bytes": (1, 2**63 - 1),
    "max_body_bytes": (1, _MAX_COUNT),
    "timeout_seconds": (0.001, _MAX_SECONDS),
    "read_seconds": (0.001, _MAX_SECONDS),
    "grace_seconds": (0, _MAX_SECONDS),
    "request_log_rate": (0, 1),
}
# By name, the option without which one would mean nothing.
_NEEDED = {
    "tls_key": "tls_certificate",
    "tls_client_authority": "tls_certificate",
    "request_log_rate": "request_log",
    "model_config_poll_seconds": "model_config_file",
}
# What a models.config says itself.
_NOT_WITH_FILE = ("models", "model_name", "request_log")


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """Says what to serve, where, to whom and within which limits.

    Attributes:
      models: Paths as `serving.model_config.config_of_folders` takes them.
      model_name: Name of the only model; its folder's by default.
      model_config_file: A `models.config` of TensorFlow Serving, instead of `models`.
      model_config_poll_seconds: How often to read that again; 0 for never.
      host: Address to listen on.
      port: Port of REST; 0 for any free one.
      grpc_port: Port of gRPC; 0 for any free one, -1 for none.
      poll_seconds: How often to look for new versions; 0 for never.
      max_batch_rows: The most rows of requests that are answered together; 1 for no batching.
      num_workers: Calls to models at the same time; 0 for half as many as there are cores.
      max_pending_requests: Requests under way beyond which further ones are refused.
      max_pending_bytes: The same in bytes; over REST also beyond which no more large requests are
        read.
      max_body_bytes: Largest request, after decompression.
      timeout_seconds: How long a request may take that has no deadline of its own.
      read_seconds: How long a request may take to arrive.
      grace_seconds: How long a stop waits for the requests under way.
      tls_certificate: PEM file of the server's certificate chain; "" for no TLS.
      tls_key: PEM file of its private key.
      tls_client_authority: PEM file of the authority of clients' certificates, which they must
        then show.
      api_keys: File with keys, one a line; "" for none.
      request_log: Prefix of the files that get a sample of the requests; "" for none.
      request_log_rate: Share of the requests that they get, from 0 to 1.
      log_format: `text` or `json`.
      ready_file: File that has the ports as JSON while requests are answered; "" for none.
    """

    models: Sequence[str] = ()
    model_name: str = ""
    model_config_file: str = ""
    model_config_poll_seconds: float = 0.0
    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int = 8500
    poll_seconds: float = 1.0
    max_batch_rows: int = 64
    num_workers: int = 0
    max_pending_requests: int = 512
    max_pending_bytes: int = 256 << 20
    max_body_bytes: int = 16 << 20
    timeout_seconds: float = 30.0
    read_seconds: float = 20.0
    grace_seconds: float = 15.0
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_authority: str = ""
    api_keys: str = ""
    request_log: str = ""
    request_log_rate: float = 0.01
    log_format: str = "text"
    ready_file: str = ""

    def __post_init__(self):
        """Checks what is told.

        Raises:
          ConfigError: If a number is out of its range, or options don't go together.
        """
        for name, (least, greatest) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= greatest:  # So that nan is none.
                raise ConfigError(
                    f"Expected {_option(name)} from {least} to {greatest}; got {value}. Correct it."
                )
        for name, needed in _NEEDED.items():
            given = getattr(self, name) != getattr(ServerOptions, name)
            if given and not getattr(self, needed):
                raise ConfigError(
                    f"Expected {_option(needed)} with {_option(name)}; got none. Give it, or leave "
                    f"{_option(name)} out."
                )
        for name in _NOT_WITH_FILE:
            if self.model_config_file and getattr(self, name):
                raise ConfigError(
                    f"Expected no {_option(name)} with --model-config-file; got "
                    f"{getattr(self, name)!r}. Say it in the file."
                )

    @property
    def workers(self) -> int:
        """Calls to models at the same time."""
        return self.num_workers or max(1, machine.num_cores() // 2)


def _option(name: str) -> str:
    return "--model" if name == "models" else f"--{name.replace('_', '-')}"


_HELP = {
    "model_name": ("NAME", "name of the model, if there is one; its folder's by default"),
    "model_config_file": ("FILE", "TensorFlow Serving's models.config, instead of --model"),
    "model_config_poll_seconds": ("S", "read it again every S seconds; never by default"),
    "host": ("HOST", "address to listen on"),
    "port": ("PORT", "of REST; 0 for any free one"),
    "grpc_port": ("PORT", "of gRPC; 0 for any free one, -1 for none"),
    "poll_seconds": ("S", "look for new versions every S seconds; 0 for never"),
    "max_batch_rows": ("N", "most rows answered by one call; 1 for no batching"),
    "num_workers": ("N", "calls at the same time; half of the cores by default"),
    "max_pending_requests": ("N", "refuse requests while N are under way"),
    "max_pending_bytes": ("N", "refuse requests while N bytes of them are under way"),
    "max_body_bytes": ("N", "largest request, after decompression"),
    "timeout_seconds": ("S", "longest answer to a request without a deadline"),
    "read_seconds": ("S", "how long a request may take to arrive"),
    "grace_seconds": ("S", "how long a stop waits for requests under way"),
    "tls_certificate": ("FILE", "PEM chain of the server; turns TLS on"),
    "tls_key": ("FILE", "PEM of its private key"),
    "tls_client_authority": ("FILE", "PEM; clients must show a certificate of this authority"),
    "api_keys": ("FILE", "keys, one a line; clients must send one"),
    "request_log": ("PREFIX", "write a sample of requests to PREFIX-MODEL-….tfrecord"),
    "request_log_rate": ("R", "share of the requests in the sample"),
    "log_format": ("text|json", "format of the log"),
    "ready_file": ("FILE", "has the ports as JSON while requests are answered"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each setting.

    Args:
      parser: Parser of the command.
    """
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model", metavar="DIR", dest="models", action="append", default=[],
        help="a model's folder, followed for new versions; one version; or the root of a run, for "
        "all its models; again for more",
    )  # fmt: skip
    for field in dataclasses.fields(ServerOptions):
        if field.name == "models":
            continue
        metavar, text = _HELP[field.name]
        group = what if field.name == "model_config_file" else parser
        default = "" if field.default in {"", 0} else f" (default {field.default})"
        group.add_argument(
            _option(field.name),
            metavar=metavar,
            type=type(field.default),
            default=field.default,
            help=text + default,
            choices=("text", "json") if field.name == "log_format" else None,
        )


def from_arguments(args: argparse.Namespace) -> ServerOptions:
    """Reads the options that `add_arguments` added.

    Args:
      args: What was parsed.

    Raises:
      ConfigError: If a number is out of its range, or options don't go together.
    """
    names = [field.name for field in dataclasses.fields(ServerOptions)]
    return ServerOptions(**{name: getattr(args, name) for name in names})
