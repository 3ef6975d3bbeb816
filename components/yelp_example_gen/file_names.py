"""What the name of a file says about its content."""

import re
from typing import NamedTuple

from components.yelp_example_gen import tables

_TABLES = {kind: table for table, kind in tables.FILE_KINDS.items()}
_KIND = rf"(?P<kind>{'|'.join(_TABLES)})"
_SPLIT = r"(?:\.(?P<split>train|eval|test))?"
_SUFFIX = r"\.json(?:\.gz)?"
_YELP_NAME = re.compile(
    rf"(?:yelp_(?:academic_dataset_)?)?{_KIND}{_SPLIT}(?:[-_.0-9]|part|shard|of)*{_SUFFIX}"
)
_ANY_NAME = re.compile(rf"(?:.*[^a-z])?{_KIND}(?:es|s)?{_SPLIT}(?:[^a-z].*)?{_SUFFIX}")


class Content(NamedTuple):
    """Tells what a file holds.

    Attributes:
      table: The table its lines are rows of.
      split: The split that the name gives its rows to, or "".
    """

    table: str
    split: str

    def is_wanted(self, given: bool) -> bool:
        """Tells whether the file is read, by whether the split method is `given`."""
        return self.table != tables.INTERACTIONS or bool(self.split) == given


def classify(name: str, *, chosen: bool = False) -> Content | None:
    """Tells from its name what a file holds, or None if no table.

    Args:
      name: The name without directories: Yelp's, or that of a shard such as
        `review-00001-of-00010.json`.
      chosen: Whether a user has picked this very file, so that any name which mentions the kind
        will do.
    """
    match = (_ANY_NAME if chosen else _YELP_NAME).fullmatch(name)
    if match is None or name.startswith("._"):  # what macOS leaves beside a file
        return None
    table, split = _TABLES[match["kind"]], match["split"] or ""
    return None if split and table != tables.INTERACTIONS else Content(table, split)


def sort_key(path: str) -> list[tuple[int, str]]:
    """Orders paths such that numbers in them count as numbers.

    Args:
      path: Any text.
    """
    parts = re.split(r"(\d+)", path)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]
