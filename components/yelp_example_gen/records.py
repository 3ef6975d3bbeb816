"""One JSON object of Yelp's files as a row of its table."""

from collections.abc import Callable
from typing import Any

from components.yelp_example_gen import fields, tables
from models import features

Record = dict[str, Any]
Row = tuple[Any, ...]

# Fields without which a line is no row, by table.
REQUIRED_FIELDS = {
    tables.INTERACTIONS: ("review_id", "user_id", "business_id", "stars", "date"),
    tables.USERS: ("user_id",),
    tables.BUSINESSES: ("business_id",),
}

# Why most lines are rejected of data whose ratings are of another scale.
BEYOND_THE_SCALE = f"stars: not in [{features.MIN_STARS:g}, {features.MAX_STARS:g}]"

_PRICE_RANGE = "RestaurantsPriceRange2"
_MAX_INT64 = 2**63 - 1
_MIN_VOTES = -1000  # the real data has reviews with -1 votes


class RecordError(ValueError):
    """Reports why an object is no row; the message is the reason as it is counted."""


def review_row(record: Record, ignored: list[str]) -> Row:
    """Makes a row of the interactions.

    Args:
      record: A parsed line.
      ignored: Gets the field of each optional value that could not be used.

    Returns:
      Values in the order of the table's schema.

    Raises:
      RecordError: If a required field is missing or unusable.
    """
    return (
        _require_id(record, features.REVIEW_ID),
        _require_id(record, features.USER_ID),
        _require_id(record, features.BUSINESS_ID),
        _require_stars(record),
        _require_timestamp(record),
        *(_count(record, key, ignored, _MIN_VOTES) for key in features.INTERACTION_VOTES),
    )


def review_text(record: Record, ignored: list[str]) -> str | None:
    """Returns what a review says; None if it says nothing. Arguments as `review_row`."""
    return _convert(record, tables.TEXT, str, ignored)


def user_row(record: Record, ignored: list[str]) -> Row:
    """Makes a row of the users; arguments and errors as `review_row`."""
    elite_years = _convert(record, "elite", fields.parse_elite_years, ignored)
    friends = _convert(record, "friends", fields.split_names, ignored)
    return (
        _require_id(record, features.USER_ID),
        _convert(record, "yelping_since", _timestamp_in_range, ignored),
        None if elite_years is None else len(elite_years),
        elite_years,
        None if friends is None else len(friends),
        friends,
        *(_count(record, key, ignored) for key in features.USER_COUNTS),
    )


def business_row(record: Record, ignored: list[str]) -> Row:
    """Makes a row of the businesses; arguments and errors as `review_row`."""
    attributes, price_range = _attributes(record, ignored)
    opening_minutes, closing_minutes = _hours(record, ignored)
    return (
        _require_id(record, features.BUSINESS_ID),
        _text(record, "name", ignored),
        _text(record, "city", ignored),
        _text(record, "state", ignored),
        _text(record, "postal_code", ignored),
        _degrees(record, "latitude", 90.0, ignored),
        _degrees(record, "longitude", 180.0, ignored),
        _count(record, "is_open", ignored, 0, 1),
        price_range,
        list(dict.fromkeys(_convert(record, "categories", fields.split_names, ignored) or ()))
        or None,
        attributes,
        opening_minutes,
        closing_minutes,
    )


ROW_MAKERS: dict[str, Callable[[Record, list[str]], Row]] = {
    tables.INTERACTIONS: review_row,
    tables.USERS: user_row,
    tables.BUSINESSES: business_row,
}


def _require(record: Record, key: str) -> Any:
    """Returns the value of a required field."""
    value = record.get(key)
    if value is None:
        raise RecordError(f"{key}: {'null' if key in record else 'missing'}")
    return value


def _require_id(record: Record, key: str) -> str:
    """Returns a required id."""
    value = _require(record, key)
    if not isinstance(value, str):
        raise RecordError(f"{key}: not a string")
    if not value.strip():
        raise RecordError(f"{key}: empty")
    if "\0" in value:
        raise RecordError(f"{key}: holds NUL")
    if "\n" in value or "\r" in value:  # Exports list ids in files of lines.
        raise RecordError(f"{key}: holds a line break")
    return value


