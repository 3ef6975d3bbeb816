"""Byte ranges of the input files, and the whole lines that each of them owns."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from components.yelp_example_gen import archives, gzips, input_files, storage, tables

RANGE_BYTES = 32 << 20
# What is read and parsed at once: its columns stay in the processor's cache.
BLOCK_BYTES = 4 << 20
# A user's line with 15,000 friends takes 400 kB. Beyond this a line is junk, such as a binary
# file, and is not to fill the memory.
MAX_LINE_BYTES = 16 << 20

_CHUNK_BYTES = 64 << 10


@dataclasses.dataclass(frozen=True)
class ByteRange:
    """Owns the lines of an input that start in `[start, end)`.

    Attributes:
      file: The input.
      file_index: The position of the input among all, which orders the rows.
      start: First byte, as stored.
      end: One past the last byte; a compressed input is one range.
    """

    file: input_files.Input
    file_index: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Block:
    """Holds whole lines.

    Attributes:
      file: The file they are from.
      offset: Where the first line starts in the (decompressed) file, in bytes.
      data: The lines; only the last of a file may lack its newline.
      damage: Why the file can't be read beyond this block, or "".
    """

    file: input_files.InputFile
    offset: int
    data: bytes
    damage: str = ""


def list_ranges(files: Iterable[input_files.Input], range_bytes: int) -> list[ByteRange]:
    """Cuts inputs into byte ranges.

    Args:
      files: The inputs, in the order of their rows.
      range_bytes: The length of a range; compressed inputs can't be cut.
    """
    ranges = []
    for index, file in enumerate(files):
        step = max(file.size_bytes, 1) if file.is_gzip else range_bytes
        starts = range(0, file.size_bytes, step)
        if not starts and isinstance(file, input_files.InputFile) and file.damage:
            starts = range(1)  # Nothing is left, but the damage is to be told.
        ranges += [
            ByteRange(file, index, start, min(start + step, file.size_bytes)) for start in starts
        ]
    return ranges


def read_blocks(
    byte_range: ByteRange,
    block_bytes: int = BLOCK_BYTES,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Block]:
    """Reads the lines that start in a range.

    A line of more than `max_line_bytes` may come cut, but still longer than that.

    Args:
      byte_range: The range.
      block_bytes: About how much comes at a time.
      max_line_bytes: How far to look for the end of a line.
    """
    file = byte_range.file
    with storage.open_raw(file.path) as stream:
        if isinstance(file, input_files.CompressedTar):
            pieces = gzips.inflate(_read_chunks(stream, file.size_bytes))
            yield from _read_archive(file, pieces, block_bytes, max_line_bytes)
        elif file.is_gzip:
            stream.seek(file.start)
            pieces = gzips.inflate(_read_chunks(stream, file.size_bytes))
            yield from _cut_blocks(file, pieces, block_bytes, max_line_bytes)
        else:
            bounds = byte_range.start, byte_range.end
            yield from _read_range(stream, file, *bounds, block_bytes, max_line_bytes)


def _read_range(
    stream: BinaryIO,
    file: input_files.InputFile,
    start: int,
    end: int,
    block_bytes: int,
    max_line_bytes: int,
) -> Iterator[Block]:
    """Reads the lines that start in `[start, end)`; a file without a byte is one block."""
    first = _find_line(stream, file, start)
    while first < end or not file.size_bytes:
        block_end = min(first + block_bytes, end)
        last = _find_line(stream, file, block_end)
        stop = min(last, block_end + max_line_bytes + 1)
        stream.seek(file.start + first)
        data = stream.read(stop - first)
        if stop < last:
            data += b"\n"  # It is the line that is too long, not the file that is cut.
        yield Block(file, first, data, file.damage if last == file.size_bytes else "")
        if not file.size_bytes:
            return
        first = last


def _find_line(stream: BinaryIO, file: input_files.InputFile, position: int) -> int:
    """Finds where the first line starts that does so at a position or after it, in bytes."""
    if not position:
        return 0
    position -= 1  # The byte before tells whether a line starts exactly there.
    stream.seek(file.start + position)
    for chunk in _read_chunks(stream, file.size_bytes - position):
        newline = chunk.find(b"\n")
        if newline >= 0:
            return position + newline + 1
        position += len(chunk)
    return file.size_bytes


def _read_archive(
    archive: input_files.CompressedTar,
    pieces: Iterator[bytes],
    block_bytes: int,
    max_line_bytes: int,
) -> Iterator[Block]:
    """Reads the files in a compressed tar, one after another.

    Damage outside of them is that of the last file before it, or of the archive itself.
    """
    stream = archives.ForwardStream(pieces)
    last = Block(archive.stand_in(tables.INTERACTIONS, archive.size_bytes), 0, b"")
    try:
        for member in archives.walk_members(stream):
            file = archive.describe(member)
            if file is None:
                continue
            chunks = stream.read_chunks(member.size_bytes)
            content = gzips.inflate(chunks) if file.is_gzip else chunks
            last = Block(file, 0, b"")
            yield last  # Tells of the file, even if it is empty.
            for block in _cut_blocks(file, content, block_bytes, max_line_bytes):
                yield block
                last = dataclasses.replace(block, offset=block.offset + len(block.data), data=b"")
    except gzips.DamageError as error:
        if not last.damage:
            yield dataclasses.replace(last, damage=str(error))


def _cut_blocks(
    file: input_files.InputFile, pieces: Iterator[bytes], block_bytes: int, max_line_bytes: int
) -> Iterator[Block]:
    """Gathers a stream of bytes into blocks of whole lines."""
    offset, skipping, damage = 0, False, ""
    gathered: list[bytes] = []
    gathered_bytes = 0
    while True:
        try:
            piece = next(pieces, None)
        except gzips.DamageError as error:
            piece, damage = None, str(error)
        if piece is None:
            break
        if skipping:
            newline = piece.find(b"\n")
            skipping = newline < 0
            skipped = len(piece) if skipping else newline + 1
            offset += skipped
            piece = piece[skipped:]
        gathered.append(piece)
        gathered_bytes += len(piece)
        if gathered_bytes < block_bytes:
            continue
        pending = b"".join(gathered)
        lines_end = pending.rfind(b"\n") + 1
        if lines_end:
            yield Block(file, offset, pending[:lines_end])
        elif len(pending) > max_line_bytes:
            # The newline tells that the line is too long, not the file cut.
            yield Block(file, offset, pending + b"\n")
            lines_end, skipping = len(pending), True
        offset += lines_end
        gathered = [pending[lines_end:]]
        gathered_bytes = len(gathered[0])
    pending = b"".join(gathered)
    damage = damage or file.damage
    if pending or damage:
        yield Block(file, offset, pending, damage)


def _read_chunks(stream: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    """Reads so many bytes, or what is left, in chunks of bounded size."""
    while num_bytes and (chunk := stream.read(min(num_bytes, _CHUNK_BYTES))):
        num_bytes -= len(chunk)
        yield chunk
