"""The HTTP server alone, on a real socket: what it asks for answers, in which order, and when."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
import zlib

import pytest
import uvloop

from serving.errors import OverloadedError, ServingError, UnauthenticatedError
from serving.http_messages import Response
from serving.http_protocol import HttpLimits, HttpServer
from serving.rest_api import write_error
from tests.harnesses.waiting import wait_until

SECONDS = 30.0
_BUFFER_BYTES = 64 << 10


class _Server:
    """Answers with what it read; `/held` once it is released, `/large/N` with N bytes.

    Paths under `/closed` are refused.
    """

    def __init__(self, **limits):
        self.started = threading.Event()
        self.cancelled = threading.Event()
        self.num_asked = 0
        self._limits = HttpLimits(**limits)
        self._opened = []

    def __enter__(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run(ready)))
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        for connection in self._opened:
            connection.close()

    def connect(self, **options):
        connection = socket.create_connection(self._address, timeout=SECONDS)
        for name, value in options.items():
            connection.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self._opened.append(connection)
        return connection

    def drain(self):
        asyncio.run_coroutine_threadsafe(self._http.drain(SECONDS), self._loop)

    def release(self):
        self._loop.call_soon_threadsafe(self._released.set)

    @property
    def held_bytes(self):
        return self._http.held_bytes

    @property
    def num_connections(self):
        return len(self._http.connections)

    async def _run(self, ready):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._released = asyncio.Event()
        self._http = HttpServer(
            self._answer, self._refuse, OverloadedError, write_error, self._limits
        )
        listening = socket.create_server(("127.0.0.1", 0))
        # What the system keeps beside the server is little, and the same everywhere.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._address = listening.getsockname()
        listener = await self._loop.create_server(self._http.connect, sock=listening)
        ready.set()
        await self._stop.wait()
        listener.close()
        await self._http.drain(0.0)

    async def _answer(self, request) -> Response:
        self.num_asked += 1
        if request.path.startswith("/large/"):
            return Response(200, b"x" * int(request.path.removeprefix("/large/")))
        if request.path == "/held":
            self.started.set()
            try:
                await self._released.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        names = ",".join(name.decode() for name in sorted(request.headers))
        told = f"{request.method} {request.path} {len(request.body)} {names}"
        return Response(200, told.encode())

    def _refuse(self, method, path, headers) -> ServingError | None:
        return UnauthenticatedError("Expected a key") if path.startswith("/closed") else None


@pytest.fixture
def server():
    with _Server(max_body_bytes=100_000) as server:
        yield server


def _responses(connection, *methods):
    """Reads answers, each to a request of the given method; also returns the stream of the rest."""
    stream = connection.makefile("rb")
    found = []
    for method in methods:
        status = int(stream.readline().split()[1])
        headers = {}
        while (line := stream.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name] = value
        length = 0 if method == "HEAD" else int(headers["content-length"])
        found.append((status, stream.read(length).decode(), headers.get("connection", "")))
    return found, stream


def _post(path, body, *lines):
    head = [b"POST %s HTTP/1.1" % path, *lines, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(head)


def _send_what_is_taken(connection, data):
    with contextlib.suppress(OSError):
        connection.sendall(data)


UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAA")


@pytest.mark.parametrize("cut", [None, 40, -30, -60])
def test_who_wishes_for_another_protocol_is_answered_in_this_one(server, cut):
    connection = server.connect()
    sent = _post(b"/a", b"12345", *UPGRADE) * 2 + b"GET /b HTTP/1.1\r\n\r\n"
    connection.sendall(sent[:cut])
    if cut:
        time.sleep(0.05)
        connection.sendall(sent[cut:])
    found, _ = _responses(connection, "POST", "POST", "GET")
    names = "connection,content-length,http2-settings"
    assert found == [
        (200, f"POST /a 5 {names}", ""),
        (200, f"POST /a 5 {names}", ""),
        (200, "GET /b 0 ", ""),
    ]


def test_many_wishes_at_once_are_no_trouble(server):
    connection = server.connect()
    head = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    threading.Thread(target=connection.sendall, args=(head * 5_000,)).start()
    found, _ = _responses(connection, *["GET"] * 5_000)
    assert {status for status, *_ in found} == {200}


def test_tunnels_are_refused(server):
    connection = server.connect()
    connection.sendall(b"CONNECT example.org:443 HTTP/1.1\r\n\r\n\x16\x03\x01")
    found, stream = _responses(connection, "CONNECT")
    assert [(status, closing) for status, _, closing in found] == [(400, "close")]
    assert stream.read() == b""


def test_garbage_does_not_take_the_answers_before_it(server):
    connection = server.connect()
    connection.sendall(b"GET /a HTTP/1.1\r\n\r\nGET /held HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    server.started.wait()
    connection.sendall(b"GARBAGE\r\n\r\n" * 3)
    time.sleep(0.05)
    server.release()
    found, stream = _responses(connection, *["GET"] * 4)
    assert [status for status, *_ in found] == [200, 200, 200, 400]
    assert [closing for *_, closing in found] == ["", "", "", "close"]
    assert stream.read() == b""


def test_refused_head_has_no_body(server):
    connection = server.connect()
    connection.sendall(b"HEAD /closed HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n")
    found, _ = _responses(connection, "HEAD", "GET")
    assert found == [(401, "", ""), (200, "GET /a 0 ", "")]


def test_what_follows_the_last_chunk_is_no_header(server):
    connection = server.connect()
    head = b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    for path in (b"/a", b"/closed"):
        connection.sendall(head % path + b"0\r\nX: y\r\n\r\n")
    found, _ = _responses(connection, "POST", "POST")
    assert found[0] == (200, "POST /a 3 transfer-encoding", "")
    assert found[1][0] == 401


@pytest.mark.parametrize("path", [b"/a", b"/closed"])
@pytest.mark.parametrize(
    "trailer", [b"X: " + b"y" * 3_000_000, b"X: yyyyyyy\r\n" * 300_000], ids=["one", "many"]
)
def test_what_follows_the_last_chunk_has_a_limit(server, path, trailer):
    connection = server.connect()
    head = b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    threading.Thread(target=_send_what_is_taken, args=(connection, head % path + trailer)).start()
    ((status, message, closing),), _ = _responses(connection, "POST")
    assert (status, closing) == (400, "close")
    assert "Headers of more than 16384 bytes" in message


def test_who_sends_much_before_it_has_its_answers_has_to_wait():
    body = b"x" * 900_000
    with _Server(max_body_bytes=1_000_000) as server:
        connection = server.connect(SO_SNDBUF=_BUFFER_BYTES)
        connection.sendall(b"GET /held HTTP/1.1\r\n\r\n")
        server.started.wait()
        taken = []

        def send():
            for _ in range(20):
                connection.sendall(_post(b"/a", body))
                taken.append(len(body))

        sending = threading.Thread(target=send)
        sending.start()
        sending.join(1.0)
        # One waits, a part of another was read, and one lies in the system's buffers.
        assert len(taken) <= 3
        server.release()
        found, _ = _responses(connection, "GET", *["POST"] * 20)
        sending.join()
        assert [body for _, body, _ in found[1:]] == ["POST /a 900000 content-length"] * 20


class TestLargeBodies:
    """The bytes of all that are read at once have a limit; small ones are not counted."""

    BODY = b"x" * 200_000

    @pytest.fixture
    def server(self):
        with _Server(max_body_bytes=1_000_000, max_held_bytes=300_000) as server:
            yield server

    def _begin(self, server, num_bytes):
        """Sends a part of a large body."""
        connection = server.connect()
        held = server.held_bytes
        connection.sendall(_post(b"/a", self.BODY)[: num_bytes - len(self.BODY)])
        wait_until(lambda: server.held_bytes >= held + num_bytes - 1_000)
        return connection

    def test_what_is_too_much_is_refused_until_there_is_room(self, server):
        slow = [self._begin(server, 160_000) for _ in range(2)]
        late = server.connect()
        late.sendall(_post(b"/a", self.BODY) + _post(b"/a", b"x" * 60_000))
        refused, small = _responses(late, "POST", "POST")[0]
        assert (refused[0], refused[2]) == (503, "")
        assert "bytes of large requests are under way" in refused[1]
        assert small[:2] == (200, "POST /a 60000 content-length")
        late.sendall(_post(b"/a", self.BODY))
        assert b"retry-after: 1\r\n" in late.recv(4_096)
        # One that is finished is answered, and one that is given up makes room as well.
        slow[0].sendall(self.BODY[:40_000])
        assert _responses(slow[0], "POST")[0][0][:2] == (200, "POST /a 200000 content-length")
        slow[1].close()
        wait_until(lambda: server.held_bytes == 0)
        late.sendall(_post(b"/a", self.BODY))
        assert _responses(late, "POST")[0][0][0] == 200
        wait_until(lambda: server.held_bytes == 0)

    def test_they_count_until_they_are_answered(self, server):
        held = [server.connect() for _ in range(2)]
        for connection in held:
            connection.sendall(_post(b"/held", self.BODY))
        wait_until(lambda: server.num_asked == 2 and server.held_bytes == 400_000)
        late = server.connect()
        late.sendall(_post(b"/a", self.BODY))
        assert _responses(late, "POST")[0][0][0] == 503
        server.release()
        for connection in held:
            assert _responses(connection, "POST")[0][0][0] == 200
        wait_until(lambda: server.held_bytes == 0)

    def test_they_count_as_they_are_decompressed(self, server):
        slow = [self._begin(server, 160_000) for _ in range(2)]
        late = server.connect()
        late.sendall(_post(b"/a", zlib.compress(self.BODY), b"Content-Encoding: deflate"))
        assert _responses(late, "POST")[0][0][0] == 503
        for connection in slow:
            connection.close()
        wait_until(lambda: server.held_bytes == 0)
        late.sendall(_post(b"/a", zlib.compress(self.BODY), b"Content-Encoding: deflate"))
        assert _responses(late, "POST")[0][0][0] == 200

    def test_one_alone_is_answered_whatever_the_limit(self):
        with _Server(max_body_bytes=1_000_000, max_held_bytes=1) as server:
            connection = server.connect()
            connection.sendall(_post(b"/a", self.BODY) * 3)
            found, _ = _responses(connection, *["POST"] * 3)
            assert [status for status, *_ in found] == [200] * 3
            connection.sendall(_post(b"/a", b"x" * 1_000_001)[:-1_000])
            wait_until(lambda: server.held_bytes == 0)

    def test_nothing_is_counted_for_ever(self, server):
        """Whatever becomes of requests: cut off, refused, pipelined, or ended while they wait."""
        for end in (b"", b"\x00", b"GET /a HTTP/1.1\r\n\r\n", _post(b"/held", self.BODY) * 2):
            connection = server.connect()
            for part in (_post(b"/held", self.BODY), _post(b"/closed", self.BODY), end):
                connection.sendall(part)
            connection.close()
        # Who has too much waiting is not read, and so not known to have gone, until it is answered.
        server.release()
        wait_until(lambda: server.num_connections == 0 and server.held_bytes == 0)


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        (b"/closed", [b"Expect: 100-continue", b"Content-Length: 5"], 401),
        (b"/closed", [b"Expect: 100-continue", b"Transfer-Encoding: chunked"], 401),
        (b"/closed", [b"Content-Length: 100001"], 401),
        (b"/a", [b"Expect: 100-continue", b"Content-Length: 100001"], 413),
        (b"/a", [b"Content-Length: 9999999999"], 413),
    ],
)
def test_who_waits_or_announces_too_much_is_refused_before_the_body(server, path, lines, status):
    connection = server.connect()
    connection.sendall(b"\r\n".join([b"POST %s HTTP/1.1" % path, *lines, b"", b""]))
    ((found, _, closing),), stream = _responses(connection, "POST")
    assert (found, closing) == (status, "close")
    assert stream.read() == b""
    # Who sends the body nevertheless isn't cut off meanwhile.
    connection.sendall(b"x" * 50_000)
    connection.shutdown(socket.SHUT_WR)
    wait_until(lambda: server.num_connections == 0)


@pytest.mark.parametrize("size", [10, 90_000, 100_001])
def test_large_compressed_bodies_are_like_others(server, size):
    """Random bytes, which stay as large as they are: some are decompressed in another thread."""
    connection = server.connect()
    content = random.Random(size).randbytes(size)
    body = zlib.compress(content)
    connection.sendall(
        _post(b"/a", body, b"Content-Encoding: deflate") + b"GET /b HTTP/1.1\r\n\r\n"
    )
    ((status, told, closing),), _ = _responses(connection, "POST")
    if len(body) > 100_000:
        assert (status, closing) == (413, "close")
    else:
        assert (status, told) == (200, f"POST /a {size} content-encoding,content-length")


def test_refused_heads_with_an_expectation_have_no_body(server):
    connection = server.connect()
    connection.sendall(b"HEAD /closed HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
    found, stream = _responses(connection, "HEAD")
    assert found == [(401, "", "close")]
    assert stream.read() == b""


def test_who_does_not_read_is_cut_off_even_if_it_asks_for_more():
    with _Server(idle_seconds=2.0) as server:
        connection = server.connect(SO_RCVBUF=_BUFFER_BYTES)
        connection.sendall(b"GET /large/4000000 HTTP/1.1\r\n\r\n")
        wait_until(lambda: server.num_asked == 1)
        time.sleep(0.1)
        _send_what_is_taken(connection, b"GET /a HTTP/1.1\r\n\r\n")
        wait_until(lambda: server.num_connections == 0)


def test_who_does_not_read_the_last_answers_is_cut_off():
    """However much of them the system has taken: some of these leave only a little unsent."""
    with _Server(idle_seconds=2.0) as server:
        connections = [server.connect(SO_RCVBUF=_BUFFER_BYTES) for _ in range(40)]
        for count, connection in enumerate(connections):
            connection.sendall(b"GET /large/20000 HTTP/1.1\r\n\r\n" * count)
        time.sleep(0.2)
        for connection in connections:
            last = b"GET /large/20000 HTTP/1.1\r\nConnection: close\r\n\r\n"
            _send_what_is_taken(connection, last)
        wait_until(lambda: server.num_asked > 3 * len(connections))
        wait_until(lambda: server.num_connections == 0)


def test_who_reads_late_goes_on_where_it_was(server):
    connection = server.connect(SO_RCVBUF=_BUFFER_BYTES)
    connection.sendall(b"GET /large/4000000 HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n" * 3)
    time.sleep(0.2)
    connection.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    found, stream = _responses(connection, *["GET"] * 6)
    assert [len(body) for _, body, _ in found] == [4_000_000, 9] * 3
    assert [closing for *_, closing in found] == [""] * 5 + ["close"]
    assert stream.read() == b""


def test_requests_end_with_their_connection(server):
    connection = server.connect()
    connection.sendall(b"GET /held HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n")
    server.started.wait()
    # Closed so, it is reset.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    assert server.cancelled.wait(SECONDS)
    wait_until(lambda: server.num_connections == 0)
    assert server.num_asked == 1


def test_half_closed_connections_get_what_they_asked_for(server):
    connection = server.connect()
    connection.sendall(b"GET /held HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n")
    connection.shutdown(socket.SHUT_WR)
    server.started.wait()
    server.release()
    found, stream = _responses(connection, "GET", "GET")
    assert [(status, closing) for status, _, closing in found] == [(200, ""), (200, "close")]
    assert stream.read() == b""


def test_a_stop_waits_for_all_that_was_asked(server):
    waiting, idle = server.connect(), server.connect()
    waiting.sendall(b"GET /held HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n")
    server.started.wait()
    wait_until(lambda: server.num_connections == 2)
    server.drain()
    assert idle.recv(1) == b""
    server.release()
    found, stream = _responses(waiting, "GET", "GET")
    assert [(status, closing) for status, _, closing in found] == [(200, ""), (200, "close")]
    assert stream.read() == b""


def test_connections_beyond_the_most_are_closed_at_once():
    with _Server(max_connections=2) as server:
        first, second = server.connect(), server.connect()
        for connection in (first, second):
            connection.sendall(b"GET /a HTTP/1.1\r\n\r\n")
            ((status, *_),), _ = _responses(connection, "GET")
            assert status == 200
        third = server.connect()
        with contextlib.suppress(ConnectionError):
            third.sendall(b"GET /a HTTP/1.1\r\n\r\n")
            assert third.recv(1) == b""
        assert server.num_asked == 2
        # Once one of the others is gone, there is room again.
        first.close()
        wait_until(lambda: server.num_connections == 1)
        connection = server.connect()
        connection.sendall(b"GET /a HTTP/1.1\r\n\r\n")
        ((status, *_),), _ = _responses(connection, "GET")
        assert status == 200


def test_long_requests_are_not_idle():
    with _Server(idle_seconds=2.0) as server:
        connection = server.connect()
        connection.sendall(b"GET /a HTTP/1.1\r\n\r\n" + b"GET /held HTTP/1.1\r\n\r\n" * 2)
        server.started.wait()
        time.sleep(4.5)
        server.release()
        found, _ = _responses(connection, *["GET"] * 3)
        assert [status for status, *_ in found] == [200] * 3
