"""tf.Examples of rows without lists, written a column at a time.

Serialised rows differ only in their values wherever these take as many bytes: they share a layout.
Each layout is spelt out once, for all of its rows, and the values are copied into its slots.
"""

import dataclasses
from collections.abc import Iterable

import google_crc32c
import numpy as np
import pyarrow as pa

from components.yelp_example_gen.proto_bytes import (
    BYTES_LIST,
    FIELD_1,
    FIELD_2,
    FLOAT_LIST,
    INT64_LIST,
    NULL,
    SEPTET_SHIFTS,
    lead,
    varint_widths,
)

_FLOAT_BYTES = 4
_MASK_DELTA = np.uint32(0xA282EAD8)
CRC_BYTES = 4
# A layout costs as much as the rows that it saves where it has fewer than about so many.
_MIN_ROWS_PER_LAYOUT = 20


@dataclasses.dataclass(frozen=True)
class _Column:
    """Holds a column's values and how many bytes each takes, -1 for null."""

    key: bytes
    kind: int
    widths: np.ndarray
    values: np.ndarray
    starts: np.ndarray | None = None

    def slot_bytes(self, rows: np.ndarray, width: int) -> np.ndarray:
        """Returns the values of rows that take the same width, `[len(rows), width]` uint8."""
        if self.starts is not None:
            windows = np.lib.stride_tricks.sliding_window_view(self.values, width)
            return windows[self.starts[rows]]
        values = self.values[rows]
        if self.kind == FLOAT_LIST:
            return values.view(np.uint8).reshape(len(rows), width)
        septets = (values[:, None] >> SEPTET_SHIFTS[:width] & np.uint64(0x7F)).astype(np.uint8)
        septets[:, :-1] |= 0x80
        return septets


def encode_framed(batch: pa.RecordBatch) -> bytes | None:
    """Encodes rows as TFRecords of tf.Example.

    Args:
      batch: Columns of strings, int64 or float32; nulls allowed, and a column of any type that
        holds nothing else.

    Returns:
      The framed records in the order of the rows; None if there are lists, or too many layouts to
      pay.
    """
    if any(map(_has_lists, batch.columns)):
        return None
    columns = [
        _make_column(name.encode(), column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    widths = np.stack([column.widths for column in columns])
    groups = _group_by_layout(widths)
    if groups is None:
        return None
    framed = [(rows, _encode_group(columns, rows)) for rows in groups]
    sizes = np.zeros(batch.num_rows, np.int64)
    for rows, records in framed:
        sizes[rows] = records.shape[1]
    starts = sizes.cumsum() - sizes
    output = np.empty(sizes.sum(), np.uint8)
    for rows, records in framed:
        size = records.shape[1]
        places: np.ndarray = np.ndarray(len(output) - size + 1, f"V{size}", output, strides=(1,))
        places[starts[rows]] = records.view(f"V{size}").ravel()
    return output.tobytes()


def masked_crcs(records: Iterable[bytes]) -> np.ndarray:
    """Computes TFRecord's masked CRC-32C of each record, `[num_records]` uint32."""
    crcs = np.fromiter(map(google_crc32c.value, records), np.uint32)
    return ((crcs >> 15 | crcs << 17) + _MASK_DELTA).astype("<u4")


def _has_lists(column: pa.Array) -> bool:
    """Returns whether there is a list in a column."""
    return pa.types.is_list(column.type) and column.null_count < len(column)


def _group_by_layout(widths: np.ndarray) -> list[np.ndarray] | None:
    """Groups rows whose values take the same numbers of bytes.

    Args:
      widths: `[num_columns, num_rows]` int64, -1 for null.

    Returns:
      Row numbers of each group, ascending; None if there are too many groups.
    """
    code = np.zeros(widths.shape[1], np.float64)
    size = 1.0
    for column in widths:
        radix = int(column.max()) - NULL + 1
        code = code * radix + (column - NULL)
        size *= radix
    if size >= 2.0**53:  # beyond this a float64 no longer tells all codes apart
        return None
    encoded = pa.array(code).dictionary_encode()
    num_layouts = len(encoded.dictionary)
    if num_layouts * _MIN_ROWS_PER_LAYOUT > max(len(code), _MIN_ROWS_PER_LAYOUT):
        return None
    layout = encoded.indices.to_numpy()
    counts = np.bincount(layout, minlength=num_layouts)
    return np.split(np.argsort(layout, kind="stable"), counts.cumsum()[:-1])


def _encode_group(columns: list[_Column], rows: np.ndarray) -> np.ndarray:
    """Encodes rows of one layout as TFRecords, `[len(rows), num_bytes]` uint8."""
    features = b""
    slots: list[tuple[int, int, _Column]] = []
    for column in columns:
        width = int(column.widths[rows[0]])
        features += _delimit(FIELD_1, _spell_entry(column, width))
        if width > 0:
            slots.append((len(features) - width, width, column))
    example = _delimit(FIELD_1, features)
    length = np.array([len(example)], "<u8").tobytes()
    header = length + masked_crcs([length]).tobytes()
    framed = np.tile(np.frombuffer(header + example + bytes(CRC_BYTES), np.uint8), (len(rows), 1))
    features_start = len(header) + len(example) - len(features)
    for start, width, column in slots:
        framed[:, features_start + start :][:, :width] = column.slot_bytes(rows, width)
    data, size = framed.tobytes(), framed.shape[1]
    records = (
        data[start + len(header) : start + size - CRC_BYTES] for start in range(0, len(data), size)
    )
    framed[:, -CRC_BYTES:] = masked_crcs(records).view(np.uint8).reshape(-1, CRC_BYTES)
    return framed


def _spell_entry(column: _Column, width: int) -> bytes:
    """Spells an entry of the feature map, its value, at the very end, left zero."""
    feature = b""
    if width != NULL:
        feature = _delimit(column.kind, _delimit(FIELD_1, bytes(width)))
    return _delimit(FIELD_1, column.key) + _delimit(FIELD_2, feature)


def _delimit(tag: int, content: bytes) -> bytes:
    """Puts a tag and the length in front of a field's content."""
    return lead(tag, len(content)) + content


def _make_column(key: bytes, array: pa.Array) -> _Column:
    """Measures the values of a column."""
    if array.null_count == len(array):
        return _Column(key, BYTES_LIST, np.full(len(array), NULL), np.zeros(0, np.uint8))
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_string(array.type):
        _, offsets_buffer, data = array.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int32, len(array) + 1, array.offset * 4)
        values = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
        return _Column(
            key, BYTES_LIST, np.where(valid, np.diff(offsets), NULL), values, offsets[:-1]
        )
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(array.type):
        widths = np.full(len(array), _FLOAT_BYTES)
        kind = FLOAT_LIST
    else:
        values = values.view(np.uint64)
        widths = varint_widths(values)
        kind = INT64_LIST
    return _Column(key, kind, np.where(valid, widths, NULL), values)
