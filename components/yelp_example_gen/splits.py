"""Splits of the interactions into train, eval and test."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from components.yelp_example_gen import hashing, repeats
from models import errors, features
from models.options import SplitOptions

TEMPORAL, RANDOM, LEAVE_LAST, GIVEN = "temporal", "random", "leave_last", "given"

# What the column `given_split` says of a train file that comes without an eval file.
TRAIN_AND_EVAL = "train+eval"

# Columns that come and go on the way to the splits.
GIVEN_SPLIT = "given_split"
SPLIT = "split"

DAY_SECONDS = 86400
_LEAVE_LAST_MIN_INTERACTIONS = 3


def read_options(text: str) -> SplitOptions:
    """Reads options from a JSON object with some or all of the fields.

    Raises:
      ConfigError: If it is no such object, or a field is unknown or not valid.
    """
    try:
        return SplitOptions.model_validate_json(text or "{}")
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip() for fault in error.errors()
        )
        raise errors.ConfigError(
            f"Expected split_config to be a JSON object of {', '.join(SplitOptions.model_fields)}; "
            f"got {text!r}: {faults}. Correct it."
        ) from error


@dataclasses.dataclass(frozen=True)
class Cutoffs:
    """Marks where the later splits of a temporal split begin, in Unix seconds at midnight UTC.

    Attributes:
      eval_from_seconds: The first moment of eval.
      test_from_seconds: The first moment of test.
    """

    eval_from_seconds: int
    test_from_seconds: int

    def to_dict(self) -> dict[str, Any]:
        """Writes the cut-offs with their dates."""
        return {
            f"{name}_from_{unit}": value
            for name, seconds in (
                (features.EVAL, self.eval_from_seconds),
                (features.TEST, self.test_from_seconds),
            )
            for unit, value in (("seconds", seconds), ("date", format_date(seconds)))
        }


def format_date(seconds: int) -> str:
    """Writes the UTC date of a Unix time as `YYYY-MM-DD`."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d")


def temporal_cutoffs(day_counts: Mapping[int, int], config: SplitOptions) -> Cutoffs | None:
    """Chooses the days on which eval and test begin.

    A day goes wholly to one split. Each split gets at least a day; beyond that the boundaries are
    those by which the three shares miss what the config asks by the least sum of squares. The
    counts are those before duplicates are dropped.

    Args:
      day_counts: Number of interactions by day since 1970-01-01.
      config: The fractions.

    Returns:
      The cut-offs, or None if there are fewer than three days.
    """
    days = np.array(sorted(day_counts))
    if len(days) < len(features.INTERACTION_SPLITS):
        return None
    counts = np.array([day_counts[day] for day in days])
    # shares[i]: the share of interactions before days[i].
    shares = np.concatenate([[0.0], counts.cumsum()[:-1] / counts.sum()])
    eval_days = np.arange(1, len(days) - 1)
    train = shares[eval_days]
    # For each day that eval may begin on: where eval and test miss their shares by as much, and the
    # days beside it.
    middle = train + (1 - train + config.eval - config.test) / 2
    after = np.searchsorted(shares, middle)
    test_days = np.clip([after - 1, after], eval_days + 1, len(days) - 1)
    misses = [
        train - (1 - config.eval - config.test),
        shares[test_days] - train - config.eval,
        1 - shares[test_days] - config.test,
    ]
    off = sum(np.square(miss) for miss in misses)
    row, place = np.unravel_index(off.argmin(), off.shape)
    eval_day, test_day = (int(days[one]) for one in (eval_days[place], test_days[row, place]))
    return Cutoffs(eval_day * DAY_SECONDS, test_day * DAY_SECONDS)


