"""Rows as TFRecords of tf.Example."""

import struct
from collections.abc import Iterable, Iterator

import google_crc32c
import numpy as np
import polars as pl
import pyarrow as pa
from tfx_bsl.coders import example_coder

from components.yelp_example_gen import layouts

_BATCH_ROWS = 20_000
_MASK_DELTA = 0xA282EAD8


def encode_frame(frame: pl.DataFrame) -> Iterator[bytes]:
    """Encodes rows as the content of a TFRecord file.

    A null is a feature without values.

    Args:
      frame: Columns of strings, int64, float32, or lists of them.

    Yields:
      Framed records, some thousand at a time, in the order of the rows.
    """
    for batch in frame.iter_slices(_BATCH_ROWS):
        table = batch.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
        framed = None if any(map(_has_lists, table.columns)) else layouts.encode_framed(table)
        yield _encode_any(table) if framed is None else framed


def _has_lists(column: pa.ChunkedArray) -> bool:
    """Returns whether there is a list in a column."""
    return pa.types.is_large_list(column.type) and column.null_count < len(column)


def _encode_any(table: pa.Table) -> bytes:
    """Encodes rows of any columns as framed records."""
    columns = [_to_lists(column.chunk(0)) for column in table.columns]
    record_batch = pa.RecordBatch.from_arrays(columns, table.column_names)
    return _frame(example_coder.RecordBatchToExamplesEncoder().encode(record_batch))


def _frame(records: Iterable[bytes]) -> bytes:
    """Joins records in TFRecord framing: length, masked CRC, record, masked CRC."""
    crc32c = google_crc32c.value
    pack_crc = struct.Struct("<I").pack
    headers: dict[int, bytes] = {}
    parts: list[bytes] = []
    for record in records:
        header = headers.get(len(record))
        if header is None:
            length = struct.pack("<Q", len(record))
            header = headers[len(record)] = length + pack_crc(_mask(crc32c(length)))
        parts += (header, record, pack_crc(_mask(crc32c(record))))
    return b"".join(parts)


def _mask(crc: int) -> int:
    """Masks a CRC as TFRecord does, so that a CRC of data that holds CRCs stays sound."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _to_lists(column: pa.Array) -> pa.Array:
    """Turns a column into lists of int64, float32 or bytes, as the encoder takes them."""
    if not pa.types.is_large_list(column.type):
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        offsets = np.zeros(len(column) + 1, np.int64)
        np.cumsum(valid, out=offsets[1:])
        # An offset of null marks a null list.
        column = pa.LargeListArray.from_arrays(
            pa.array(offsets, mask=np.append(~valid, False)), column.drop_null()
        )
    if pa.types.is_large_string(column.type.value_type):
        column = column.cast(pa.large_list(pa.large_binary()))
    return column
