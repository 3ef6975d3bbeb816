"""Rows that come more than once, and ids that come without a row."""

import polars as pl
import pyarrow as pa

from components.yelp_example_gen import repeats, splits
from models import features

REPEATED_REVIEW_IDS = "repeated_review_ids"
SUPERSEDED_REVIEWS = "superseded_reviews"
REPEATED_IDS = "repeated_ids"
UNKNOWN_IDS = "unknown_ids"


def deduplicate_interactions(rows: pa.Table, keeps_visits: bool) -> tuple[pa.Table, dict[str, int]]:
    """Keeps one interaction a review id, and the user's latest one a business.

    Of rows with the same review id in one given split the latest is kept, then the last of the
    input; of a user's reviews of a business the latest, then the one with the larger review id.

    Args:
      rows: Interactions in the order of the input, all those of each of their users, with the
        column `given_split`.
      keeps_visits: Whether all of a user's reviews of a business are kept.

    Returns:
      The rows that are kept, in their order, and how many were dropped for which reason.
    """
    visit = [features.USER_ID, features.BUSINESS_ID]
    columns = [splits.GIVEN_SPLIT, features.REVIEW_ID, *visit, features.TIMESTAMP_SECONDS]
    frame = pl.DataFrame(pl.from_arrow(rows.select(columns)))
    counts = {REPEATED_REVIEW_IDS: 0, SUPERSEDED_REVIEWS: 0}
    # Almost all rows are alone with their ids, which a look at the hashes tells.
    may_repeat = repeats.may_repeat(frame.select(features.REVIEW_ID))
    if not keeps_visits:
        may_repeat |= repeats.may_repeat(frame.select(visit))
    if not may_repeat.any():
        return rows, counts
    ordered = (
        frame
        .with_row_index("row")
        .filter(may_repeat)
        .sort(features.TIMESTAMP_SECONDS, features.REVIEW_ID, maintain_order=True)
    )
    distinct = ordered.unique(
        [splits.GIVEN_SPLIT, features.REVIEW_ID], keep="last", maintain_order=True
    )
    counts[REPEATED_REVIEW_IDS] = ordered.height - distinct.height
    if not keeps_visits:
        latest = distinct.unique(visit, keep="last", maintain_order=True)
        counts[SUPERSEDED_REVIEWS] = distinct.height - latest.height
        distinct = latest
    is_kept = ~may_repeat.to_numpy()
    is_kept[distinct["row"].to_numpy()] = True
    return rows.filter(pa.array(is_kept)), counts


def complete_entities(
    rows: pa.Table, mentioned: pa.ChunkedArray, key: str
) -> tuple[pa.Table, dict[str, int]]:
    """Keeps the last row of each id, and adds a row for each id that has none.

    Args:
      rows: Users or businesses in the order of the input.
      mentioned: `[n]` string: ids that interactions mention, repeats allowed.
      key: The id column.

    Returns:
      The rows in their order, then those with only an id, by id; and how many rows were dropped
      and added.
    """
    ids = pl.DataFrame(pl.from_arrow(rows.select([key]))).with_row_index("row")
    known = ids.unique(key, keep="last", maintain_order=True)
    unknown = (
        pl
        .DataFrame({key: pl.from_arrow(mentioned)})
        .unique()
        .join(known, on=key, how="anti")
        .sort(key)
        .to_arrow(compat_level=pl.CompatLevel.oldest())
        .cast(rows.select([key]).schema)
    )
    counts = {REPEATED_IDS: ids.height - known.height, UNKNOWN_IDS: unknown.num_rows}
    if counts[REPEATED_IDS]:
        rows = rows.take(known["row"].to_arrow())
    return pa.concat_tables([rows, unknown], promote=True), counts
