"""The summary of an ingestion, and what it must not say."""

from collections.abc import Iterable, Sequence
from typing import Any

from components.yelp_example_gen import (
    deduplication,
    input_files,
    records,
    splits,
    tables,
    tallies,
)
from models import errors, features
from models.options import SplitOptions

_NUM_SHOWN_REASONS = 3
_MAX_SHOWN_CHARS = 160


def summarize(
    tally: tallies.Tally, files: Sequence[input_files.Input], split_config: SplitOptions
) -> dict[str, Any]:
    """Lays out a tally by table, file and split.

    Args:
      tally: All counts of the run.
      files: The inputs.
      split_config: How the interactions were split.

    Returns:
      What `summary.json` holds: plain dicts, strings and numbers.
    """
    cutoffs = None
    if split_config.method == splits.TEMPORAL:
        cutoffs = splits.temporal_cutoffs(tally.days, split_config)
    names = [(file.table, file.name) for file in files if isinstance(file, input_files.InputFile)]
    # Those in a compressed tar are known since they were read.
    names += [(key[1], key[3]) for key in sorted(tally.counts) if key[0] == tallies.FOUND]
    by_file: dict[str, dict[str, Any]] = {table: {} for table in tables.SCHEMAS}
    for table, name in names:
        by_file[table][name] = _file_counts(tally, name)
    num_rows = {
        table: sum(_select(tally, tallies.ROWS, table).values()) for table in tables.SCHEMAS
    }
    split_rows = _select(tally, tallies.ROWS, tables.INTERACTIONS)
    dropped = {table: _select(tally, tallies.DROPPED, table) for table in tables.SCHEMAS}
    return {
        "inputs": [file.name for file in files],
        "num_interactions": num_rows[tables.INTERACTIONS],
        "num_users": num_rows[tables.USERS],
        "num_businesses": num_rows[tables.BUSINESSES],
        "unknown_users": dropped[tables.USERS].get(deduplication.UNKNOWN_IDS, 0),
        "unknown_businesses": dropped[tables.BUSINESSES].get(deduplication.UNKNOWN_IDS, 0),
        "duplicates": {
            deduplication.REPEATED_REVIEW_IDS: dropped[tables.INTERACTIONS].get(
                deduplication.REPEATED_REVIEW_IDS, 0
            ),
            deduplication.SUPERSEDED_REVIEWS: dropped[tables.INTERACTIONS].get(
                deduplication.SUPERSEDED_REVIEWS, 0
            ),
            "repeated_user_ids": dropped[tables.USERS].get(deduplication.REPEATED_IDS, 0),
            "repeated_business_ids": dropped[tables.BUSINESSES].get(deduplication.REPEATED_IDS, 0),
        },
        "split": {
            "method": split_config.method,
            "eval": split_config.eval,
            "test": split_config.test,
            "seed": split_config.seed,
            "cutoffs": cutoffs and cutoffs.to_dict(),
            "num_interactions": {
                split: split_rows.get(split, 0) for split in features.INTERACTION_SPLITS
            },
            "timestamps": {
                split: _describe_span(*tally.spans[split])
                for split in features.INTERACTION_SPLITS
                if split in tally.spans
            },
        },
        "tables": {
            table: {**_add_counts(by_name.values()), "files": by_name}
            for table, by_name in by_file.items()
        },
    }


def check_summary(
    summary: dict[str, Any], tally: tallies.Tally, max_reject_fraction: float
) -> None:
    """Refuses a run whose outputs would not do.

    Args:
      summary: What `summarize` returned.
      tally: The counts behind it, for an example of a rejected line.
      max_reject_fraction: The largest fraction of a table's lines that may be rejected.

    Raises:
      InputError: If a file holds no usable row, a compressed tar no reviews, more of a table was
        rejected, or a split is empty.
    """
    if not summary["tables"][tables.INTERACTIONS]["files"]:
        raise errors.InputError(
            "Expected yelp_academic_dataset_review.json[.gz], or those of each split where "
            f"split.method is given, in {', '.join(summary['inputs'])}; there are no such files "
            "in it. Pass the tar as Yelp ships it."
        )
    for table in summary["tables"].values():
        for name, counts in table["files"].items():
            _check_file(name, counts, tally)
    for table, counts in summary["tables"].items():
        _check_rejects(table, counts, tally, max_reject_fraction)
    _check_splits(summary["split"], summary["duplicates"])


def _check_file(name: str, counts: dict[str, Any], tally: tallies.Tally) -> None:
    """Refuses a file without rows."""
    if counts["kept"]:
        return
    expected = f"Expected JSON lines in {name}"
    remedy = "Replace the file by the one from Yelp's archive"
    if not counts["lines_read"]:
        raise errors.InputError(f"{expected}; the file is empty. {remedy}.")
    if not counts["rejected"]:
        raise errors.InputError(f"{expected}; it holds blank lines only. {remedy}.")
    raise errors.InputError(
        f"{expected}; there is no usable row in its {counts['lines_read']:,} lines "
        f"({_describe_reasons(counts)}). {_describe_example([name], tally)} {remedy}."
    )


