"""HTTP requests and responses, whole."""

import functools
import http
import typing
from collections.abc import Mapping


class Request(typing.NamedTuple):
    """A whole HTTP request.

    Attributes:
      method: Such as `GET`.
      path: Path of the URL, still quoted.
      headers: By lower-case name; of repeated ones the last.
      body: What was sent, decompressed.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


class Response(typing.NamedTuple):
    """What is answered.

    Attributes:
      status: HTTP status.
      body: Content.
      content_type: Type of the content.
      headers: Further header lines, each ended by CRLF.
    """

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: bytes = b""

    def encode(self, last: bool, head_only: bool) -> bytes:
        """Writes it as HTTP/1.1 does.

        Args:
          last: Whether the connection ends after it.
          head_only: Whether to leave the body out, as for HEAD.
        """
        return b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s%s\r\n%s" % (
            self.status,
            _phrase(self.status),
            self.content_type,
            len(self.body),
            self.headers,
            b"connection: close\r\n" if last else b"",
            b"" if head_only else self.body,
        )


@functools.lru_cache
def _phrase(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Client Closed Request"
