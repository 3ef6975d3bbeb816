"""Rows of a table from lines of one shape, made a column at a time.

The rows are those that `records` makes of the same lines. A value that needs a closer look, such as
a date that is none, leaves its line to `records`, which also knows the reason.
"""

from collections.abc import Callable

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from components.yelp_example_gen import fields, line_shapes, tables
from models import features

_FRIENDS_SEPARATOR = ", "
_MONTH_DAYS = np.array([31, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])  # from month 0 on
_INTS, _STRINGS = pa.list_(pa.int64()), pa.list_(pa.string())
_ZERO, _SPACE, _DELETE, _BACKSLASH = b"0"[0], 0x20, 0x7F, b"\\"[0]
_DATE_TEMPLATE = np.frombuffer(b"0000-00-00 00:00:00", np.uint8)[:, None]
_DATE_DIGITS = _DATE_TEMPLATE == _ZERO


def make_rows(
    table: str, data: bytes, shaped: line_shapes.ShapedLines, with_text: bool = False
) -> tuple[pa.Table, np.ndarray] | None:
    """Makes the rows of lines whose values are all plain.

    Args:
      table: `interactions` or `users`.
      data: The block that the lines are part of.
      shaped: The lines.
      with_text: Whether interactions carry their text.

    Returns:
      The rows, and the numbers of the lines that they come from, `[num_rows]` int64 ascending;
      None if the lines lack a field of the table or have it in another type.
    """
    reader = _Reader(data, shaped)
    schema = tables.staged_schema(table, with_text)
    try:
        columns = _COLUMN_MAKERS[table](reader)
        if tables.TEXT in schema.names:
            columns.append(reader.optional(tables.TEXT, reader.texts, pa.string()))
    except KeyError:
        return None
    rows = pa.table(columns, schema=schema)
    if not reader.is_plain.all():
        rows = rows.filter(pa.array(reader.is_plain))
    return rows, shaped.lines[reader.is_plain]


class _Reader:
    """Reads columns, and keeps in mind which lines are plain."""

    def __init__(self, data: bytes, shaped: line_shapes.ShapedLines):
        self._data = data
        self._buffer = np.frombuffer(data, np.uint8)
        self._shaped = shaped
        self.is_plain = np.ones(len(shaped.lines), bool)

    def ids(self, key: str) -> pa.Array:
        """Reads ids; one that begins with an ASCII letter, digit or sign is not blank."""
        spans = self._shaped.strings[key]
        first = self._buffer[spans.starts]
        self.is_plain &= (spans.starts < spans.ends) & (first > _SPACE) & (first < _DELETE)
        return self._texts(key)

    def stars(self, key: str) -> pa.Array:
        """Reads ratings in stars."""
        stars = self._shaped.numbers[key].floats()
        self.is_plain &= (stars >= features.MIN_STARS) & (stars <= features.MAX_STARS)
        return pa.array(stars.astype(np.float32))

    def counts(self, key: str) -> pa.Array:
        """Reads whole numbers."""
        numbers = self._shaped.numbers[key]
        self.is_plain &= numbers.is_integer
        return pa.array(numbers.digits)

    def optional(self, key: str, read: Callable[[str], pa.Array], kind: pa.DataType) -> pa.Array:
        """Reads a key in a given way; nulls where the lines lack it."""
        return pa.nulls(len(self.is_plain), kind) if self._lacks(key) else read(key)

    def timestamps(self, key: str) -> pa.Array:
        """Reads dates that are spelt `YYYY-MM-DD HH:MM:SS` as Unix times in seconds."""
        spans = self._shaped.strings[key]
        num_chars = len(_DATE_TEMPLATE)
        self.is_plain &= spans.ends - spans.starts == num_chars
        windows: np.ndarray = np.ndarray(
            max(len(self._buffer) - num_chars + 1, 0), f"V{num_chars}", self._buffer, strides=(1,)
        )
        if not len(windows):
            return pa.array(np.zeros(len(self.is_plain), np.int64))
        texts = windows[np.minimum(spans.starts, len(windows) - 1)]
        # [num_chars, num_rows]: a row of digits takes one instruction for many lines.
        chars = np.ascontiguousarray(texts.view(np.uint8).reshape(-1, num_chars).T)
        digits = chars - _ZERO  # uint8: what is below "0" wraps around to large values
        self.is_plain &= np.where(_DATE_DIGITS, digits < 10, chars == _DATE_TEMPLATE).all(axis=0)
        century, years, month, day, hour, minute, second = (
            digits[place].astype(np.int64) * 10 + digits[place + 1]
            for place in (0, 2, 5, 8, 11, 14, 17)
        )
        year = century * 100 + years
        is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        month_days = _MONTH_DAYS[np.clip(month, 0, 12)] - ((month == 2) & ~is_leap)
        self.is_plain &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= month_days)
        self.is_plain &= (hour < 24) & (minute < 60) & (second < 60)
        days = _days_since_epoch(year, month, day)
        seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
        self.is_plain &= seconds >= fields.MIN_TIMESTAMP_SECONDS
        self.is_plain &= seconds <= fields.MAX_TIMESTAMP_SECONDS
        return pa.array(seconds)

    def elite_years(self, key: str) -> pa.ListArray:
        """Reads lists of years, of which few are distinct."""
        encoded = self._texts(key).dictionary_encode()
        years = [_elite_years_or_none(text) for text in encoded.dictionary.to_pylist()]
        values = pa.array(years, _INTS).take(encoded.indices)
        self.is_plain &= values.is_valid().to_numpy(zero_copy_only=False)
        return values

    def friends(self, key: str) -> pa.ListArray:
        """Reads lists of ids."""
        texts = self._texts(key)
        has_none = pc.is_in(texts, pa.array(fields.EMPTY_LISTS))
        lists = pc.split_pattern(
            pc.if_else(has_none, pa.scalar(None, pa.string()), texts), _FRIENDS_SEPARATOR
        )
        ids = lists.values
        buffer, offsets = _string_buffers(ids)
        # An id without white space at its ends is what is left when that is stripped.
        first = buffer[np.minimum(offsets[:-1], len(buffer) - 1)]
        last = buffer[offsets[1:] - 1]
        is_bare = (first > _SPACE) & (first < _DELETE) & (last > _SPACE) & (last < _DELETE)
        is_bare &= np.diff(offsets) > 0
        if not is_bare.all():
            self.is_plain[pc.list_parent_indices(lists).to_numpy()[~is_bare]] = False
        return pa.ListArray.from_arrays(lists.offsets, ids)

    def texts(self, key: str) -> pa.Array:
        """Reads strings, whatever their escapes."""
        spans = self._shaped.strings[key]
        # The quotes around a value stand right beside it.
        bounds = zip((spans.starts - 1).tolist(), (spans.ends + 1).tolist(), strict=True)
        strings = b",".join([self._data[start:end] for start, end in bounds])
        return pa.array(orjson.loads(b"[" + strings + b"]"), pa.string())

    def _lacks(self, key: str) -> bool:
        return key not in self._shaped.strings and key not in self._shaped.numbers

    def _texts(self, key: str) -> pa.Array:
        """Copies the strings of a key; those with escapes are not plain."""
        spans = self._shaped.strings[key]
        num_rows = len(self.is_plain)
        # An array of the strings and, between them, what lies between them in the block.
        offsets = np.stack([spans.starts, spans.ends], axis=1).astype(np.int32).ravel()
        every = pa.Array.from_buffers(
            pa.string(),
            max(2 * num_rows - 1, 0),
            [None, pa.py_buffer(offsets), pa.py_buffer(self._data)],
        )
        texts = every.take(pa.array(np.arange(0, 2 * num_rows, 2)))
        buffer, text_offsets = _string_buffers(texts)
        escapes = np.flatnonzero(buffer[: text_offsets[-1]] == _BACKSLASH)
        self.is_plain[np.searchsorted(text_offsets, escapes, side="right") - 1] = False
        return texts


