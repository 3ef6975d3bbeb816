"""Tar archives: where the members lie in a file or in a decompressed stream."""

import math
import tarfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from components.yelp_example_gen import gzips

GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
HEADER_BYTES = tarfile.BLOCKSIZE
TRUNCATED, CORRUPT = "truncated tar", "corrupt tar"

_CHUNK_BYTES = 1 << 20
# Names and pax records are short; a header that says otherwise is not to fill the memory.
_MAX_EXTENSION_BYTES = 1 << 20


class Member(NamedTuple):
    """Locates a regular file in a tar.

    Attributes:
      name: Its name, with directories.
      offset: Where its data start in the (decompressed) tar, in bytes.
      size_bytes: The length of its data according to its header.
    """

    name: str
    offset: int
    size_bytes: int


class Stream(Protocol):
    """Can be read and moved forwards."""

    def seek(self, position: int, /) -> object:
        """Moves to a position in bytes from the start."""

    def read(self, num_bytes: int, /) -> bytes:
        """Reads that many bytes, or what is left."""


class ForwardStream:
    """Reads pieces of bytes, such as a stream that is being decompressed, like a file."""

    def __init__(self, pieces: Iterable[bytes]):
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self._position = 0

    def seek(self, position: int, /) -> None:
        """Skips to a position that has not been passed.

        Raises:
          DamageError: If the pieces end in damage before it.
        """
        while self._position < position and self._take(position - self._position):
            pass

    def read(self, num_bytes: int, /) -> bytes:
        """Reads that many bytes, or what is left.

        Raises:
          DamageError: If the pieces end in damage before that.
        """
        parts = []
        while num_bytes and (part := self._take(num_bytes)):
            parts.append(part)
            num_bytes -= len(part)
        return b"".join(parts)

    def read_chunks(self, num_bytes: int) -> Iterator[bytes]:
        """Reads the data of a member in chunks of bounded size.

        Raises:
          DamageError: After the last byte that can be had, if that is less than `num_bytes`.
        """
        while num_bytes:
            part = self._take(min(num_bytes, _CHUNK_BYTES))
            if not part:
                raise gzips.DamageError(TRUNCATED)
            num_bytes -= len(part)
            yield bytes(part)

    def _take(self, num_bytes: int) -> memoryview:
        """Returns at least one byte and at most so many, or none at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._piece = memoryview(piece)
        part, self._piece = self._piece[:num_bytes], self._piece[num_bytes:]
        self._position += len(part)
        return part


def is_tar(header: bytes) -> bool:
    """Tells from its first `HEADER_BYTES` whether a file is an uncompressed tar."""
    try:
        tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def walk_members(stream: Stream, num_bytes: float = math.inf) -> Iterator[Member]:
    """Finds the regular files of a tar by reading headers only.

    Knows ustar, long names the GNU way, and pax headers. Whoever iterates may read the data of a
    member before asking for the next one.

    Args:
      stream: The tar from its start.
      num_bytes: Its length, where known: a file is not moved beyond it.

    Raises:
      DamageError: After the last member that can be found, if the tar is cut or corrupt.
    """
    position = 0
    overrides: dict[str, str] = {}
    while True:
        if position >= num_bytes:
            raise gzips.DamageError(TRUNCATED)
        stream.seek(position)
        header = stream.read(HEADER_BYTES)
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return
        except tarfile.HeaderError as error:
            whole = len(header) == HEADER_BYTES
            raise gzips.DamageError(CORRUPT if whole else TRUNCATED) from error
        offset = position + HEADER_BYTES
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            if info.size > _MAX_EXTENSION_BYTES:
                raise gzips.DamageError(CORRUPT)
            overrides |= _read_extension(info.type, stream.read(info.size))
            size_bytes = info.size
        else:
            name = overrides.get("path", info.name).removeprefix("./")
            size_bytes = int(overrides.get("size", info.size))
            if info.isreg():
                yield Member(name, offset, size_bytes)
            if info.type != tarfile.GNUTYPE_LONGLINK:
                overrides = {}
        position = offset + -(-size_bytes // HEADER_BYTES) * HEADER_BYTES


def _read_extension(kind: bytes, data: bytes) -> dict[str, str]:
    """Reads what an extension header says of the member behind it.

    Raises:
      DamageError: If it can't be read.
    """
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    records = {}
    try:
        while data.rstrip(b"\0"):
            length, _ = data.split(b" ", 1)
            key, value = data[len(length) + 1 : int(length) - 1].split(b"=", 1)
            records[key.decode()] = value.decode("utf-8", "surrogateescape")
            data = data[int(length) :]
        if "size" in records:
            int(records["size"])
    except ValueError as error:
        raise gzips.DamageError(CORRUPT) from error
    return records
