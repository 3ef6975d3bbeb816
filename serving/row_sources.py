"""Reads ids to score from files, in chunks, and tells malformed rows from good ones.

Everything goes through Beam's filesystems, so that paths may be remote; files may be compressed.
"""

import contextlib
import csv
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from models.errors import InputError

_FORMATS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
# Beam reads these, too, but takes a file that was cut off for a whole one; Arrow does not.
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_BLOCK_BYTES = 1 << 20
_LISTED_ROWS = 1 << 16
# A user's line with 15,000 friends takes 400 kB. Beyond this a line is junk, such as a binary file,
# and is not to fill the memory.
_MAX_LINE_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"

# A row as it was read: its number, from 1, its values (None: missing) and the record itself, None
# where it is too long or no CSV.
_Row = tuple[int, Sequence[Any], Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of ids.

    Attributes:
      path: The file.
      number: Its place among the files of a job.
      columns: Names of the columns that are read.
      num_bytes: Its size.
      modified_seconds: When it was last written, in seconds since 1970; 0 if that is unknown.
    """

    path: str
    number: int
    columns: tuple[str, ...]
    num_bytes: int
    modified_seconds: float

    @property
    def format(self) -> str:
        """One of `csv`, `json` (an object a line), `parquet`, and `text` (an id a line)."""
        name = self.path
        for suffix in _COMPRESSIONS:
            name = name.removesuffix(suffix)
        return next((f for suffix, f in _FORMATS.items() if name.endswith(suffix)), "text")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file.

    Attributes:
      name: Unique within a job, and the same whenever the file is read again.
      columns: By column, the ids of the good rows.
      rejects: Malformed rows, with `file`, `row` (from 1; a CSV's header is none), `reason` and
        `record`.
    """

    name: str
    columns: tuple[list[str], ...]
    rejects: list[dict]

    @property
    def num_rows(self) -> int:
        """Number of good rows."""
        return len(self.columns[0])


def find_sources(pattern: str, columns: Sequence[str]) -> list[Source]:
    """Finds the files of a path or glob, and checks that they have the columns.

    Args:
      pattern: Path or glob of text files with an id a line, or of CSV, JSON-lines or Parquet files
        with the columns.
      columns: Names of the columns.

    Raises:
      InputError: If there is no file, or one lacks a column.
    """
    try:
        (match,) = FileSystems.match([pattern])
        files = sorted(match.metadata_list, key=lambda file: file.path)
    except OSError:
        files = []
    if not files:
        raise InputError(
            f"Expected a file of ids at {pattern!r}; got none. Give the path of a text, CSV, "
            "JSON-lines or Parquet file."
        )
    sources = [
        Source(file.path, number, tuple(columns), file.size_in_bytes, file.last_updated_in_seconds)
        for number, file in enumerate(files)
    ]
    for source in sources:
        _check(source)
    return sources


def read_chunks(source: Source, chunk_rows: int) -> Iterator[Chunk]:
    """Reads a file, chunk by chunk; an empty file is one empty chunk.

    Args:
      source: The file.
      chunk_rows: Rows of a chunk, the malformed ones included.

    Raises:
      InputError: If the file is damaged.
    """
    rows = _read(source)
    for number in itertools.count():
        columns: tuple[list[str], ...] = tuple([] for _ in source.columns)
        rejects = []
        count = 0
        # Of good rows only the ids are kept: the rest of a record may be a hundred times as long.
        for row, values, record in itertools.islice(rows, chunk_rows):
            count += 1
            if reason := _problem(source.columns, values):
                rejects.append({
                    "file": source.path, "row": row, "reason": reason, "record": record,
                })  # fmt: skip
            else:
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
        if not count and number:
            return
        yield Chunk(f"{source.number:05d}-{number:05d}", columns, rejects)
        if count < chunk_rows:
            return


def read_column(pattern: str, column: str) -> list[str]:
    """Reads one column of files that are small enough for it.

    Args:
      pattern: As `find_sources` takes it.
      column: Name of the column.

    Raises:
      InputError: If there is no file, one lacks the column, or a row is malformed.
    """
    values: list[str] = []
    for source in find_sources(pattern, (column,)):
        for chunk in read_chunks(source, _LISTED_ROWS):
            if chunk.rejects:
                bad = chunk.rejects[0]
                raise InputError(
                    f"Expected {source.path!r} to hold a {column} in each row; got that "
                    f"{bad['reason']} in row {bad['row']}. Correct it."
                )
            values += chunk.columns[0]
    return values


def _check(source: Source) -> None:
    expected = f"Expected {source.path!r} to have the columns {', '.join(source.columns)}"
    if source.format == "text" and len(source.columns) > 1:
        raise InputError(f"{expected}; got a text file. Give a CSV, JSON-lines or Parquet file.")
    if source.format == "csv":
        with _open(source) as stream:
            try:
                header = next(_csv_records(stream), [])
            except csv.Error as error:
                raise InputError(f"{expected}; got no CSV: {error}. Write it again.") from error
    elif source.format == "parquet":
        with _open(source) as stream:
            try:
                schema = pq.ParquetFile(stream).schema_arrow
            except pa.ArrowInvalid as error:
                raise InputError(f"{expected}; got no Parquet file. Write it again.") from error
        header = schema.names
        for column in set(source.columns) & set(header):
            if not _is_string(schema.field(column).type):
                raise InputError(
                    f"Expected {column} of {source.path!r} to hold strings; got "
                    f"{schema.field(column).type}. Convert it."
                )
    else:
        return
    if missing := [column for column in source.columns if column not in header]:
        raise InputError(f"{expected}; got none named {missing[0]}. Add it, or rename one.")


def _is_string(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _problem(columns: Sequence[str], values: Sequence[Any]) -> str | None:
    """Says what is wrong with a row; None if it is good."""
    for column, value in itertools.zip_longest(columns, values):
        if value is None:
            return f"{column} is missing"
        if isinstance(value, Exception):
            return str(value)
        if not isinstance(value, str):
            return f"{column} is not a string"
        if not value.strip():
            return f"{column} is empty"
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{column} is not UTF-8"
    return None


def _read(source: Source) -> Iterator[_Row]:
    readers = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet, "text": _read_text}
    with _open(source) as stream:
        yield from readers[source.format](stream, source.columns)


def _read_text(stream: BinaryIO, columns: Sequence[str]) -> Iterator[_Row]:
    for number, line in enumerate(_lines(stream), start=1):
        if len(line) > _MAX_LINE_BYTES:
            yield number, [ValueError(_too_long())], None
            continue
        text = _decoded(line).rstrip("\r\n")
        yield number, [text], text


def _read_json(stream: BinaryIO, columns: Sequence[str]) -> Iterator[_Row]:
    for number, line in enumerate(_lines(stream), start=1):
        if len(line) > _MAX_LINE_BYTES:
            yield number, [ValueError(_too_long())], None
            continue
        values: list[Any]
        try:
            record = orjson.loads(line)
            values = [record.get(column) for column in columns]
        except orjson.JSONDecodeError as error:
            values = [ValueError(f"not JSON: {error}")]
        except AttributeError:
            values = [ValueError("not a JSON object")]
        yield number, values, _decoded(line).rstrip("\r\n")


def _read_csv(stream: BinaryIO, columns: Sequence[str]) -> Iterator[_Row]:
    reader = _csv_records(stream)
    header = next(reader)
    places = [header.index(column) for column in columns]
    # Not the reader's own numbers, which are those of lines: a quoted field may have several.
    for number in itertools.count(1):
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, [ValueError(f"not CSV: {error}")], None
            continue
        yield (
            number,
            [record[place] if place < len(record) else None for place in places],
            dict(zip(header, record, strict=False)),
        )


def _csv_records(stream: BinaryIO) -> Iterator[list[str]]:
    """Reads a CSV, header included; goes on with the next line after a `csv.Error`."""

    def text(line: bytes) -> str:
        if len(line) > _MAX_LINE_BYTES:
            raise csv.Error(_too_long())
        return _decoded(line)

    # Neither ends with an error, as a generator would.
    return csv.reader(map(text, _lines(stream)))


def _read_parquet(stream: BinaryIO, columns: Sequence[str]) -> Iterator[_Row]:
    number = 0
    for batch in pq.ParquetFile(stream).iter_batches(columns=list(columns)):
        parts = [batch.column(batch.schema.get_field_index(column)) for column in columns]
        for values in zip(*(part.to_pylist() for part in parts), strict=True):
            number += 1
            yield number, values, dict(zip(columns, values, strict=True))


@contextlib.contextmanager
def _open(source: Source) -> Iterator[BinaryIO]:
    """Opens a file, decompressed; Parquet compresses inside the file, whatever its name."""
    suffixes = () if source.format == "parquet" else _COMPRESSIONS
    suffix = next((suffix for suffix in suffixes if source.path.endswith(suffix)), None)
    try:
        with FileSystems.open(
            source.path, compression_type=CompressionTypes.UNCOMPRESSED
        ) as stream:
            if suffix is None:
                yield stream
            else:
                raw = pa.PythonFile(stream, "r")
                with pa.CompressedInputStream(raw, _COMPRESSIONS[suffix]) as decompressed:
                    yield decompressed
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"Expected {source.path!r} to be whole; got: {error}. Copy it again."
        ) from error


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Splits a file at line feeds only, which stay with their lines.

    A line that is too long comes cut, but is still too long then.
    """
    begun = bytearray()
    first = True
    while block := stream.read(_BLOCK_BYTES):
        if first:
            block, first = block.removeprefix(_BOM), False
        *lines, tail = block.split(b"\n")
        if lines and begun:
            lines[0] = bytes(begun + lines[0])
            begun.clear()
        for line in lines:
            yield line + b"\n"
        if len(begun) <= _MAX_LINE_BYTES:
            begun += tail
    if begun:
        yield bytes(begun)


def _too_long() -> str:
    return f"the line is longer than {_MAX_LINE_BYTES} bytes"


def _decoded(line: bytes) -> str:
    # What is not UTF-8 shows as lone surrogates, to be found where it matters.
    return line.decode("utf-8", "surrogateescape")
