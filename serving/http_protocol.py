"""HTTP/1.1 on a socket: whole requests in, responses out, within limits of size and time.

A server of its own, on the parser of Node.js (`httptools`), because it costs a third of what ASGI
servers do, and cuts off who dawdles, at sending or at reading. It decides on a request before its
body. What is announced as too large, and who waits to be asked for the body, is refused at once;
other refused bodies are read and thrown away, so that the connection can go on.
"""

import asyncio
import collections
import dataclasses
import typing
from collections.abc import Awaitable, Callable, Mapping

import httptools

from serving import compressed_bodies
from serving.compressed_bodies import too_large
from serving.errors import InvalidRequestError, ServingError
from serving.http_messages import Request, Response
from serving.off_loop import LARGE_BYTES

_MAX_HEAD_BYTES = 16 << 10
# A client that sends further requests before it has its answers is not read beyond either.
_MAX_PIPELINED = 16
_MAX_PIPELINED_BYTES = 64 << 10
# How long what a client still sends is read and thrown away after an answer that ends the
# connection: closed with unread data, a connection is reset, and the answer may be lost with it.
_LINGER_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class HttpLimits:
    """How much and how long clients may send.

    Attributes:
      max_body_bytes: Largest body, after decompression.
      max_held_bytes: The most that large bodies of all connections may have, from when they begin
        to be read until they are answered; one that comes then is refused. Small ones are bounded
        by the number of connections, and find room whoever dawdles with large ones.
      max_connections: The most connections at a time.
      read_seconds: How long a request may take to arrive.
      idle_seconds: How long a connection may wait for its next request, or for its client to read.
    """

    max_body_bytes: int = 16 << 20
    max_held_bytes: int = 256 << 20
    max_connections: int = 4_096
    read_seconds: float = 20.0
    idle_seconds: float = 75.0


class HttpServer:
    """What the connections of a server share.

    Attributes:
      answer: Answers a request; it must not raise.
      refuse: Given method, path and headers before the body is read, may say why not to read it.
      overload: Makes the error that says what there is too much of.
      write_error: Makes the response to an error.
      limits: What clients may do.
      connections: Those that are open.
      draining: Whether connections end after the request under way.
      held_bytes: What their large bodies have.
    """

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        refuse: Callable[[str, str, Mapping[bytes, bytes]], ServingError | None],
        overload: Callable[[str], ServingError],
        write_error: Callable[[ServingError], Response],
        limits: HttpLimits,
    ):
        """Remembers how to answer."""
        self.answer = answer
        self.refuse = refuse
        self.overload = overload
        self.write_error = write_error
        self.limits = limits
        self.connections: set[HttpConnection] = set()
        self.draining = False
        self.held_bytes = 0

    def connect(self) -> "HttpConnection":
        """Makes the protocol of a new connection."""
        return HttpConnection(self)

    async def drain(self, seconds: float) -> None:
        """Ends all connections, each after the requests that it has sent.

        Args:
          seconds: How long to wait for the answers.
        """
        self.draining = True
        for connection in list(self.connections):
            connection.finish()
        end = asyncio.get_running_loop().time() + seconds
        while self.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()


