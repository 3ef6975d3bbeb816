import numpy as np
import pyarrow as pa
import pytest

from components.yelp_example_gen import hashing

TEXTS = ["", "a", "user-1", "ünïcode", "12345678", "123456789", "x" * 22, "x" * 50]
MASK = 2**64 - 1


def mix(value, seed=0):
    """SplitMix64 with the integers of Python."""
    value = (value + (seed % 2**64 + 1) * 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def hash_string(text):
    data = text.encode()
    value = mix(len(data))
    for start in range(0, len(data), 8):
        value = mix(value ^ int.from_bytes(data[start : start + 8], "little"))
    return value


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_hashes_never_change(kind):
    # A random split must not move with a version.
    expected = [hash_string(text) for text in TEXTS]
    assert expected[:2] == [16294208416658607535, 6774081908283191102]
    array = pa.array(["before", *TEXTS, "after"], kind)
    assert hashing.hash_strings(array[1:-1]).tolist() == expected
    chunks = pa.chunked_array([array[1:4], array[4:-1]])
    assert hashing.hash_strings(chunks).tolist() == expected
    assert hashing.hash_strings(array[:0]).tolist() == []


@pytest.mark.parametrize("seed", [0, 1, -1, 2**64 - 1])
def test_mix_is_split_mix(seed):
    values = np.array([0, 1, 2**63, MASK], np.uint64)
    assert hashing.mix(values, seed).tolist() == [mix(int(value), seed) for value in values]


def test_the_seed_varies_the_hash_and_spreads_it():
    hashes = hashing.hash_strings(pa.array([f"user-{i}" for i in range(1000)]))
    first, second = hashing.mix(hashes, 1), hashing.mix(hashes, 2)
    assert not np.any(first == second)
    # Tenths of the range hold about a tenth each.
    for values in (hashes, first, second):
        tenths = np.bincount((values / 2.0**64 * 10).astype(int), minlength=10)
        assert tenths.min() > 60
        assert tenths.max() < 140
