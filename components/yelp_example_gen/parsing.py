"""Blocks of JSON lines as Arrow rows and rejected lines."""

import collections
import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa

from components.yelp_example_gen import line_shapes, ranges, records, shaped_rows, tables

_BOM = b"\xef\xbb\xbf"
_MAX_SHOWN_BYTES = 1024
_TRUNCATED = "truncated line"
# How many lines are looked at for the shape of the others, and how many it takes to pay.
_NUM_SAMPLES = 10
_MIN_SHAPED_LINES = 100
# Rows of Python objects are turned into columns before the garbage collector cares for them.
_ROWS_PER_PART = 250
_QUOTED_FIELDS = {
    table: [f'"{key}"'.encode() for key in required]
    for table, required in records.REQUIRED_FIELDS.items()
}


@dataclasses.dataclass(frozen=True)
class Reject:
    """Tells of a line that could not be used.

    Attributes:
      byte_offset: Where the line starts in the (decompressed) file.
      reason: Why, in words that are the same for all lines with this fault.
      line: Its first 1 KB, with replacement characters for what is not UTF-8.
    """

    byte_offset: int
    reason: str
    line: str


@dataclasses.dataclass(frozen=True)
class ParsedBlock:
    """Holds what became of a block's lines: `num_lines` = rows + rejects + `num_blank`.

    Attributes:
      rows: The table's rows, in the order of their lines.
      rejects: The lines that are no rows.
      num_lines: How many lines the block has; damage counts as one where it hits no line.
      num_blank: How many of them are blank.
      ignored_fields: How many optional values of the rows could not be used, by field.
    """

    rows: pa.Table
    rejects: list[Reject]
    num_lines: int
    num_blank: int
    ignored_fields: collections.Counter[str]


class _LoadError(records.RecordError):
    """Reports that a line is not one JSON object."""


def parse_block(
    table: str, data: bytes, base_offset: int, damage: str = "", with_text: bool = False
) -> ParsedBlock:
    """Parses a block; only bad lines are rejected.

    Lines of the shape that most lines have are read together, the others one by one.

    Args:
      table: The table that the lines are rows of.
      data: Whole lines; the last one may lack its newline.
      base_offset: Where `data` starts in the file, in bytes.
      damage: Why the file can't be read beyond the block, or ""; becomes the reason of the line
        that it cuts, or one more reject.
      with_text: Whether interactions carry their text.
    """
    lines = line_shapes.locate_lines(data, with_marks=table in shaped_rows.TABLES)
    schema = tables.staged_schema(table, with_text)
    rows, row_lines = _read_shaped_lines(table, data, lines, with_text)
    is_row = np.zeros(len(lines.starts), bool)
    is_row[row_lines] = True
    single_lines: list[int] = []
    single_rows: list[records.Row] = []
    parts: list[pa.Table] = []
    rejects: list[Reject] = []
    ignored: list[str] = []
    num_blank = 0
    others = np.flatnonzero(~is_row)
    bounds = lines.starts[others].tolist(), lines.ends[others].tolist()
    for number, start, end in zip(others.tolist(), *bounds, strict=True):
        line, offset = data[start:end], base_offset + start
        num_ignored = len(ignored)
        try:
            record = _load(table, line.removeprefix(_BOM) if offset == 0 else line)
            if record is None:
                num_blank += 1
            else:
                row = records.ROW_MAKERS[table](record, ignored)
                if tables.TEXT in schema.names:
                    row += (records.review_text(record, ignored),)
                single_rows.append(row)
                single_lines.append(number)
                if len(single_rows) == _ROWS_PER_PART:
                    parts.append(_to_table(schema, single_rows))
                    single_rows.clear()
        except records.RecordError as error:
            reason = str(error)
            if end == len(data) and isinstance(error, _LoadError):
                reason, damage = damage or _TRUNCATED, ""
            shown = line[:_MAX_SHOWN_BYTES].decode("utf-8", errors="replace")
            rejects.append(Reject(offset, reason, shown))
            del ignored[num_ignored:]
    if damage:
        rejects.append(Reject(base_offset + len(data), damage, ""))
    singles = pa.concat_tables([*parts, _to_table(schema, single_rows)])
    return ParsedBlock(
        rows=_insert_rows(rows, singles, np.searchsorted(row_lines, single_lines)),
        rejects=rejects,
        num_lines=len(lines.starts) + bool(damage),
        num_blank=num_blank,
        ignored_fields=collections.Counter(ignored),
    )


