"""Rows that come more than once, and ids that come without a row."""

import numpy as np
import polars as pl

from components.yelp_example_gen import hashing, splits
from models import features

REPEATED_REVIEW_IDS = "repeated_review_ids"
SUPERSEDED_REVIEWS = "superseded_reviews"
REPEATED_IDS = "repeated_ids"
UNKNOWN_IDS = "unknown_ids"


def deduplicate_interactions(
    frame: pl.DataFrame, keeps_visits: bool
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Keeps one interaction a review id, and the user's latest one a business.

    Of rows with the same review id in one given split the latest is kept, then the last of the
    input; of a user's reviews of a business the latest, then the one with the larger review id.

    Args:
      frame: Interactions in the order of the input, all those of each of their users, with the
        column `given_split`.
      keeps_visits: Whether all of a user's reviews of a business are kept.

    Returns:
      The rows that are kept, in their order, and how many were dropped for which reason.
    """
    visit = [features.USER_ID, features.BUSINESS_ID]
    counts = {REPEATED_REVIEW_IDS: 0, SUPERSEDED_REVIEWS: 0}
    # Almost all rows are alone with their ids, which a look at the hashes tells.
    may_repeat = _may_repeat(frame, [features.REVIEW_ID])
    if not keeps_visits:
        may_repeat |= _may_repeat(frame, visit)
    if not may_repeat.any():
        return frame, counts
    index = "index"
    indexed = frame.with_row_index(index)
    ordered = indexed.filter(may_repeat).sort(
        features.TIMESTAMP_SECONDS, features.REVIEW_ID, maintain_order=True
    )
    distinct = ordered.unique(
        [splits.GIVEN_SPLIT, features.REVIEW_ID], keep="last", maintain_order=True
    )
    counts[REPEATED_REVIEW_IDS] = ordered.height - distinct.height
    if not keeps_visits:
        latest = distinct.unique(visit, keep="last", maintain_order=True)
        counts[SUPERSEDED_REVIEWS] = distinct.height - latest.height
        distinct = latest
    kept = pl.concat([indexed.filter(~may_repeat), distinct])
    return kept.sort(index).drop(index), counts


def _may_repeat(frame: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """Marks the rows whose values in some columns may be those of another row, `[height]` bool."""
    hashes = np.zeros(frame.height, np.uint64)
    for column in columns:
        strings = frame[column].to_arrow(compat_level=pl.CompatLevel.oldest())
        hashes = hashing.mix(hashes) ^ hashing.hash_strings(strings)
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(hashes, repeated) if len(repeated) else np.zeros(frame.height, bool)


def complete_entities(
    frame: pl.DataFrame, mentioned: pl.DataFrame, key: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Keeps the last row of each id, and adds a row for each id that has none.

    Args:
      frame: Users or businesses in the order of the input.
      mentioned: Ids that interactions mention, in the column `key`, repeats allowed.
      key: The id column of both.

    Returns:
      The rows in their order, then those with only an id, by id; and how many rows were dropped
      and added.
    """
    known = frame.unique(key, keep="last", maintain_order=True)
    unknown = mentioned.select(key).unique().join(known, on=key, how="anti").sort(key)
    counts = {REPEATED_IDS: frame.height - known.height, UNKNOWN_IDS: unknown.height}
    return pl.concat([known, unknown], how="diagonal"), counts
