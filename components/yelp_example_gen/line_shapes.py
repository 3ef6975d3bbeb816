"""Lines of one shape, found and taken apart a column at a time.

The lines of an export are written by one program: each has the same keys in the same order, and
the same bytes between its values. Where that is so, a whole block of lines is checked and cut with
a few passes over its bytes. Nothing is guessed: a line is of the shape only if it is proven to be
one JSON object with exactly these keys, each once; any other line is left to a real parser.
"""

import dataclasses
import re

import numpy as np
import orjson
import pyarrow as pa

from components.yelp_example_gen import decimals

_QUOTE, _BACKSLASH, _NEWLINE, _FIRST_PRINTABLE = b'"'[0], b"\\"[0], b"\n"[0], 0x20
_UNICODE_ESCAPE = b"u"[0]
_PIECE_BYTES = 1 << 17
# What stands after a backslash in the escapes of one character; an escaped backslash is left out,
# since whether a quote after it ends the string takes more than a look at the byte before.
_SIMPLE_ESCAPES = np.isin(np.arange(256), list(b'"/bfnrt'))
_HEX_DIGITS = np.full(256, -1, np.int64)
_HEX_DIGITS[list(b"0123456789")] = np.arange(10)
_HEX_DIGITS[list(b"abcdef")] = _HEX_DIGITS[list(b"ABCDEF")] = np.arange(10, 16)
# The first halves of pairs begin at the one, the second halves at the other.
_SURROGATES, _SURROGATE_MASK = (0xD800, 0xDC00), 0xFC00

_MEMBER = re.compile(
    rb'[ \t]*"([^"\\]*)"[ \t]*:[ \t]*(?:"((?:[^"\\]|\\.)*)"|([-+.0-9eE]+))[ \t]*([,}])'
)


@dataclasses.dataclass(frozen=True)
class Slot:
    """Describes where a value stands in each line of a shape.

    Attributes:
      key: Its key.
      is_string: Whether it is a string; it is a number otherwise.
      lead: The bytes between the value before, without its content, and this one's content.
      key_quote: Where the key's opening quote stands in `lead`, in bytes.
      num_quotes_before: How many quotes of the line come before that one.
    """

    key: str
    is_string: bool
    lead: bytes
    key_quote: int
    num_quotes_before: int


@dataclasses.dataclass(frozen=True)
class Shape:
    """Describes lines that differ in their values only.

    Attributes:
      slots: The values, in their order.
      tail: The bytes after the last value's content.
      num_quotes: How many quotes the line has that are not part of a value.
    """

    slots: tuple[Slot, ...]
    tail: bytes
    num_quotes: int


@dataclasses.dataclass(frozen=True)
class Lines:
    """Locates the lines of a block, and the bytes in them that mean something to JSON.

    Attributes:
      starts: `[num_lines]` int64: where each line starts, in bytes.
      ends: `[num_lines]` int64: where its newline stands, or where the block ends.

    Of a block that is located without marks there is nothing else:

      quotes: `[num_quotes]` int64: the quotes that no backslash stands before.
      escapes: `[num_escapes]` int64: the bytes that a backslash stands before.
      controls: `[num_controls]` int64: the control characters other than newlines.
    """

    starts: np.ndarray
    ends: np.ndarray
    quotes: np.ndarray
    escapes: np.ndarray
    controls: np.ndarray


@dataclasses.dataclass(frozen=True)
class Spans:
    """Locates the values of one key.

    Attributes:
      starts: `[num_shaped]` int64: the first byte of each value.
      ends: `[num_shaped]` int64: one past its last byte.
    """

    starts: np.ndarray
    ends: np.ndarray

    def take(self, selected: np.ndarray) -> "Spans":
        """Returns the spans that a mask selects."""
        return Spans(self.starts[selected], self.ends[selected])


