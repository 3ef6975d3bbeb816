"""What a tf.Example is made of in bytes: tags, lengths and numbers of protocol buffers."""

import functools

import numpy as np

# Field number << 3 | wire type 2, that is bytes with their length.
FIELD_1, FIELD_2, FIELD_3 = 0x0A, 0x12, 0x1A
# Which of a Feature's lists holds which kind of value.
BYTES_LIST, FLOAT_LIST, INT64_LIST = FIELD_1, FIELD_2, FIELD_3

NULL = -1  # In place of a value's size.
SEPTET_SHIFTS = np.arange(0, 70, 7, dtype=np.uint64)
VARINT_LIMITS = np.uint64(1) << SEPTET_SHIFTS[1:]
# Sizes recur from batch to batch.
MAX_CACHED_SIZES = 1 << 14


@functools.lru_cache(MAX_CACHED_SIZES)
def lead(tag: int, length: int) -> bytes:
    """Spells a tag and a length, as they stand before a field's content."""
    varint = [tag]
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*varint, length])


def varint_widths(numbers: np.ndarray) -> np.ndarray:
    """Tells how many bytes uint64 numbers take as varints, `[n]` int64."""
    return 1 + np.searchsorted(VARINT_LIMITS, numbers, side="right")
