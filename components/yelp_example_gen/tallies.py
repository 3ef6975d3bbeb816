"""Counts that are gathered all over the pipeline and merged into one."""

import collections
import dataclasses
import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.yelp_example_gen import input_files, parsing, splits, tables
from models import features

Key = tuple[str, ...]

# What the tally counts. Keys go on with the file, then with the reason or the field.
LINES, BLANK, KEPT, REJECTED, IGNORED = "lines", "blank", "kept", "rejected", "ignored"
# Keys go on with the table, the given split and the file.
FOUND = "found"
# Keys go on with the table, then with the split or the kind of drop.
ROWS, DROPPED = "rows", "dropped"


@dataclasses.dataclass(frozen=True)
class Tally:
    """Holds counts that can be merged in any order.

    Attributes:
      counts: Numbers by what they count, from the general to the particular, such as
        ("rejected", file, reason).
      days: Number of interactions by day since 1970-01-01, before duplicates are dropped.
      spans: First and last timestamp in Unix seconds, by split.
      examples: (byte_offset, reason, line) of the first rejected line, by file.
    """

    counts: dict[Key, int] = dataclasses.field(default_factory=dict)
    days: dict[int, int] = dataclasses.field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    examples: dict[str, tuple[int, str, str]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Writes the tally as JSON that `from_json` reads."""
        return json.dumps({
            field.name: list(getattr(self, field.name).items())
            for field in dataclasses.fields(self)
        })

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """Reads what `to_json` wrote."""
        values = json.loads(text)
        return cls(
            counts={tuple(key): count for key, count in values["counts"]},
            days=dict(values["days"]),
            spans={split: tuple(span) for split, span in values["spans"]},
            examples={file: tuple(example) for file, example in values["examples"]},
        )


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """Adds counts, widens spans and keeps the first example of each file."""
    counts: collections.Counter[Key] = collections.Counter()
    days: collections.Counter[int] = collections.Counter()
    spans: dict[str, tuple[int, int]] = {}
    examples: dict[str, tuple[int, str, str]] = {}
    for tally in tallies:
        counts.update(tally.counts)
        days.update(tally.days)
        for split, (first, last) in tally.spans.items():
            known_first, known_last = spans.get(split, (first, last))
            spans[split] = (min(first, known_first), max(last, known_last))
        for file, example in tally.examples.items():
            examples[file] = min(example, examples.get(file, example))
    return Tally(dict(counts), dict(days), spans, examples)


def tally_block(parsed: parsing.ParsedBlock, file: input_files.InputFile) -> Tally:
    """Counts what became of the lines of a block."""
    counts: dict[Key, int] = {
        (FOUND, file.table, file.split, file.name): parsed.num_lines,
        (LINES, file.name): parsed.num_lines,
        (BLANK, file.name): parsed.num_blank,
        (KEPT, file.name): parsed.rows.num_rows,
    }
    for reject in parsed.rejects:
        key = (REJECTED, file.name, reject.reason)
        counts[key] = counts.get(key, 0) + 1
    for field, count in parsed.ignored_fields.items():
        counts[IGNORED, file.name, field] = count
    days: dict[int, int] = {}
    if file.table == tables.INTERACTIONS:
        seconds = parsed.rows[features.TIMESTAMP_SECONDS].to_numpy()
        numbers = seconds // splits.DAY_SECONDS
        first = numbers.min(initial=0)
        sizes = np.bincount(numbers - first)
        found = np.flatnonzero(sizes)
        days = dict(zip((found + first).tolist(), sizes[found].tolist(), strict=True))
    examples = {}
    if parsed.rejects:
        examples[file.name] = dataclasses.astuple(parsed.rejects[0])
    return Tally(counts=counts, days=days, examples=examples)


def tally_bucket(table: str, rows_by_split: dict[str, pa.Table], drops: dict[str, int]) -> Tally:
    """Counts the rows of a bucket that are written, by split, and those that are not."""
    counts: dict[Key, int] = {(DROPPED, table, kind): n for kind, n in drops.items()}
    spans = {}
    for split, rows in rows_by_split.items():
        counts[ROWS, table, split] = rows.num_rows
        if table == tables.INTERACTIONS:
            span = pc.min_max(rows[features.TIMESTAMP_SECONDS]).as_py()
            spans[split] = (span["min"], span["max"])
    return Tally(counts=counts, spans=spans)
