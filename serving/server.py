"""Serves exported models over TensorFlow Serving's gRPC and REST protocols."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator

import uvloop
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from models.errors import InputError
from serving import grpc_api, model_config
from serving.access import Access
from serving.batcher import Batcher
from serving.core import Core
from serving.errors import ServingError
from serving.http_protocol import HttpLimits, HttpServer
from serving.manager import ModelManager, following
from serving.metrics import Metrics
from serving.request_log import RequestLog
from serving.rest_api import RestApi, write_error
from serving.server_options import ServerOptions

_BACKLOG = 1_024
_COLLECTED_OBJECTS = 10_000
_LOGGER = logging.getLogger("t2rec")


def serve(options: ServerOptions) -> None:
    """Serves until SIGTERM or SIGINT; requests under way are answered first.

    Args:
      options: What to serve, and how.

    Raises:
      InputError: If there is no model, a port is taken, or a file can't be read.
    """
    _remove(options.ready_file)  # Of a server that was killed.
    config = _read_config(options)
    files = _read_files(options)
    # What was imported never goes away, and need not be looked at again and again.
    gc.freeze()
    # What a request makes dies with it: looking for cycles every 700 objects took a seventh of the
    # time of requests.
    gc.set_threshold(_COLLECTED_OBJECTS)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(options.host, options.port))
        metrics = Metrics()
        manager = ModelManager(options.max_batch_rows, options.poll_seconds)
        stack.enter_context(following(manager))
        batcher = Batcher(options.max_batch_rows, options.workers, metrics.count_batch)
        stack.enter_context(batcher)
        request_log = stack.enter_context(RequestLog(manager.sampling))
        core = Core(
            manager,
            batcher,
            metrics,
            request_log,
            options.max_pending_requests,
            options.max_pending_bytes,
        )
        loop = uvloop.new_event_loop()
        stack.callback(loop.close)
        loop.run_until_complete(_Server(options, core, files).run(config, listener))
    _LOGGER.info("Stopped serving")


class _Files:
    """What was read from the files that the options name."""

    def __init__(self, options: ServerOptions):
        self.access = Access.from_file(options.api_keys) if options.api_keys else Access()
        self.tls: ssl.SSLContext | None = None
        self.grpc_credentials = None
        if options.tls_certificate:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(options.tls_certificate, options.tls_key or None)
            if options.tls_client_authority:
                self.tls.load_verify_locations(options.tls_client_authority)
                self.tls.verify_mode = ssl.CERT_REQUIRED
            self.grpc_credentials = grpc_api.credentials(
                _read(options.tls_certificate),
                _read(options.tls_key or options.tls_certificate),
                _read(options.tls_client_authority) if options.tls_client_authority else None,
            )


class _Server:
    """Both transports around one core, from start to stop."""

    def __init__(self, options: ServerOptions, core: Core, files: _Files):
        self._options = options
        self._core = core
        self._files = files
        self._live = True

    async def run(self, config: ModelServerConfig, listener: socket.socket) -> None:
        stopping = asyncio.Event()
        with _signals(stopping.set):
            async with self._listening(listener) as (grpc, grpc_port):
                rest_port = listener.getsockname()[1]
                if not await self._load(config, stopping):
                    return
                grpc.health.report(self._core.manager.is_ready())
                with self._saying_ready(rest_port, grpc_port):
                    watcher = asyncio.create_task(self._watch(grpc, config))
                    await stopping.wait()
                    watcher.cancel()
                _LOGGER.info("Stopping: answering what was accepted")
                self._live = False
                grpc.health.report(serving=False)

    @contextlib.asynccontextmanager
    async def _listening(
        self, listener: socket.socket
    ) -> AsyncIterator[tuple[grpc_api.GrpcApi, int]]:
        """Accepts requests; at the end those under way are answered."""
        options, files = self._options, self._files
        rest = RestApi(self._core, files.access, options.timeout_seconds, lambda: self._live)
        limits = HttpLimits(
            options.max_body_bytes, options.max_pending_bytes, read_seconds=options.read_seconds
        )
        http = HttpServer(rest.answer, rest.refuse, self._core.overload, write_error, limits)
        grpc = grpc_api.GrpcApi(
            self._core,
            files.access,
            options.timeout_seconds,
            options.max_pending_requests,
            self._reload,
            lambda: self._live,
        )
        grpc_server = grpc_api.make_server(options.max_body_bytes)
        grpc.add_to(grpc_server)
        grpc_port = self._bind_grpc(grpc_server)
        loop = asyncio.get_running_loop()
        await grpc_server.start()
        http_listener = await loop.create_server(
            http.connect, sock=listener, backlog=_BACKLOG, ssl=files.tls
        )
        try:
            yield grpc, grpc_port
        finally:
            http_listener.close()
            await asyncio.gather(
                http.drain(options.grace_seconds), grpc.stop(grpc_server, options.grace_seconds)
            )

    def _bind_grpc(self, server) -> int:
        """Binds the port of gRPC; 0 if there is to be none."""
        options = self._options
        if options.grpc_port < 0:
            return 0
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{options.grpc_port}"
        try:
            if self._files.grpc_credentials:
                port = server.add_secure_port(address, self._files.grpc_credentials)
            else:
                port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise _taken(options.host, options.grpc_port, "grpc-port", error) from error
        if not port:
            raise _taken(options.host, options.grpc_port, "grpc-port", "no port")
        return port

    async def _load(self, config: ModelServerConfig, stopping: asyncio.Event) -> bool:
        """Loads the models; returns whether to go on."""
        loading = asyncio.create_task(asyncio.to_thread(self._core.manager.apply, config))
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait({loading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            await loading  # A thread can't be stopped in the middle.
        except ServingError as error:
            # Models of a file may appear later; one that was named on the command line is there.
            if not self._options.model_config_file:
                raise
            _LOGGER.warning("%s", error)
        return not stopping.is_set()

    @contextlib.contextmanager
    def _saying_ready(self, rest_port: int, grpc_port: int) -> Iterator[None]:
        """Logs that requests are answered, and has the file that says so while they are."""
        scheme = "https" if self._files.tls else "http"
        host = self._options.host
        _LOGGER.info(
            "Ready: REST at %s://%s:%d/v1/models/%s, gRPC at %s",
            scheme,
            host,
            rest_port,
            ",".join(self._core.manager.names()),
            f"{host}:{grpc_port}" if grpc_port else "no port",
        )
        if path := self._options.ready_file:
            with open(f"{path}.incoming", "w", encoding="utf-8") as file:
                json.dump({"rest_port": rest_port, "grpc_port": grpc_port}, file)
            os.replace(f"{path}.incoming", path)
        try:
            yield
        finally:
            _remove(path)

    async def _reload(self, config: ModelServerConfig) -> None:
        await asyncio.to_thread(self._core.manager.apply, config)

    async def _watch(self, grpc: grpc_api.GrpcApi, config: ModelServerConfig) -> None:
        """Keeps gRPC's health up to date, and reads the configuration again if it changes."""
        path, seconds = self._options.model_config_file, self._options.model_config_poll_seconds
        ready, elapsed = None, 0.0
        while True:
            await asyncio.sleep(1.0)
            elapsed += 1.0
            try:
                if ready != (ready := self._core.manager.is_ready()):
                    grpc.health.report(ready)
                if path and seconds and elapsed >= seconds:
                    elapsed = 0.0
                    config = await self._follow_file(path, config)
            except Exception:  # Whatever it is, the next change is waited for.
                _LOGGER.exception("Following the configuration failed; trying again")

    async def _follow_file(self, path: str, config: ModelServerConfig) -> ModelServerConfig:
        """Serves what a file says, if that is no longer `config`; returns what it says."""
        try:
            wanted = model_config.read_config(path)
        except InputError as error:
            _LOGGER.error("%s Serving goes on as before", error)
            return config
        if wanted != config:
            try:
                await self._reload(wanted)
                _LOGGER.info("Read %s again", path)
            except ServingError as error:
                _LOGGER.error("Read %s again; all else is served: %s", path, error)
        return wanted


def _read_config(options: ServerOptions) -> ModelServerConfig:
    if options.model_config_file:
        return model_config.read_config(options.model_config_file)
    config = model_config.config_of_folders(options.models, options.model_name)
    if options.request_log:
        for model in config.model_config_list.config:
            model.logging_config.sampling_config.sampling_rate = options.request_log_rate
            collector = model.logging_config.log_collector_config
            collector.filename_prefix = options.request_log
    return config


def _read_files(options: ServerOptions) -> _Files:
    try:
        return _Files(options)
    except (OSError, ValueError) as error:  # An SSLError is an OSError.
        raise InputError(
            "Expected readable files for --api-keys, --tls-certificate, --tls-key and "
            f"--tls-client-authority; got: {error}. Correct them."
        ) from error


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _listen(host: str, port: int) -> socket.socket:
    """Binds the port; done before the model is loaded, so that a taken port shows at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _taken(host, port, "port", error) from error
    return listener


def _taken(host: str, port: int, option: str, error: object) -> InputError:
    return InputError(
        f"Expected to listen on {host}:{port}; got {error}. Stop the program that uses the port "
        f"or choose another --{option}."
    )


@contextlib.contextmanager
def _signals(stop):
    """Calls `stop` at SIGTERM and SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