def merge_blocks(blocks: Sequence[ParsedBlock]) -> ParsedBlock:
    """Merges blocks that follow one another in a file."""
    return ParsedBlock(
        rows=pa.concat_tables([block.rows for block in blocks]),
        rejects=[reject for block in blocks for reject in block.rejects],
        num_lines=sum(block.num_lines for block in blocks),
        num_blank=sum(block.num_blank for block in blocks),
        ignored_fields=sum((block.ignored_fields for block in blocks), collections.Counter()),
    )


def _read_shaped_lines(
    table: str, data: bytes, lines: line_shapes.Lines, with_text: bool
) -> tuple[pa.Table, np.ndarray]:
    """Reads the lines that have the shape of one of the first.

    Returns:
      Rows, and the numbers of their lines; none where this does not pay.
    """
    none = tables.staged_schema(table, with_text).empty_table(), np.zeros(0, np.int64)
    if table not in shaped_rows.TABLES or len(lines.starts) < _MIN_SHAPED_LINES:
        return none
    bounds = zip(lines.starts[:_NUM_SAMPLES].tolist(), lines.ends.tolist(), strict=False)
    shapes = (line_shapes.learn_shape(data[start:end]) for start, end in bounds)
    shape = next(filter(None, shapes), None)
    if shape is None:
        return none
    shaped = line_shapes.match_lines(data, lines, shape, ranges.MAX_LINE_BYTES)
    return shaped_rows.make_rows(table, data, shaped, with_text) or none


def _insert_rows(rows: pa.Table, others: pa.Table, places: np.ndarray) -> pa.Table:
    """Inserts rows among others, without a copy of any.

    Args:
      rows: Rows.
      others: As many rows as there are places.
      places: `[n]` int64: the number of the row that each stands before, ascending.
    """
    cuts, firsts = np.unique(places, return_index=True)
    bounds = [0, *cuts.tolist(), rows.num_rows]
    other_bounds = [*firsts.tolist(), others.num_rows]
    parts = [rows.slice(0, bounds[1])]
    for number in range(len(cuts)):
        first, start = other_bounds[number], bounds[number + 1]
        parts.append(others.slice(first, other_bounds[number + 1] - first))
        parts.append(rows.slice(start, bounds[number + 2] - start))
    return pa.concat_tables(parts)


def _load(table: str, text: bytes) -> records.Record | None:
    """Parses a line that must hold one JSON object; None if it is blank.

    Raises:
      _LoadError: If it is neither; the message is the reason.
      RecordError: If the object has a required field twice.
    """
    if not text or text.isspace():
        return None
    if len(text) > ranges.MAX_LINE_BYTES:
        raise _LoadError(f"line longer than {ranges.MAX_LINE_BYTES >> 20} MiB")
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _LoadError(_explain(text, error)) from error
    if not isinstance(record, dict):
        raise _LoadError("not a JSON object")
    _check_keys(table, text)
    return record


def _check_keys(table: str, text: bytes) -> None:
    """Refuses an object that has a required field twice; the parser keeps the last.

    Raises:
      RecordError: If it does.
    """
    # An escape may hide a key's name; a single byte is found sooner than two.
    may_hide = b"\\" in text and b"\\u" in text
    if not may_hide and all(text.count(key) < 2 for key in _QUOTED_FIELDS[table]):
        return
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except RecursionError as error:
        raise records.RecordError("nested too deeply") from error
    counts = collections.Counter(name for name, _ in pairs)
    for key in records.REQUIRED_FIELDS[table]:
        if counts[key] > 1:
            raise records.RecordError(f"{key}: given twice")


def _explain(text: bytes, error: orjson.JSONDecodeError) -> str:
    """Names the fault of a line that is not JSON."""
    if b"\0" in text:
        return "NUL byte"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "invalid UTF-8"
    if error.msg.startswith("unexpected content after document"):
        return "more than one JSON value"
    return "not JSON"


def _to_table(schema: pa.Schema, rows: list[records.Row]) -> pa.Table:
    """Transposes rows into Arrow columns."""
    if not rows:
        return schema.empty_table()
    return pa.table(
        [
            pa.array(column, field.type, from_pandas=False)
            for column, field in zip(zip(*rows, strict=True), schema, strict=True)
        ],
        schema=schema,
    )
