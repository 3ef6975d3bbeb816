"""Gzip streams: what can be had of them, up to the very byte that is damaged."""

import zlib
from collections.abc import Iterable, Iterator

_PIECE_BYTES = 1 << 20
_WBITS = 31  # a gzip header and trailer around the deflate stream


class DamageError(Exception):
    """Reports that a stream is cut or corrupt; the message is the reason as it is counted."""


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompresses gzip members one after another.

    Args:
      chunks: The compressed stream.

    Yields:
      Pieces of at most 1 MiB.

    Raises:
      DamageError: After the last byte that can be had, if the stream is cut or corrupt.
    """
    inflater = zlib.decompressobj(wbits=_WBITS)
    for data in chunks:
        while data:
            if inflater.eof:
                data = data.lstrip(b"\0")  # padding between members is allowed
                if data:
                    inflater = zlib.decompressobj(wbits=_WBITS)
                continue
            fallback = inflater.copy()
            try:
                piece = inflater.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                yield from _inflate_bytewise(fallback, data)
                raise DamageError("corrupt gzip") from error
            yield piece
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if not inflater.eof:
        yield inflater.flush()
        if not inflater.eof:
            raise DamageError("truncated gzip")


def _inflate_bytewise(inflater: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """Decompresses up to the very byte that is corrupt, where one call would lose it all."""
    for position in range(len(data)):
        try:
            yield inflater.decompress(data[position : position + 1])
        except zlib.error:
            return
