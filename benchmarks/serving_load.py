"""Loads a server with wrk or h2load, and tells what it cost the server."""

import asyncio
import contextlib
import dataclasses
import gc
import json
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import tempfile
import time
import typing
import urllib.request
from collections.abc import Iterator

import uvloop

from serving.server_process import ServerProcess

_TICKS = os.sysconf("SC_CLK_TCK")
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclasses.dataclass(frozen=True)
class Load:
    """What a run of the load generator saw.

    Attributes:
      answered: Requests that got an answer with status 200.
      refused: Requests that got another answer, or none.
      seconds: How long it ran.
      p50_ms: Median latency of all answers.
      p99_ms: Its 99th percentile.
      server_cpu_us: CPU time of the server a request, refused ones included, in microseconds.
    """

    answered: int
    refused: int
    seconds: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return self.answered / self.seconds


def missing(*tools: str) -> str:
    """Says which tools are not there and how to install them; "" if all are."""
    absent = [tool for tool in tools if not shutil.which(tool)]
    if not absent:
        return ""
    packages = {"h2load": "nghttp2-client", "taskset": "util-linux"}
    wanted = " ".join(packages.get(tool, tool) for tool in absent)
    return f"Expected {', '.join(absent)} on the path. Install them (apt install {wanted})."


def load_rest(
    server: ServerProcess, model: str, num_users: int, clients: int, seconds: float
) -> Load:
    """Asks for recommendations to one user a request, over REST, with wrk on the first core.

    Args:
      server: The server.
      model: Name of the model.
      num_users: Users that are asked for in turn, named `user-N`.
      clients: Connections.
      seconds: How long.
    """
    script = f"""
local number = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  number = number + 1
  return wrk.format(nil, "/v1/models/{model}:predict", nil,
    '{{"signature_name":"recommend","instances":[{{"user_id":"user-'
    .. (number * 7919 % {num_users}) .. '"}}]}}')
end
"""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = cpu_seconds(server)
        command = ["taskset", "-c", "0", "wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s"]
        command += ["--timeout", "30s", "--latency", "-s", file.name]
        done = subprocess.run(
            [*command, f"http://{server.rest_address}"], capture_output=True, text=True, check=True
        )
        used = cpu_seconds(server) - before
    # wrk writes a minute and more as 1.50m.
    total, taken, unit = re.search(r"(\d+) requests in ([\d.]+)([smh])", done.stdout).groups()
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    refused = (int(bad[1]) if bad else 0) + sum(map(int, sockets.groups() if sockets else ()))
    return Load(
        answered=int(total) - (int(bad[1]) if bad else 0),
        refused=refused,
        seconds=float(taken) * {"s": 1, "m": 60, "h": 3_600}[unit],
        p50_ms=_milliseconds(re.search(r"50%\s+([\d.]+)(us|ms|s)", done.stdout)),
        p99_ms=_milliseconds(re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)),
        server_cpu_us=used / int(total) * 1e6,
    )


