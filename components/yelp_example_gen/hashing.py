"""A hash of strings that is the same on every machine, in every process and in every version."""

import numpy as np
import pyarrow as pa

_WORD_BYTES = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hash_strings(strings: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Hashes strings.

    Args:
      strings: `[n]` string or large_string, without nulls.

    Returns:
      `[n]` uint64: the length in bytes and the words of 8 bytes, little-endian, the last one filled
      up with zeros, each mixed into what came before.
    """
    if isinstance(strings, pa.ChunkedArray):
        strings = pa.concat_arrays([pa.array([], strings.type), *strings.chunks])
    kind = np.dtype(np.int64 if pa.types.is_large_string(strings.type) else np.int32)
    _, offsets_buffer, data = strings.buffers()
    first_byte = strings.offset * kind.itemsize
    offsets = np.frombuffer(offsets_buffer, kind, len(strings) + 1, first_byte).astype(np.int64)
    # Words may reach beyond the last string.
    buffer = np.zeros(offsets[-1] + _WORD_BYTES, np.uint8)
    buffer[: offsets[-1]] = np.frombuffer(data, np.uint8, offsets[-1]) if data else 0
    words: np.ndarray = np.ndarray(offsets[-1] + 1, "<u8", buffer, strides=(1,))
    lengths = np.diff(offsets)
    hashes = mix(lengths.astype(np.uint64))
    starts, shortest = offsets[:-1], lengths.min() if len(lengths) else 0
    for start in range(0, int(lengths.max(initial=0)), _WORD_BYTES):
        # Ids are as long as each other: it is all rows, most often.
        rows = slice(None) if start < shortest else np.flatnonzero(lengths > start)
        word = words[starts[rows] + start]
        if start + _WORD_BYTES > shortest:
            spare_bits = 8 * np.maximum(start + _WORD_BYTES - lengths[rows], 0).astype(np.uint64)
            word = word << spare_bits >> spare_bits
        hashes[rows] = mix(hashes[rows] ^ word)
    return hashes


def mix(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Mixes the bits of numbers: a step of the SplitMix64 generator.

    Args:
      values: `[n]` uint64.
      seed: Varies the result.

    Returns:
      `[n]` uint64, no two values of which are the same unless two of `values` are.
    """
    with np.errstate(over="ignore"):
        values = values + (np.uint64(seed % 2**64) + np.uint64(1)) * _GOLDEN
        values = (values ^ (values >> np.uint64(30))) * _MIX_1
        values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))
