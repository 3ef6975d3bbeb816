"""One table alone, read in one process: the users or the businesses of a refresh."""

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from components.yelp_example_gen import (
    deduplication,
    input_files,
    parsing,
    places,
    ranges,
    storage,
    tables,
)
from models import errors


@dataclasses.dataclass(frozen=True)
class SingleTable:
    """What became of the lines of one table.

    Attributes:
      rows: Its rows, sorted by id, one an id: of several the last one.
      num_lines: Lines that are not blank.
      rejects: Those that are no rows.
      num_repeated: Rows that a later one with the same id took the place of.
    """

    rows: pa.Table
    num_lines: int
    rejects: Sequence[parsing.Reject]
    num_repeated: int


def read_table(table: str, pattern: str, max_reject_fraction: float) -> SingleTable:
    """Reads JSON-lines files of one table, compressed by gzip or not.

    Args:
      table: `tables.USERS` or `tables.BUSINESSES`.
      pattern: A file on any filesystem of Beam, or a pattern of several (`places.expand`).
      max_reject_fraction: The largest fraction of the lines that may be rejected.

    Raises:
      InputError: If there is no such file, no usable row, or more lines were rejected.
    """
    paths = places.expand(pattern) if places.is_pattern(pattern) else [pattern]
    if not paths or not all(map(storage.exists, paths)):
        raise errors.InputError(
            f"Expected a file of {table} as Yelp writes them, JSON lines, at {pattern!r}; got no "
            "such file. Correct the path."
        )
    blocks = [
        parsing.parse_block(table, block.data, block.offset, block.damage)
        for path in paths
        for byte_range in ranges.list_ranges([_describe(table, path)], ranges.RANGE_BYTES)
        for block in ranges.read_blocks(byte_range)
    ]
    parsed = parsing.merge_blocks(blocks) if blocks else parsing.parse_block(table, b"", 0)
    num_lines, num_rejects = parsed.num_lines - parsed.num_blank, len(parsed.rejects)
    if not num_lines:
        raise errors.InputError(
            f"Expected lines of {table} in {pattern!r}; it is empty. Give another file."
        )
    if not parsed.rows.num_rows or num_rejects > max_reject_fraction * num_lines:
        first = parsed.rejects[0] if parsed.rejects else None
        example = f" The first: {first.reason}, in {first.line[:200]!r}." if first else ""
        raise errors.InputError(
            f"Expected lines of {table} in {pattern!r}, at most {max_reject_fraction:.2%} of them "
            f"unusable; {num_rejects:,} of {num_lines:,} are.{example} Mend the file."
        )
    key = tables.BUCKET_KEYS[table]
    nobody = pa.chunked_array([], pa.string())
    rows, counts = deduplication.complete_entities(parsed.rows, nobody, key)
    return SingleTable(
        rows=rows.sort_by(key),
        num_lines=num_lines,
        rejects=parsed.rejects,
        num_repeated=counts[deduplication.REPEATED_IDS],
    )


def _describe(table: str, path: str) -> input_files.InputFile:
    metadata = storage.describe(path)
    size_bytes, seconds = metadata.size_in_bytes, metadata.last_updated_in_seconds
    return input_files.InputFile(path, table, "", size_bytes, seconds)