class HttpConnection(asyncio.Protocol):
    """One connection: its requests are answered one after the other."""

    def __init__(self, server: HttpServer):
        """Waits for the connection."""
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # Each with whether the connection goes on after it, and whether only its head is wanted.
        self._requests: collections.deque[tuple[Request | ServingError, bool, bool]]
        self._requests = collections.deque()
        self._task: asyncio.Task | None = None
        # Of the body that the task has; and of all large ones here, as the server was told.
        self._answering_bytes = 0
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        # By the loop's clock, when a connection ends whose client does not do its part by then;
        # None while a request is under way and the client reads: that has time limits of its own.
        self._deadline: float | None = None
        self._transport: asyncio.Transport
        self._writable = True
        self._paused = False
        self._ended = False
        self._failed = False
        self._reset()

    def _reset(self) -> None:
        """Makes ready for the head of a request."""
        self._url = b""
        self._method = ""
        self._headers: dict[bytes, bytes] = {}
        # Read since the request began or a part of its body came: the parser may hold it.
        self._silent_bytes = 0
        self._body = bytearray()
        self._problem: ServingError | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes a new connection, or turns it away where there are too many."""
        self._transport = typing.cast(asyncio.Transport, transport)
        server = self._server
        if server.draining or len(server.connections) >= server.limits.max_connections:
            self._transport.abort()
            return
        server.connections.add(self)
        self._expect_within(server.limits.idle_seconds)

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        if self._failed:
            return
        self._silent_bytes += len(data)
        try:
            while data:
                data = self._parse(data)
        except httptools.HttpParserError as error:
            # What a method that the parser calls had against the request, or the parser itself.
            reason = error.__context__
            malformed = InvalidRequestError("Malformed request")
            self._fail(reason if isinstance(reason, ServingError) else malformed)
            return
        if self._silent_bytes > _MAX_HEAD_BYTES:
            self._fail(_large_head())

    def eof_received(self) -> bool:
        """Ends the connection once everything is answered: its client sends no more.

        One that waits for its answers, such as `nc -N`, and one that gave up look the same, so both
        are answered. A TLS connection can't be half open: with it end its requests.
        """
        self._ended = True
        return bool(self._task or self._requests) and self._transport.can_write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        """Gives up what was asked: nobody waits for the answers."""
        self._server.connections.discard(self)
        if self._timer:
            self._timer.cancel()
        self._requests.clear()
        self._body.clear()
        self._answering_bytes = 0
        self._hold()
        if self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Waits for a client that reads slowly before it gets more."""
        self._writable = False
        self._expect_within(self._server.limits.idle_seconds)

    def resume_writing(self) -> None:
        """Goes on once the client has read."""
        self._writable = True
        if self._task:
            self._deadline = None
        else:
            self._expect_within(self._server.limits.idle_seconds)
        self._next()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Starts the clock of a request."""
        self._reset()
        if self._writable and not self._task:
            self._expect_within(self._server.limits.read_seconds)

    def on_url(self, url: bytes) -> None:
        """Takes a part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header, or what follows a body in chunks."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Decides whether to read the body."""
        headers = self._headers
        if len(b"".join([self._url, *headers, *headers.values()])) > _MAX_HEAD_BYTES:
            raise _large_head()
        if self._parser.should_upgrade():
            if not headers.pop(b"upgrade", None):  # Then its method is CONNECT.
                raise InvalidRequestError("Malformed request")
            return
        method = self._parser.get_method().decode("latin-1")
        try:
            path = httptools.parse_url(self._url).path.decode("latin-1")
        except (httptools.HttpParserInvalidURLError, AttributeError):
            self._problem = self._problem or InvalidRequestError("Malformed request")
            path = ""
        # What follows a body in chunks is not among the request's headers.
        self._method, self._path, self._sent_headers, self._headers = method, path, headers, {}
        if b"content-encoding" in headers:
            self._problem = compressed_bodies.refuse(headers[b"content-encoding"])
        self._problem = self._problem or self._server.refuse(method, path, headers)
        limit = self._server.limits.max_body_bytes
        is_large = int(headers.get(b"content-length", b"0")) > limit
        waits = b"expect" in headers and headers[b"expect"].lower() == b"100-continue"
        if is_large:
            self._problem = self._problem or too_large(limit)
        if self._problem and (is_large or waits):
            raise self._problem
        if waits:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Takes a part of the body; what is too large is still read, but not kept."""
        self._silent_bytes = 0
        if self._problem:
            return
        self._body += data
        if len(self._body) > self._server.limits.max_body_bytes:
            self._problem = too_large(self._server.limits.max_body_bytes)
        elif len(self._body) > LARGE_BYTES:
            self._hold()
            self._problem = self._crowded()
        if self._problem:
            self._body.clear()
            self._hold()

    def on_message_complete(self) -> None:
        """Queues the request."""
        if self._parser.should_upgrade():
            return
        keep_alive = self._parser.should_keep_alive()
        request: Request | ServingError = self._problem or Request(
            self._method, self._path, self._sent_headers, bytes(self._body)
        )
        self._body.clear()
        self._requests.append((request, keep_alive, self._method == "HEAD"))
        self._next()
        if self._requests and self._is_full():
            self._paused = True
            self._transport.pause_reading()

    # What this class calls.

    def finish(self) -> None:
        """Ends the connection after what was asked already."""
        if not self._task and not self._requests:
            self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def _parse(self, data: bytes) -> bytes:
        """Parses what came; returns what is to be parsed next.

        A client may wish for another protocol, as Java's does for HTTP/2, and has to do with
        HTTP/1.1 if the wish is passed over (RFC 9110, section 7.8). The parser takes all behind
        such a head for the other protocol, so the same head is read again without the wish.
        """
        try:
            self._parser.feed_data(data)
            return b""
        except httptools.HttpParserUpgrade as upgrade:
            parser, self._parser = self._parser, httptools.HttpRequestParser(self)
            version = parser.get_http_version().encode()
            lines = [b"%s %s HTTP/%s" % (parser.get_method(), self._url, version)]
            lines += [b"%s: %s" % header for header in self._headers.items()]
            return b"\r\n".join([*lines, b"", data[upgrade.args[0] :]])

    def _next(self) -> None:
        """Answers what waits, as far as it can be sent; what isn't known at once, by a task."""
        while self._requests and not self._task and self._writable:
            request, keep_alive, head_only = self._requests.popleft()
            if isinstance(request, ServingError):
                self._respond(self._server.write_error(request), keep_alive, head_only)
            else:
                self._deadline = None
                self._answering_bytes = len(request.body)
                self._task = self._loop.create_task(self._answer(request, keep_alive, head_only))

    async def _answer(self, request: Request, keep_alive: bool, head_only: bool) -> None:
        try:
            if b"content-encoding" in request.headers:
                limit, encoding = (
                    self._server.limits.max_body_bytes,
                    request.headers[b"content-encoding"],
                )
                body = await compressed_bodies.decompress(request.body, encoding, limit)
                request = request._replace(body=body)
                self._answering_bytes = len(body)
                self._hold()
                if problem := self._crowded():
                    raise problem
            response = await self._server.answer(request)
        except ServingError as error:
            response = self._server.write_error(error)
        finally:
            self._task = None
            self._answering_bytes = 0
            if self._held_bytes:
                self._hold()
        self._respond(response, keep_alive, head_only)
        self._next()

    def _respond(self, response: Response, keep_alive: bool, head_only: bool) -> None:
        if self._transport.is_closing():
            return
        ends = self._ended or self._server.draining
        last = not keep_alive or (ends and not self._requests)
        self._transport.write(response.encode(last, head_only))
        if last:
            self._requests.clear()
            if self._held_bytes:
                self._hold()
            if self._failed and self._transport.can_write_eof():
                self._transport.write_eof()
                self._transport.resume_reading()
                self._expect_within(_LINGER_SECONDS)
            else:
                # A client may not read what is still to be sent.
                self._expect_within(self._server.limits.idle_seconds)
                self._transport.close()
            return
        if self._writable:
            self._expect_within(self._server.limits.idle_seconds)
        if self._paused and not self._is_full():
            self._paused = False
            self._transport.resume_reading()

    def _is_full(self) -> bool:
        """Whether so much waits that no more is read."""
        return len(self._requests) > _MAX_PIPELINED or sum(self._waiting()) > _MAX_PIPELINED_BYTES

    def _waiting(self) -> list[int]:
        """Lists the sizes of the bodies that wait."""
        return [len(request.body) for request, *_ in self._requests if isinstance(request, Request)]

    def _hold(self) -> None:
        """Tells the server what the large bodies here have by now."""
        bodies = [len(self._body), self._answering_bytes, *self._waiting()]
        held = sum(size for size in bodies if size > LARGE_BYTES)
        self._server.held_bytes += held - self._held_bytes
        self._held_bytes = held

    def _crowded(self) -> ServingError | None:
        """Says why another large body can't be read: those of others take all the room."""
        others = self._server.held_bytes - self._held_bytes
        if not self._held_bytes or others < self._server.limits.max_held_bytes:
            return None
        return self._server.overload(f"{others} bytes of large requests are under way")

    def _fail(self, error: ServingError) -> None:
        """Answers what isn't read to its end, after what came before it, as the last request."""
        self._failed = True
        self._requests.append((error, False, self._method == "HEAD"))
        self._next()

    def _expect_within(self, seconds: float) -> None:
        """Ends the connection if nothing happens within a time.

        A timer that ends no later goes on, and looks then how much time is left: a new one at each
        part of a request would cost more than to read it.
        """
        self._deadline = self._loop.time() + seconds
        if self._timer and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if not self._timer:
            self._timer = self._loop.call_at(self._deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._expire)
        else:
            self.abort()


def _large_head() -> InvalidRequestError:
    return InvalidRequestError(f"Headers of more than {_MAX_HEAD_BYTES} bytes")