def load_grpc(server: ServerProcess, model: str, clients: int, requests: int) -> Load:
    """Asks for recommendations to a user over gRPC, with h2load on the first core.

    h2load is an HTTP/2 client in C; a gRPC call is an HTTP/2 request with a framed message.

    Args:
      server: The server.
      model: Name of the model.
      clients: Connections, each with one call at a time.
      requests: Calls.
    """
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "recommend"
    users = request.inputs["user_id"]
    users.dtype = 7
    users.tensor_shape.dim.add().size = 1
    users.string_val.append(b"user-77")
    message = request.SerializeToString()
    answered = _counted(server)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + struct.pack(">I", len(message)) + message)
        file.flush()
        command = ["taskset", "-c", "0", "h2load", f"-n{requests}", f"-c{clients}", "-m1"]
        command += ["-d", file.name, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        before = cpu_seconds(server)
        done = subprocess.run(
            [*command, f"http://{server.grpc_address}{_PREDICT}"],
            capture_output=True,
            text=True,
            check=True,
        )
        used = cpu_seconds(server) - before
    answered = _counted(server) - answered
    seconds = _milliseconds(re.search(r"finished in ([\d.]+)(us|ms|s)", done.stdout)) / 1e3
    times = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", done.stdout)
    mean = _milliseconds(times) if times else 0.0
    return Load(answered, requests - answered, seconds, mean, 0.0, used / requests * 1e6)


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer over REST.

    Attributes:
      sent: When it was asked for, in seconds since 1970.
      status: HTTP status; -1 for none.
      ms: How long it took, in milliseconds.
    """

    sent: float
    status: int
    ms: float


@contextlib.contextmanager
def logged_load(
    server: ServerProcess,
    path: str,
    clients: int,
    seconds: float,
    per_client: float = 0.0,
    body: bytes = b'{"signature_name":"recommend","instances":["user-77"]}',
) -> Iterator[list[Answer]]:
    """Loads a server in the background, with h2load on the first core.

    Args:
      server: The server.
      path: What is asked, as `/v1/models/NAME:predict`.
      clients: Connections, each with one request at a time.
      seconds: How long.
      per_client: The most requests a second of each; 0 for as many as are answered.
      body: Body of the requests.

    Yields:
      What will hold the answers after the `with` block.
    """
    answers: list[Answer] = []
    with tempfile.TemporaryDirectory() as folder:
        data, log = os.path.join(folder, "body"), os.path.join(folder, "log")
        pathlib.Path(data).write_bytes(body)
        command = ["taskset", "-c", "0", "h2load", "--h1", f"-D{seconds:g}", f"-c{clients}", "-m1"]
        command += [f"--rps={per_client:g}"] if per_client else []
        command += ["-d", data, f"--log-file={log}", "-H", "content-type: application/json"]
        process = subprocess.Popen(
            [*command, f"http://{server.rest_address}{path}"], stdout=subprocess.DEVNULL
        )
        try:
            yield answers
        finally:
            process.wait()
        for line in pathlib.Path(log).read_text().splitlines():
            start, status, elapsed = line.split()
            answers.append(Answer(int(start) / 1e6, int(status), int(elapsed) / 1e3))


def open_load(
    server: ServerProcess, path: str, rate: float, seconds: float, seed: int = 0
) -> list[Answer]:
    """Asks at random times, however many wait, each request on a connection that is free.

    Clients that each keep a rate, as h2load's, ask all at once and then all pause.

    Args:
      server: The server.
      path: What is asked, as `/v1/models/NAME:predict`.
      rate: Requests a second, on average; what was sent less is not hidden by the answers, which
        hold all that was sent.
      seconds: How long.
      seed: Of the times.
    """
    body = b'{"signature_name":"recommend","instances":["user-77"]}'
    head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    message = head.encode() + body
    host, port = server.rest_address.split(":")
    rng = random.Random(seed)
    free: list[_Connection] = []
    answers: list[Answer] = []

    async def ask(sent: float) -> None:
        try:
            connection = free.pop() if free else await _Connection.open(host, int(port))
            status = await connection.ask(message)
            free.append(connection)
        except OSError:
            status = -1
        answers.append(Answer(sent, status, (time.time() - sent) * 1e3))

    async def ask_all() -> None:
        asking, due = set(), time.time()
        end = due + seconds
        while due < end:
            await asyncio.sleep(max(0.0, due - time.time()))
            # Its time counts from when it was due: a client that lags flatters nobody.
            task = asyncio.create_task(ask(due))
            asking.add(task)
            task.add_done_callback(asking.discard)
            due += rng.expovariate(rate)
        await asyncio.gather(*asking)
        for connection in free:
            connection.transport.close()

    gc.disable()  # To look at all answers takes a quarter of a second, in which nothing is asked.
    try:
        with contextlib.closing(uvloop.new_event_loop()) as loop:
            loop.run_until_complete(ask_all())
    finally:
        gc.enable()
    return answers


class _Connection(asyncio.Protocol):
    """A connection that is kept: one request after the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self._received = b""

    @classmethod
    async def open(cls, host: str, port: int) -> "_Connection":
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typing.cast(asyncio.Transport, transport)

    async def ask(self, message: bytes) -> int:
        """Sends a request and returns the status of its answer."""
        self._answer, self._received = asyncio.get_running_loop().create_future(), b""
        self.transport.write(message)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(re.search(rb"content-length: (\d+)", head)[1]):
            self._answer.set_result(int(head.split(None, 2)[1]))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(ConnectionResetError())


def cpu_seconds(server: ServerProcess) -> float:
    """Returns the user and system time that a server took so far."""
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(server: ServerProcess) -> float:
    """Returns the resident memory of a server, in 10^6 bytes."""
    pages = int(pathlib.Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def get_json(server: ServerProcess, path: str) -> dict:
    """Reads something from a server over REST."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{server.rest_address}{path}", timeout=30) as response:
        return json.load(response)


def _counted(server: ServerProcess) -> int:
    """Returns how many gRPC calls the server says it answered."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{server.rest_address}/metrics", timeout=30) as response:
        text = response.read().decode()
    lines = re.findall(r't2rec_requests_total{code="OK".*transport="grpc"} ([\d.e+]+)', text)
    return int(sum(map(float, lines)))


def _milliseconds(found: re.Match | None) -> float:
    if not found:
        return float("nan")
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]