def _require_stars(record: Record) -> float:
    """Returns the rating."""
    value = _require(record, "stars")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError("stars: not a number")
    if not features.MIN_STARS <= value <= features.MAX_STARS:
        raise RecordError(BEYOND_THE_SCALE)
    return float(value)


def _require_timestamp(record: Record) -> int:
    """Returns the time of a review in Unix seconds."""
    value = _require(record, "date")
    if not isinstance(value, str):
        raise RecordError("date: not a string")
    try:
        timestamp_seconds = fields.parse_timestamp(value)
    except ValueError as error:
        raise RecordError("date: not YYYY-MM-DD HH:MM:SS") from error
    if not fields.MIN_TIMESTAMP_SECONDS <= timestamp_seconds <= fields.MAX_TIMESTAMP_SECONDS:
        raise RecordError("date: not between 1970 and 2100")
    return timestamp_seconds


def _timestamp_in_range(text: str) -> int:
    """Reads a date of the schemas' domain.

    Raises:
      ValueError: If it is none.
    """
    timestamp_seconds = fields.parse_timestamp(text)
    if not fields.MIN_TIMESTAMP_SECONDS <= timestamp_seconds <= fields.MAX_TIMESTAMP_SECONDS:
        raise ValueError(f"Expected a date between 1970 and 2100; got {text!r}.")
    return timestamp_seconds


def _convert(
    record: Record,
    key: str,
    parse: Callable[[str], Any],
    ignored: list[str],
) -> Any:
    """Parses an optional string; None where it is absent or unusable."""
    value = record.get(key)
    try:
        if isinstance(value, str):
            return parse(value)
    except ValueError:
        pass
    if value is not None:
        ignored.append(key)
    return None


def _text(record: Record, key: str, ignored: list[str]) -> str | None:
    """Returns an optional text; an empty one says nothing and counts as absent."""
    return _convert(record, key, str.strip, ignored) or None


def _count(
    record: Record,
    key: str,
    ignored: list[str],
    minimum: int = 0,
    maximum: int = _MAX_INT64,
) -> int | None:
    """Returns an optional whole number within its domain."""
    value = record.get(key)
    if type(value) is int and minimum <= value <= maximum:
        return value
    if isinstance(value, float) and value.is_integer() and minimum <= value <= maximum:
        return int(value)
    if value is not None:
        ignored.append(key)
    return None


def _degrees(record: Record, key: str, limit: float, ignored: list[str]) -> float | None:
    """Returns an optional coordinate in degrees."""
    value = record.get(key)
    if value is None:
        return None
    if type(value) in {int, float} and abs(value) <= limit:  # NaN is not
        return float(value)
    ignored.append(key)
    return None


def _attributes(record: Record, ignored: list[str]) -> tuple[list[str] | None, int | None]:
    """Returns the attribute tokens and the price range, each None where there is none."""
    value = record.get("attributes")
    if value is None:
        return None, None
    if not isinstance(value, dict):
        ignored.append("attributes")
        return None, None
    tokens, unusable = fields.all_attribute_tokens(value)
    ignored += [f"attributes.{key}" for key in unusable]
    price_range = None
    if _PRICE_RANGE in value and _PRICE_RANGE not in unusable:
        price_range = _price_range(
            fields.attribute_tokens(_PRICE_RANGE, value[_PRICE_RANGE]), ignored
        )
    return tokens or None, price_range


def _price_range(tokens: tuple[str, ...], ignored: list[str]) -> int | None:
    """Returns the price range of 1 to 4 that the attribute's tokens tell; None without tokens."""
    if not tokens:
        return None
    level = tokens[0].partition("=")[2]
    if len(tokens) == 1 and level in {"1", "2", "3", "4"}:
        return int(level)
    ignored.append(f"attributes.{_PRICE_RANGE}")
    return None


def _hours(record: Record, ignored: list[str]) -> tuple[list[int] | None, list[int] | None]:
    """Returns opening and closing minutes of the week, or None where there are none."""
    value = record.get("hours")
    if value is None:
        return None, None
    if not isinstance(value, dict):
        ignored.append("hours")
        return None, None
    opening, closing, num_unreadable = fields.parse_hours(value)
    ignored += ["hours"] * num_unreadable
    if max(closing) < 0:
        return None, None
    return opening, closing