def assign_splits(
    rows: pa.Table,
    config: SplitOptions,
    cutoffs: Cutoffs | None = None,
    keeps_visits: bool = False,
) -> pa.Array:
    """Assigns a split to each interaction.

    Args:
      rows: Interactions, all those of each of their users; under `given` with the column
        `given_split`: a split, or `TRAIN_AND_EVAL` where eval is to be carved out of it.
      config: The method and its fractions.
      cutoffs: Where eval and test begin; for `temporal` only. None puts all into train.
      keeps_visits: Whether a user may have several interactions with a business. Those that are
        equal then come to the same split, or a model would have seen what it is tested on.

    Returns:
      `[num_rows]` string: the names of the splits.
    """
    if config.method == TEMPORAL:
        return _temporal_split(rows, cutoffs)
    if keeps_visits:
        rows = _share_ids(rows)
    if config.method == RANDOM:
        return _random_split(rows, config)
    if config.method == LEAVE_LAST:
        return _leave_last_split(rows)
    return _given_split(rows, config)


def _share_ids(rows: pa.Table) -> pa.Table:
    """Gives interactions that are equal but for their review id the smallest of these."""
    equal = [features.USER_ID, features.BUSINESS_ID, features.STARS, features.TIMESTAMP_SECONDS]
    frame = pl.DataFrame(pl.from_arrow(rows.select([features.REVIEW_ID, *equal])))
    if not repeats.may_repeat(frame.select(equal)).any():
        return rows
    shared = frame.select(pl.col(features.REVIEW_ID).min().over(equal)).to_series()
    place = rows.column_names.index(features.REVIEW_ID)
    return rows.set_column(place, features.REVIEW_ID, shared.cast(pl.String).to_arrow())


def _temporal_split(rows: pa.Table, cutoffs: Cutoffs | None) -> pa.Array:
    """Compares the times with the cut-offs."""
    seconds = rows[features.TIMESTAMP_SECONDS].to_numpy()
    if cutoffs is None:
        return _name_splits(np.zeros(len(seconds), bool), np.zeros(len(seconds), bool))
    return _name_splits(seconds >= cutoffs.eval_from_seconds, seconds >= cutoffs.test_from_seconds)


def _random_split(rows: pa.Table, config: SplitOptions) -> pa.Array:
    """Compares a hash of the review id with the fractions."""
    draws = _draw(rows, config.seed)
    return _name_splits(draws < config.test + config.eval, draws < config.test)


def _leave_last_split(rows: pa.Table) -> pa.Array:
    """Counts each user's interactions from the newest on; the larger review id wins a tie."""
    newest_first = [features.TIMESTAMP_SECONDS, features.REVIEW_ID]
    frame = pl.DataFrame(pl.from_arrow(rows.select([features.USER_ID, *newest_first])))
    # The position of each row among the user's rows, the newest having position 1.
    position = pl.struct(newest_first).rank("dense", descending=True).over(features.USER_ID)
    enough = position.max().over(features.USER_ID) >= _LEAVE_LAST_MIN_INTERACTIONS
    places = frame.select(pl.when(enough).then(position)).to_series()
    return _name_splits((places <= 2).fill_null(False).to_numpy(), places.eq_missing(1).to_numpy())


def _given_split(rows: pa.Table, config: SplitOptions) -> pa.Array:
    """Takes the split of the input file, and carves eval out of train where it has no file."""
    given = rows[GIVEN_SPLIT].combine_chunks()
    is_eval = _draw(rows, config.seed) < config.eval
    carved = _name_splits(is_eval, np.zeros(len(is_eval), bool))
    return pc.if_else(pc.equal(given, TRAIN_AND_EVAL), carved, given)


def _draw(rows: pa.Table, seed: int) -> np.ndarray:
    """Draws a number in [0, 1) for each interaction, whatever the order of the rows."""
    return hashing.mix(hashing.hash_strings(rows[features.REVIEW_ID]), seed) / 2.0**64


def _name_splits(is_later: np.ndarray, is_test: np.ndarray) -> pa.Array:
    """Names the splits of rows of which some are not for training, and some of these for test."""
    numbers = np.where(is_test, 2, is_later.astype(np.int64))
    return pa.array(features.INTERACTION_SPLITS).take(pa.array(numbers))
