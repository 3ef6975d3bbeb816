"""Rows as serialised tf.Examples, written a column at a time.

An Example is a map: an entry a column, which spells the column's key and wraps its values in
messages. The bytes before the values depend on nothing but how many bytes the values take, and so
are spelt once for all rows with as many.
"""

import functools
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.yelp_example_gen.proto_bytes import (
    BYTES_LIST,
    FIELD_1,
    FIELD_2,
    FLOAT_LIST,
    INT64_LIST,
    MAX_CACHED_SIZES,
    NULL,
    SEPTET_SHIFTS,
    lead,
    varint_widths,
)

_BINARY = pa.binary()


def encode_examples(batch: pa.RecordBatch) -> pa.BinaryArray:
    """Encodes rows.

    Args:
      batch: Columns of strings, int64, float32 or lists of them; a null becomes a feature without
        values. Lists hold no nulls.

    Returns:
      `[num_rows]` binary: a serialised tf.Example each.
    """
    cells: list[pa.BinaryArray] = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        cells += _encode_column(name.encode(), column)
    num_bytes = sum(map(lengths, cells), start=np.zeros(batch.num_rows, np.int32))
    return join_bytes([spell_by_size(num_bytes, functools.partial(lead, FIELD_1)), *cells])


def join_bytes(columns: list[pa.BinaryArray]) -> pa.BinaryArray:
    """Joins the bytes of each row, `[num_rows]` binary, column after column."""
    return pc.binary_join_element_wise(*columns, pa.scalar(b"", _BINARY))


def lengths(strings: pa.BinaryArray) -> np.ndarray:
    """Returns the length of each string in bytes, `[n]` int32."""
    return np.diff(_offsets(strings))


def spell_by_size(sizes: np.ndarray, spell: Callable[[int], bytes]) -> pa.BinaryArray:
    """Spells bytes that depend on a size only, once for all rows of that size.

    Args:
      sizes: `[num_rows]` int32.
      spell: Returns the bytes for a size.

    Returns:
      `[num_rows]` binary.
    """
    if len(sizes) and sizes.min() == sizes.max():
        return pa.repeat(pa.scalar(spell(int(sizes[0])), _BINARY), len(sizes))
    encoded = pa.array(sizes).dictionary_encode()
    spelt = [spell(size) for size in encoded.dictionary.to_pylist()]
    return pa.array(spelt, _BINARY).take(encoded.indices)


def _encode_column(key: bytes, column: pa.Array) -> list[pa.BinaryArray]:
    """Encodes a column as map entries: what stands before the values, and the values."""
    num_values, values = _flatten(column)
    if pa.types.is_floating(values.type):
        kind, encode = FLOAT_LIST, _encode_floats
    elif pa.types.is_integer(values.type):
        kind, encode = INT64_LIST, _encode_ints
    else:
        kind, encode = BYTES_LIST, _encode_strings
    value_offsets, data = encode(values)
    offsets = value_offsets[_to_offsets(num_values)]
    content = pa.Array.from_buffers(_BINARY, len(column), [None, pa.py_buffer(offsets), data])
    sizes = np.diff(offsets)
    if column.null_count:
        sizes[column.is_null().to_numpy(zero_copy_only=False)] = NULL
    return [spell_by_size(sizes, functools.partial(_spell_header, key, kind)), content]


def _flatten(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Returns how many values each row has, `[num_rows]`, and the values of all rows."""
    if pa.types.is_list(column.type):
        return pc.list_value_length(column).fill_null(0).to_numpy(), column.flatten()
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    return column.is_valid().to_numpy(zero_copy_only=False), column.drop_null()


def _encode_floats(values: pa.Array) -> tuple[np.ndarray, pa.Buffer]:
    """Returns where values start and end among their bytes, `[n + 1]` int32, and these."""
    data = values.to_numpy()
    return np.arange(0, data.nbytes + 1, data.itemsize, np.int32), pa.py_buffer(data)


def _encode_ints(values: pa.Array) -> tuple[np.ndarray, pa.Buffer]:
    """Encodes numbers as varints; returns as `_encode_floats`."""
    numbers = values.to_numpy().view(np.uint64)
    widths = varint_widths(numbers)
    places = np.arange(widths.max(initial=1))
    septets = (numbers[:, None] >> SEPTET_SHIFTS[places] & np.uint64(0x7F)).astype(np.uint8)
    # A high bit tells that more is to come.
    septets |= (places < widths[:, None] - 1).astype(np.uint8) << 7
    return _to_offsets(widths), pa.py_buffer(septets[places < widths[:, None]])


def _encode_strings(values: pa.Array) -> tuple[np.ndarray, pa.Buffer]:
    """Encodes strings, each behind its tag and length; returns as `_encode_floats`."""
    tags = spell_by_size(lengths(values), functools.partial(lead, FIELD_1))
    tagged = join_bytes([tags, values.cast(_BINARY)])
    return _offsets(tagged), tagged.buffers()[2]


@functools.lru_cache(MAX_CACHED_SIZES)
def _spell_header(key: bytes, kind: int, size: int) -> bytes:
    """Spells what stands before the values of an entry.

    Args:
      key: The key.
      kind: The tag of the list of the values.
      size: How many bytes the values take, strings with their tags; `NULL` for no list.
    """
    header, content = b"", max(size, 0)
    if size > 0 and kind != BYTES_LIST:
        header = lead(FIELD_1, content)  # Numbers are packed.
    if size != NULL:
        header = lead(kind, len(header) + content) + header
    header = lead(FIELD_2, len(header) + content) + header
    header = lead(FIELD_1, len(key)) + key + header
    return lead(FIELD_1, len(header) + content) + header


def _offsets(strings: pa.Array) -> np.ndarray:
    """Returns where strings start in their buffer, and where the last ends, `[n + 1]` int32."""
    return np.frombuffer(strings.buffers()[1], np.int32, len(strings) + 1, strings.offset * 4)


def _to_offsets(sizes: np.ndarray) -> np.ndarray:
    """Adds sizes up to offsets, `[len(sizes) + 1]` int32."""
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return offsets
