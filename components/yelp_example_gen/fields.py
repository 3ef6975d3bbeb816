"""Yelp's ways to write a value: dates, lists inside strings, Python literals, opening hours."""

import ast
import datetime
import functools
import itertools
import re
import warnings

from models import features

# Values: the schemas' domain of every timestamp.
MIN_TIMESTAMP_SECONDS = 0  # 1970-01-01
MAX_TIMESTAMP_SECONDS = 4102444800  # 2100-01-01

CLOSED_MINUTES = -1
# How Yelp writes a list without entries.
EMPTY_LISTS = ("", "None")
_DAY_MINUTES = 24 * 60
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
# As Yelp writes it, or as ISO 8601 has it, to the minute or finer.
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)
_HOURS = re.compile(r"(\d{1,2}):(\d{1,2})-(\d{1,2}):(\d{1,2})", re.ASCII)
_YEAR = re.compile(r"20\d\d", re.ASCII)
_MAX_LITERAL_CHARS = 4096
_MAX_CACHED_TOKENS = 1 << 16
_DAY_POSITIONS = {day: position for position, day in enumerate(features.DAYS)}


def parse_timestamp(text: str) -> int:
    """Reads `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD`, in UTC, or a time of ISO 8601.

    Returns:
      Unix time in seconds, without fractions.

    Raises:
      ValueError: If the text is no such date.
    """
    found = _DATE.fullmatch(text)
    if not found:
        raise ValueError(f"Expected YYYY-MM-DD or YYYY-MM-DD HH:MM:SS; got {text!r}.")
    day, time, zone = found.groups("")
    zone = "+00:00" if zone in ("", "Z") else zone
    since = datetime.datetime.fromisoformat(f"{day}T{time or '00:00'}{zone}") - _EPOCH
    return since.days * 86400 + since.seconds


def split_names(text: str) -> list[str]:
    """Splits `"a, b, c"`, in its order; `""` and `"None"` hold nothing."""
    if text in EMPTY_LISTS:
        return []
    return [stripped for name in text.split(", ") if (stripped := name.strip())]


def parse_elite_years(text: str) -> list[int]:
    """Reads the distinct years of `"2012,2013"`, ascending.

    Yelp writes 2020 as `20,20` in most of its releases.

    Raises:
      ValueError: If something in the list is no year.
    """
    years = set()
    parts = iter([] if text in EMPTY_LISTS else [part.strip() for part in text.split(",")])
    for part in parts:
        year = part + next(parts, "") if part == "20" else part
        if not _YEAR.fullmatch(year):
            raise ValueError(f"Expected years such as 2012,2013; got {text!r}.")
        years.add(int(year))
    return sorted(years)


def attribute_tokens(key: str, value: object) -> tuple[str, ...]:
    """Writes a business attribute as tokens `Key=value` and `Key.subkey=value`.

    Args:
      key: The attribute, such as `WiFi`.
      value: A Python literal inside a string, such as `"u'no'"` or `"{'garage': False}"`; a string
        that is no literal stands for itself, and a JSON value for its Python counterpart.

    Returns:
      One token, or one a subkey; none where the value is None or empty.

    Raises:
      ValueError: If the value is of another kind, such as a list.
    """
    return _known_tokens((key, value)) if isinstance(value, str) else _value_tokens(key, value)


def all_attribute_tokens(attributes: dict[str, object]) -> tuple[list[str], list[str]]:
    """Writes the attributes of a business as tokens; see `attribute_tokens`.

    Returns:
      The tokens, and the keys of the attributes that could not be used.
    """
    try:
        return [*itertools.chain.from_iterable(map(_known_tokens, attributes.items()))], []
    except (ValueError, TypeError):  # One is unusable, or too odd to be remembered.
        pass
    tokens: list[str] = []
    unusable = []
    for key, value in attributes.items():
        try:
            tokens += attribute_tokens(key, value)
        except ValueError:
            unusable.append(key)
    return tokens, unusable


def parse_day_hours(text: str) -> tuple[int, int]:
    """Reads a day's `"11:0-23:0"`.

    Returns:
      Opening and closing time in minutes after midnight. A place that closes at or before its
      opening closes on the next day, at more than 1440; so `0:0-0:0`, which Yelp writes for a
      place that never closes, becomes (0, 1440).

    Raises:
      ValueError: If the text does not hold two times of the day.
    """
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f"Expected hours such as 11:0-23:0; got {text!r}.")
    opening_hour, opening_minute, closing_hour, closing_minute = map(int, match.groups())
    opening = opening_hour * 60 + opening_minute
    closing = closing_hour * 60 + closing_minute
    if max(opening_minute, closing_minute) >= 60 or max(opening, closing) > _DAY_MINUTES:
        raise ValueError(f"Expected times between 0:0 and 24:0; got {text!r}.")
    return opening, closing if closing > opening else closing + _DAY_MINUTES


def parse_hours(hours: dict[str, object]) -> tuple[list[int], list[int], int]:
    """Reads a week's hours.

    Args:
      hours: The text of each day that has hours, by the day's English name.

    Returns:
      Opening and closing minutes of the seven days, Monday first, -1 on a day without hours; and
      the number of entries that could not be read.
    """
    opening = [CLOSED_MINUTES] * len(features.DAYS)
    closing = [CLOSED_MINUTES] * len(features.DAYS)
    num_unreadable = 0
    for day, text in hours.items():
        if text is None:
            continue
        try:
            position = _DAY_POSITIONS[day]
            opening[position], closing[position] = _parse_day_hours(str(text))
        except (KeyError, ValueError):
            num_unreadable += 1
    return opening, closing, num_unreadable


# A year of the whole data set has few distinct texts.
_parse_day_hours = functools.lru_cache(maxsize=4096)(parse_day_hours)


class _TokenCache(dict[tuple[str, object], tuple[str, ...]]):
    """Remembers the tokens of attributes whose values are strings, of which few are distinct."""

    def __missing__(self, attribute: tuple[str, object]) -> tuple[str, ...]:
        key, value = attribute
        if not isinstance(value, str):  # 1 and True would be one key, but write different tokens.
            return _value_tokens(key, value)
        tokens = _value_tokens(key, _read_literal(value))
        if len(self) < _MAX_CACHED_TOKENS:
            self[attribute] = tokens
        return tokens


_known_tokens = _TokenCache().__getitem__


def _read_literal(text: str) -> object:
    """Evaluates a Python literal; a text that is none, such as `free`, stands for itself."""
    if len(text) > _MAX_LITERAL_CHARS:
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _value_tokens(key: str, value: object) -> tuple[str, ...]:
    """Writes a value, or each value of a dict, as a token.

    Raises:
      ValueError: If a value has parts of its own.
    """
    pairs = {key: value}
    if isinstance(value, dict):
        pairs = {f"{key}.{subkey}": subvalue for subkey, subvalue in value.items()}
    for name, part in pairs.items():
        if part is not None and not isinstance(part, str | int | float):
            raise ValueError(f"Expected a string, number or bool for {name}; got {part!r}.")
    return tuple(f"{name}={part}" for name, part in pairs.items() if part not in {None, ""})