@dataclasses.dataclass(frozen=True)
class ShapedLines:
    """Holds the values of the lines of one shape.

    Attributes:
      lines: `[num_shaped]` int64: the numbers of the lines that have the shape, ascending.
      strings: By key, where the contents of the strings stand, their escapes as they are.
      numbers: By key, the numbers.
    """

    lines: np.ndarray
    strings: dict[str, Spans]
    numbers: dict[str, decimals.Decimals]


def learn_shape(line: bytes) -> Shape | None:
    """Learns the shape of a line.

    Args:
      line: One line without its newline.

    Returns:
      Its shape; None unless it is one JSON object whose values are strings and numbers.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict) or not line.startswith(b"{"):
        return None
    slots: list[Slot] = []
    position = value_end = num_quotes = 0
    tail_start = 1
    while member := _MEMBER.match(line, tail_start):
        is_string = member.group(2) is not None
        start, end = member.span(2 if is_string else 3)
        key_start = member.start(1) - 1
        slots.append(
            Slot(
                key=member.group(1).decode(),
                is_string=is_string,
                lead=line[value_end:start],
                key_quote=key_start - value_end,
                num_quotes_before=num_quotes + bool(slots and slots[-1].is_string),
            )
        )
        num_quotes = slots[-1].num_quotes_before + (3 if is_string else 2)
        value_end, tail_start = end, member.end()
        position = member.end()
        if member.group(4) == b"}":
            break
    keys = [slot.key for slot in slots]
    # The parser's word on what the line holds: a key that comes twice, or a value that the pattern
    # does not know, is no shape.
    if keys != list(record) or line[position:].strip():
        return None
    return Shape(tuple(slots), line[value_end:], num_quotes + slots[-1].is_string)


def locate_lines(data: bytes, with_marks: bool = True) -> Lines:
    """Locates the lines of a block.

    Args:
      data: The block; only the last line may lack its newline.
      with_marks: Whether lines are to be matched with a shape, which takes more than their ends.
    """
    buffer = np.frombuffer(data, np.uint8)
    places = _find_marks(buffer, with_marks)
    marks = buffer[places]
    escapes = places[marks == _BACKSLASH] + 1
    is_quote = marks == _QUOTE
    is_quote[1:] &= (marks[:-1] != _BACKSLASH) | (np.diff(places) > 1)
    ends = places[marks == _NEWLINE]
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    return Lines(
        starts=np.concatenate([[0], ends + 1])[: len(ends)],
        ends=ends,
        quotes=places[is_quote],
        escapes=escapes[escapes < len(data)],
        controls=places[(marks < _FIRST_PRINTABLE) & (marks != _NEWLINE)],
    )


def _find_marks(buffer: np.ndarray, with_strings: bool) -> np.ndarray:
    """Returns where control characters, quotes and backslashes stand, `[num_marks]` int64."""
    found = [np.zeros(0, np.int64)]
    # Pieces that stay in the processor's cache.
    for start in range(0, len(buffer), _PIECE_BYTES):
        piece = buffer[start : start + _PIECE_BYTES]
        is_mark = piece < _FIRST_PRINTABLE
        if with_strings:
            is_mark |= piece == _QUOTE
            is_mark |= piece == _BACKSLASH
        found.append(np.flatnonzero(is_mark) + start)
    return np.concatenate(found)


def match_lines(data: bytes, lines: Lines, shape: Shape, max_line_bytes: int) -> ShapedLines:
    """Finds the lines of a block that have a shape, and reads their values.

    Args:
      data: The block.
      lines: Its lines.
      shape: The shape.
      max_line_bytes: The length beyond which a line is left out.
    """
    buffer = np.frombuffer(data, np.uint8)
    fits = lines.ends - lines.starts <= max_line_bytes
    doubtful = np.concatenate([lines.controls, _doubtful_escapes(buffer, lines.escapes)])
    fits[np.searchsorted(lines.ends, doubtful)] = False
    fits[_find_invalid_utf8(data, lines)] = False
    quotes = lines.quotes
    quotes_before = np.searchsorted(quotes, np.append(lines.starts, len(data)))
    fits &= np.diff(quotes_before) == shape.num_quotes
    line_numbers = np.flatnonzero(fits)
    first_quotes = quotes_before[line_numbers]
    starts, ends = lines.starts[line_numbers], lines.ends[line_numbers]

    lead_starts = [
        quotes[first_quotes + slot.num_quotes_before] - slot.key_quote for slot in shape.slots
    ]
    value_ends = [*lead_starts[1:], ends - len(shape.tail)]
    matches = (lead_starts[0] == starts) & _stands_at(buffer, value_ends[-1], shape.tail)
    strings, numbers = {}, {}
    for slot, lead_start, value_end in zip(shape.slots, lead_starts, value_ends, strict=True):
        value_start = lead_start + len(slot.lead)
        matches &= _stands_at(buffer, lead_start, slot.lead)
        if slot.is_string:
            # The quotes around the value; those of its key are 0 and 1.
            around = first_quotes + slot.num_quotes_before
            matches &= (quotes[around + 2] == value_start - 1) & (quotes[around + 3] == value_end)
            strings[slot.key] = Spans(value_start, value_end)
        else:
            numbers[slot.key] = decimals.read_decimals(buffer, value_start, value_end)
            matches &= numbers[slot.key].is_read
    return ShapedLines(
        lines=line_numbers[matches],
        strings={key: spans.take(matches) for key, spans in strings.items()},
        numbers={key: values.take(matches) for key, values in numbers.items()},
    )


def _find_invalid_utf8(data: bytes, lines: Lines) -> list[int]:
    """Returns the numbers of the lines that are not well-formed UTF-8."""
    invalid = []
    runs = [(0, len(lines.starts))]
    while runs:
        first, end = runs.pop()
        if first == end or _is_utf8(data, lines.starts[first], lines.ends[end - 1]):
            continue
        if end - first == 1:
            invalid.append(first)
            continue
        middle = (first + end) // 2
        runs += [(first, middle), (middle, end)]
    return invalid


def _is_utf8(data: bytes, start: int, end: int) -> bool:
    """Returns whether `data[start:end]` is well-formed UTF-8."""
    offsets = pa.py_buffer(np.array([start, end], np.int64))
    text = pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _doubtful_escapes(buffer: np.ndarray, escapes: np.ndarray) -> np.ndarray:
    """Returns where an escape is wrong, or takes more than a look at its own bytes to judge.

    Args:
      buffer: `[num_bytes]` uint8.
      escapes: The places after a backslash, ascending.
    """
    escaped = buffer[escapes]
    unicode = escapes[escaped == _UNICODE_ESCAPE]
    places = np.minimum(unicode[:, None] + np.arange(1, 5), len(buffer) - 1)
    digits = _HEX_DIGITS[buffer[places]]
    codes = digits @ (16 ** np.arange(3, -1, -1))
    is_high, is_low = (codes & _SURROGATE_MASK == first for first in _SURROGATES)
    is_pair = is_high[:-1] & is_low[1:] & (np.diff(unicode) == len(b"\\u0000"))
    is_alone = is_high | is_low
    is_alone[:-1] &= ~is_pair
    is_alone[1:] &= ~is_pair
    wrong = (digits < 0).any(axis=1) | is_alone
    known = _SIMPLE_ESCAPES[escaped] | (escaped == _UNICODE_ESCAPE)
    return np.concatenate([escapes[~known], unicode[wrong]])


def _stands_at(buffer: np.ndarray, places: np.ndarray, text: bytes) -> np.ndarray:
    """Returns whether a text without NUL stands at each place, `[len(places)]` bool."""
    num_windows = len(buffer) - len(text) + 1
    if num_windows < 1:
        return np.zeros(len(places), bool)
    windows: np.ndarray = np.ndarray(num_windows, f"S{len(text)}", buffer, strides=(1,))
    inside = np.clip(places, 0, num_windows - 1)
    return (windows[inside] == text) & (inside == places)