def _check_rejects(
    table: str, counts: dict[str, Any], tally: tallies.Tally, max_reject_fraction: float
) -> None:
    """Refuses a table of which too much was rejected."""
    num_rejects = sum(counts["rejected"].values())
    num_lines = counts["lines_read"] - counts["blank"]
    if num_rejects <= max_reject_fraction * num_lines:
        return
    remedy = "Mend the file, or raise max_reject_fraction"
    if max(counts["rejected"], key=counts["rejected"].get) == records.BEYOND_THE_SCALE:
        remedy = f"Map the ratings to stars from {features.MIN_STARS:g} to {features.MAX_STARS:g}"
    raise errors.InputError(
        f"Expected at most {max_reject_fraction:.2%} of the lines of {table} to be unusable; "
        f"{num_rejects:,} of {num_lines:,} are ({_describe_reasons(counts)}). "
        f"{_describe_example(counts['files'], tally)} {remedy}."
    )


def _check_splits(split: dict[str, Any], duplicates: dict[str, int]) -> None:
    """Refuses empty splits."""
    sizes = split["num_interactions"]
    empty = [name for name, size in sizes.items() if not size]
    if not empty:
        return
    method = split["method"]
    found = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    if split["cutoffs"]:
        found += (
            f"; eval from {split['cutoffs']['eval_from_date']}, "
            f"test from {split['cutoffs']['test_from_date']}"
        )
    num_dropped = (
        duplicates[deduplication.REPEATED_REVIEW_IDS] + duplicates[deduplication.SUPERSEDED_REVIEWS]
    )
    if num_dropped:
        found += f"; {num_dropped:,} repeats dropped"
    remedy = {
        splits.TEMPORAL: "The reviews need dates on at least three days: set split.method to "
        "random, or add data.",
        splits.RANDOM: "Raise split.eval and split.test, or add data.",
        splits.LEAVE_LAST: "Only users with at least three reviews have any in eval and test: set "
        "split.method to random, or add data.",
        splits.GIVEN: "Add reviews to the file of that split, or set split.method to random.",
    }[method]
    raise errors.InputError(
        f"Expected interactions in every split; split.method {method} left "
        f"{' and '.join(empty)} empty ({found}). {remedy}"
    )


def _file_counts(tally: tallies.Tally, name: str) -> dict[str, Any]:
    """Lays out the counts of one file."""
    return {
        "lines_read": tally.counts.get((tallies.LINES, name), 0),
        "blank": tally.counts.get((tallies.BLANK, name), 0),
        "kept": tally.counts.get((tallies.KEPT, name), 0),
        "rejected": _select(tally, tallies.REJECTED, name),
        "ignored_fields": _select(tally, tallies.IGNORED, name),
    }


def _add_counts(files: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Adds the counts of several files."""
    total: dict[str, Any] = {
        "lines_read": 0,
        "blank": 0,
        "kept": 0,
        "rejected": {},
        "ignored_fields": {},
    }
    for counts in files:
        for key, value in counts.items():
            if isinstance(value, int):
                total[key] += value
            else:
                for name, count in value.items():
                    total[key][name] = total[key].get(name, 0) + count
    return total


def _select(tally: tallies.Tally, *prefix: str) -> dict[str, int]:
    """Returns the counts below a prefix, by the last part of their keys, in its order."""
    return {key[-1]: tally.counts[key] for key in sorted(tally.counts) if key[:-1] == prefix}


def _describe_span(first_seconds: int, last_seconds: int) -> dict[str, Any]:
    """Lays out the first and the last time of a split."""
    return {
        "min_seconds": first_seconds,
        "max_seconds": last_seconds,
        "min_date": splits.format_date(first_seconds),
        "max_date": splits.format_date(last_seconds),
    }


def _describe_reasons(counts: dict[str, Any]) -> str:
    """Names the most frequent reasons."""
    by_count = sorted(counts["rejected"].items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{reason} {n:,}" for reason, n in by_count[:_NUM_SHOWN_REASONS])
    num_others = len(by_count) - _NUM_SHOWN_REASONS
    return shown + (f", {num_others} more reasons" if num_others > 0 else "")


def _describe_example(names: Iterable[str], tally: tallies.Tally) -> str:
    """Quotes the first rejected line."""
    name = next(name for name in names if name in tally.examples)
    byte_offset, reason, line = tally.examples[name]
    shown = line if len(line) <= _MAX_SHOWN_CHARS else line[:_MAX_SHOWN_CHARS] + "…"
    return f"For example, at byte {byte_offset} of {name} ({reason}): {shown!r}."