def _interaction_columns(reader: _Reader) -> list[pa.Array]:
    return [
        reader.ids(features.REVIEW_ID),
        reader.ids(features.USER_ID),
        reader.ids(features.BUSINESS_ID),
        reader.stars("stars"),
        reader.timestamps("date"),
        *_optional_counts(reader, features.INTERACTION_VOTES),
    ]


def _user_columns(reader: _Reader) -> list[pa.Array]:
    elite_years = reader.optional("elite", reader.elite_years, _INTS)
    friends = reader.optional("friends", reader.friends, _STRINGS)
    return [
        reader.ids(features.USER_ID),
        reader.optional("yelping_since", reader.timestamps, pa.int64()),
        pc.list_value_length(elite_years).cast(pa.int64()),
        elite_years,
        pc.list_value_length(friends).cast(pa.int64()),
        friends,
        *_optional_counts(reader, features.USER_COUNTS),
    ]


def _optional_counts(reader: _Reader, keys: tuple[str, ...]) -> list[pa.Array]:
    return [reader.optional(key, reader.counts, pa.int64()) for key in keys]


_COLUMN_MAKERS: dict[str, Callable[[_Reader], list[pa.Array]]] = {
    tables.INTERACTIONS: _interaction_columns,
    tables.USERS: _user_columns,
}

# Of the businesses no two lines need have the same attributes.
TABLES = frozenset(_COLUMN_MAKERS)


def _string_buffers(strings: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bytes of strings, one at least, and the offsets of the strings in them."""
    _, offsets, data = strings.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(strings) + 1, strings.offset * 4)
    buffer = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return (buffer if len(buffer) else np.zeros(1, np.uint8)), bounds


def _elite_years_or_none(text: str) -> list[int] | None:
    """Reads elite years; None if the text is none."""
    try:
        return fields.parse_elite_years(text)
    except ValueError:
        return None


def _days_since_epoch(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Counts the days from 1970-01-01 to dates of the Gregorian calendar, all int64."""
    # Years that begin in March end with the leap day.
    years = np.where(month <= 2, year - 1, year)
    months = (month + 9) % 12
    leap_days = years // 4 - years // 100 + years // 400
    # 153 days are the five months from March on, and again those from August on.
    return years * 365 + leap_days + (153 * months + 2) // 5 + day - 719469
