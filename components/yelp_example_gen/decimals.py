"""Decimal numbers in a buffer, read a digit of all of them at a time."""

import dataclasses

import numpy as np

_ZERO, _POINT = b"0"[0], b"."[0]
_MAX_CHARS = 16  # so that a number's digits fit into a float64 without rounding


@dataclasses.dataclass(frozen=True)
class Decimals:
    """Holds numbers without sign and exponent: digits * 10^-num_decimals.

    Attributes:
      digits: `[n]` int64.
      num_decimals: `[n]` int64: how many digits stand after the point; -1 without a point.
      is_read: `[n]` bool: whether this is such a number, as JSON spells it.
    """

    digits: np.ndarray
    num_decimals: np.ndarray
    is_read: np.ndarray

    @property
    def is_integer(self) -> np.ndarray:
        """Whether each is spelt without a point, `[n]` bool."""
        return self.num_decimals < 0

    def floats(self) -> np.ndarray:
        """Returns the nearest float64 of each number, `[n]`."""
        # Both are exact in float64, so that the quotient is rounded once, and rightly.
        return self.digits / 10.0 ** np.maximum(self.num_decimals, 0)

    def take(self, selected: np.ndarray) -> "Decimals":
        """Returns the numbers that a mask selects."""
        return Decimals(self.digits[selected], self.num_decimals[selected], self.is_read[selected])


def read_decimals(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Decimals:
    """Reads numbers such as `3`, `17` and `4.25`, of at most 16 characters.

    Args:
      buffer: `[num_bytes]` uint8.
      starts: `[n]` int64: the first byte of each number.
      ends: `[n]` int64: one past its last byte; what does not lie inside the buffer is not read.
    """
    widths = ends - starts
    is_read = (widths > 0) & (widths <= _MAX_CHARS) & (starts >= 0) & (ends <= len(buffer))
    widths = np.where(is_read, widths, 0)
    last = np.clip(ends - 1, 0, len(buffer) - 1)
    first = np.clip(starts, 0, len(buffer) - 1)
    digits = np.zeros(len(starts), np.int64)
    num_decimals = np.full(len(starts), -1)
    scales = np.ones(len(starts), np.int64)
    for position in range(int(widths.max(initial=0))):
        reached = widths > position
        chars = buffer[np.maximum(last - position, 0)]
        values = chars - _ZERO  # uint8: what is below "0" wraps around to large values
        is_digit = reached & (values < 10)
        is_point = reached & (chars == _POINT) & (num_decimals < 0)
        digits += np.where(is_digit, values, 0) * scales
        scales[is_digit] *= 10
        num_decimals[is_point] = position
        is_read &= is_digit | is_point | ~reached
    # JSON wants a digit on both sides of the point, and no needless zero at the front.
    second = buffer[np.minimum(first + 1, len(buffer) - 1)]
    is_read &= (buffer[first] != _POINT) & (num_decimals != 0)
    is_read &= (buffer[first] != _ZERO) | (widths == 1) | (second == _POINT)
    return Decimals(digits, num_decimals, is_read)
