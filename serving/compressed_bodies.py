"""Decompresses the bodies of HTTP requests, within a limit."""

import zlib

from serving import off_loop
from serving.errors import InvalidRequestError, RequestTooLargeError

_PLAIN = b"identity"
_ENCODINGS = (_PLAIN, b"gzip", b"deflate")


def refuse(encoding: bytes) -> InvalidRequestError | None:
    """Returns what is wrong with a Content-Encoding; None if bodies in it can be read.

    Args:
      encoding: Value of the header.
    """
    if _normal(encoding) in _ENCODINGS:
        return None
    return InvalidRequestError(
        f"Expected the Content-Encoding gzip or deflate; got {_normal(encoding).decode('latin-1')}"
    )


async def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Decompresses a body, in another thread if that may take long.

    Args:
      body: What was sent.
      encoding: Value of the header Content-Encoding.
      limit: The most bytes that it may then have.

    Raises:
      InvalidRequestError: If it can't be decompressed.
      RequestTooLargeError: If it is larger than the limit.
    """
    if _normal(encoding) == _PLAIN:
        return body
    return await off_loop.call(len(body), _inflate, body, limit)


def too_large(limit: int) -> RequestTooLargeError:
    """Makes the error that says that a body is too large.

    Args:
      limit: The most bytes that one may have.
    """
    return RequestTooLargeError(f"Expected a request of at most {limit} bytes; got more. Split it.")


def _inflate(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=47)  # Of gzip or zlib.
    try:
        content = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"Unable to decompress the body: {error}") from error
    if len(content) > limit:
        raise too_large(limit)
    if not inflater.eof:
        raise InvalidRequestError("Unable to decompress the body: it ends too early")
    if inflater.unused_data:
        raise InvalidRequestError("Unable to decompress the body: more follows its end")
    return content


def _normal(encoding: bytes) -> bytes:
    return encoding.strip().lower()
