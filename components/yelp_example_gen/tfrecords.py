"""Rows as TFRecords of tf.Example."""

import functools
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from components.yelp_example_gen import examples, layouts

# What is encoded at once: of the rows as Arrow holds them, about what a processor's cache takes.
_BATCH_BYTES = 2 << 20


def encode_table(table: pa.Table) -> Iterator[pa.Buffer | bytes]:
    """Encodes rows as the content of a TFRecord file.

    A null is a feature without values.

    Args:
      table: Columns of strings, int64, float32, or lists of them.

    Yields:
      Framed records, some megabytes at a time, in the order of the rows.
    """
    num_batches = 1 + table.nbytes // _BATCH_BYTES
    batch_rows = max(1, -(-table.num_rows // num_batches))
    for start in range(0, table.num_rows, batch_rows):
        (batch,) = table.slice(start, batch_rows).combine_chunks().to_batches()
        framed = layouts.encode_framed(batch)
        yield _frame(examples.encode_examples(batch)) if framed is None else framed


def _frame(records: pa.BinaryArray) -> pa.Buffer:
    """Joins records in TFRecord framing: length, masked CRC, record, masked CRC."""
    _, offsets_buffer, data = records.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, len(records) + 1).tolist()
    content = data.to_pybytes()
    crcs = layouts.masked_crcs(
        content[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    )
    footers = pa.Array.from_buffers(
        pa.binary(layouts.CRC_BYTES), len(records), [None, pa.py_buffer(crcs)]
    )
    headers = examples.spell_by_size(examples.lengths(records), _spell_header)
    return examples.join_bytes([headers, records, footers.cast(pa.binary())]).buffers()[2]


@functools.lru_cache(1 << 14)
def _spell_header(num_bytes: int) -> bytes:
    """Spells what stands before a record of so many bytes."""
    length = struct.pack("<Q", num_bytes)
    return length + layouts.masked_crcs([length]).tobytes()
