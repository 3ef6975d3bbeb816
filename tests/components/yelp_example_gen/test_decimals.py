import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.yelp_example_gen import decimals


def read(*texts):
    """Reads texts that stand one after the other, apart by a comma."""
    buffer = np.frombuffer(",".join(texts).encode(), np.uint8)
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths + 1) - 1
    return decimals.read_decimals(buffer, ends - lengths, ends)


def test_numbers():
    numbers = read("0", "7", "42", "4.25", "0.5", "10.0", "1234567890123456")
    assert numbers.is_read.all()
    assert numbers.floats().tolist() == [0.0, 7.0, 42.0, 4.25, 0.5, 10.0, 1234567890123456.0]
    assert numbers.is_integer.tolist() == [True, True, True, False, False, False, True]
    assert numbers.digits[numbers.is_integer].tolist() == [0, 7, 42, 1234567890123456]


# Some are numbers of JSON all the same, only not of this kind.
@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "01", "00", "00.5", "1.", ".5", ".", "1.2.3", "1e3", "NaN", "null", "1 ", " 1"]
    + ["12345678901234567", "4_0", "0x1", "1,2", "٣"],
)
def test_what_is_not_read(text):
    buffer = np.frombuffer(f"5{text}5".encode(), np.uint8)
    numbers = decimals.read_decimals(buffer, np.array([0, 1]), np.array([1, len(buffer) - 1]))
    assert numbers.is_read.tolist() == [True, False]


def test_spans_outside_the_buffer_are_not_read():
    buffer = np.frombuffer(b"55", np.uint8)
    numbers = decimals.read_decimals(buffer, np.array([-1, 0, 1, 1]), np.array([1, 3, 0, 2]))
    assert numbers.is_read.tolist() == [False, False, False, True]


@given(st.lists(st.text("0123456789.-+e", min_size=1, max_size=17), min_size=1))
def test_what_is_read_is_what_json_reads(texts):
    numbers = read(*texts)
    for text, is_read, number in zip(texts, numbers.is_read, numbers.floats(), strict=True):
        if is_read:
            assert number == json.loads(text)
        elif text.isdigit() and len(text) <= 16:
            assert text.startswith("0")
            assert len(text) > 1


def test_take_selects():
    numbers = read("1", "2.5", "x").take(np.array([False, True, True]))
    assert numbers.floats()[0] == 2.5
    assert numbers.is_read.tolist() == [True, False]
    assert numbers.num_decimals.tolist() == [1, -1]
