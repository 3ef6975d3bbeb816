"""Reads the three tables into arrays: the star schema as the trainer and evaluators hold it.

Users and businesses become rows of arrays; an interaction holds two row numbers. Covariates are
gathered by row number, so that no join is ever written.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from models import features
from models.errors import InputError

_BATCH_ROWS = 8_192
_YEAR_SECONDS = 365.25 * 86_400
# What the values of ragged features become; positions in vocabularies need no more than 32 bits.
_LIST_TYPES = {tf.string: object, tf.int64: np.int32, tf.float32: np.float32}


@dataclasses.dataclass(frozen=True)
class Bag:
    """Variable-length lists, one a row, in compressed sparse row form.

    Attributes:
      values: `[num_values]` array, the lists one after the other.
      row_splits: `[num_rows + 1]` int64 array; row `r` is `values[row_splits[r]:row_splits[r+1]]`.
    """

    values: np.ndarray
    row_splits: np.ndarray

    @classmethod
    def from_pairs(cls, rows: np.ndarray, values: np.ndarray, num_rows: int) -> "Bag":
        """Groups values by row, keeping their order within a row.

        Args:
          rows: `[num_values]` integer array of row numbers in `[0, num_rows)`.
          values: `[num_values]` array.
          num_rows: Number of rows, those without values among them.
        """
        order = np.argsort(rows, kind="stable")
        row_splits = np.zeros(num_rows + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=num_rows), out=row_splits[1:])
        return cls(values[order], row_splits)

    @property
    def num_rows(self) -> int:
        """Number of lists."""
        return len(self.row_splits) - 1

    def lengths(self) -> np.ndarray:
        """Returns a `[num_rows]` int64 array of list lengths."""
        return np.diff(self.row_splits)

    def row(self, index: int) -> np.ndarray:
        """Returns one list as a view."""
        return self.values[self.row_splits[index] : self.row_splits[index + 1]]

    def padded(self, width: int, filler) -> np.ndarray:
        """Returns the first values of each list, a `[num_rows, width]` array.

        Args:
          width: How many.
          filler: What stands behind the end of a shorter list.
        """
        lists = np.full([self.num_rows, width], filler, self.values.dtype)
        lengths = np.minimum(self.lengths(), width)
        rows = np.repeat(np.arange(self.num_rows), lengths)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        lists[rows, places] = self.values[self.row_splits[rows] + places]
        return lists

    def take(self, rows: np.ndarray) -> "Bag":
        """Returns the lists of the given rows, in that order."""
        lengths = self.row_splits[np.asarray(rows) + 1] - self.row_splits[rows]
        row_splits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(row_splits[-1]) - np.repeat(row_splits[:-1], lengths)
        return Bag(self.values[np.repeat(self.row_splits[rows], lengths) + within], row_splits)


@dataclasses.dataclass(frozen=True)
class EntityTable:
    """One side of the star schema: all users, or all businesses, after Transform.

    Attributes:
      ids: `[num_rows]` array of `bytes`, sorted: real ids, a row's number is its place.
      numeric: `[num_rows, num_numeric]` float32 array.
      categorical: By feature, a `[num_rows]` int32 array of vocabulary positions.
      bags: By feature, the vocabulary positions of each row's tokens.
      vocabulary_sizes: By categorical or bag feature, the number of positions, unknown included.
      vocabularies: By categorical or bag feature, its tokens as `bytes`, in order; empty where
        nobody asks for them.
      content: `[num_rows, content_dim]` float32 array (`models.content`); of dimension 0 until it
        is computed.
      content_tokens: `[num_tokens, content_dim]` float32 array: what each token adds to it.
    """

    ids: np.ndarray
    numeric: np.ndarray
    categorical: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    bags: Mapping[str, Bag] = dataclasses.field(default_factory=dict)
    vocabulary_sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    vocabularies: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    content: np.ndarray = dataclasses.field(default=None)  # type: ignore[arg-type]
    content_tokens: np.ndarray = dataclasses.field(default=None)  # type: ignore[arg-type]

    def __post_init__(self):
        if self.content is None:
            object.__setattr__(self, "content", np.zeros([len(self.ids), 0], np.float32))
        if self.content_tokens is None:
            num_tokens = sum(self.vocabulary_sizes.values())
            object.__setattr__(self, "content_tokens", np.zeros([num_tokens, 0], np.float32))

    @property
    def num_rows(self) -> int:
        """Number of entities."""
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Ratings as row numbers into the two entity tables.

    Attributes:
      user_rows: `[num_interactions]` int32 array.
      business_rows: `[num_interactions]` int32 array.
      stars: `[num_interactions]` float32 array, in stars.
      timestamps_seconds: `[num_interactions]` int64 array of Unix times; zeros where unknown.
    """

    user_rows: np.ndarray
    business_rows: np.ndarray
    stars: np.ndarray
    timestamps_seconds: np.ndarray = dataclasses.field(default=None)  # type: ignore[arg-type]

    def __post_init__(self):
        if self.timestamps_seconds is None:
            object.__setattr__(self, "timestamps_seconds", np.zeros(len(self.stars), np.int64))

    def __len__(self) -> int:
        return len(self.stars)

    def __getitem__(self, index) -> "Interactions":
        """Returns the interactions that a slice, mask or index array selects."""
        return Interactions(
            self.user_rows[index],
            self.business_rows[index],
            self.stars[index],
            self.timestamps_seconds[index],
        )

    def __add__(self, other: "Interactions") -> "Interactions":
        """Returns these interactions followed by the other ones."""
        return Interactions(
            np.concatenate([self.user_rows, other.user_rows]),
            np.concatenate([self.business_rows, other.business_rows]),
            np.concatenate([self.stars, other.stars]),
            np.concatenate([self.timestamps_seconds, other.timestamps_seconds]),
        )

    @property
    def rated_alike(self) -> bool:
        """Whether all stars are the same, as of visits, purchases or plays: implicit feedback."""
        return not len(self) or bool((self.stars == self.stars[0]).all())

    def ages_years(self) -> np.ndarray:
        """Returns how long before the newest each one was, a `[num_interactions]` float64 array."""
        newest = self.timestamps_seconds.max(initial=0)
        return (newest - self.timestamps_seconds) / _YEAR_SECONDS

    def by_user(self) -> "Interactions":
        """Returns the same interactions, user by user, each one's in file order."""
        if is_ascending(self.user_rows):
            return self
        return self[np.argsort(self.user_rows, kind="stable")]

    @property
    def mean_stars(self) -> float:
        """The mean of the stars; float32 would lose the sixth digit of millions of them."""
        return float(self.stars.mean(dtype=np.float64))

    def histories(self, num_users: int) -> Bag:
        """Returns each user's businesses, in file order."""
        return Bag.from_pairs(self.user_rows, self.business_rows, num_users)

    def visited(self, num_users: int) -> Bag:
        """Returns each user's businesses, each once, ascending."""
        return new_visits(self, self[:0], num_users)


def new_visits(later: Interactions, earlier: Interactions, num_users: int) -> Bag:
    """Lists the businesses that each user visited later, and not earlier: each once, ascending.

    Args:
      later: Interactions such as those of the eval split.
      earlier: Interactions such as those of the train split.
      num_users: Rows of the users table.
    """
    most = (rows.max(initial=-1) for rows in (later.business_rows, earlier.business_rows))
    width = 1 + int(max(most))
    # 64 bits: all users times all businesses exceed 32.
    pairs, known = (
        np.unique(one.user_rows.astype(np.int64) * width + one.business_rows)
        for one in (later, earlier)
    )
    pairs = pairs[~np.isin(pairs, known, assume_unique=True)]
    return Bag.from_pairs(pairs // width, (pairs % width).astype(np.int32), num_users)


def is_ascending(rows: np.ndarray) -> bool:
    """Tells whether no number is less than the one before it."""
    return bool((rows[1:] >= rows[:-1]).all())


def check(users: EntityTable, businesses: EntityTable, splits: Mapping[str, Interactions]) -> None:
    """Checks that there is something to train on, and that all of it is finite.

    Args:
      users: All users.
      businesses: All businesses.
      splits: Interactions by the name of their split.

    Raises:
      InputError: If a split is empty, or a covariate or a rating is not finite.
    """
    for name, table in (("users", users), ("businesses", businesses)):
        rows, columns = np.nonzero(~np.isfinite(table.numeric))
        if len(rows):
            row, column = rows[0], columns[0]
            raise InputError(
                f"Expected finite covariates of the {name}; got {table.numeric[row, column]} in "
                f"numeric column {column} of {table.ids[row].decode()!r}, and {len(rows)} such "
                "cells in all. What is not known must leave Transform as 0: see "
                f"preprocess_{name} in models/preprocessing.py."
            )
    for name, split in splits.items():
        if not len(split):
            raise InputError(
                f"Expected at least one interaction in the {name} split; got none. Give more data, "
                f"or a larger split.{name}."
            )
        (broken,) = np.nonzero(~np.isfinite(split.stars))
        if len(broken):
            user = users.ids[split.user_rows[broken[0]]].decode()
            raise InputError(
                f"Expected finite stars in the {name} split; got {split.stars[broken[0]]} for a "
                f"rating by {user!r}, and {len(broken)} such ratings in all. Run the ingestion "
                "again: it rejects them."
            )


class IdIndex:
    """Finds the row numbers of real ids."""

    def __init__(self, ids: np.ndarray):
        self._index = pd.Index(ids)

    def rows(self, ids: Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Returns an int32 array of row numbers, -1 for an id that is not in the table."""
        return self._index.get_indexer(pd.Index(ids)).astype(np.int32)


def read_columns(files: Sequence[str], spec: Mapping[str, object]) -> dict[str, Any]:
    """Reads columns of tf.Examples in TFRecord files.

    Args:
      files: Paths of uncompressed or gzip TFRecord files.
      spec: By key, a `tf.io.FixedLenFeature` or `tf.io.RaggedFeature`.

    Returns:
      By key, an array with one row an Example, or a `Bag` for a ragged feature.
    """
    batches = list(_batches(files, spec))
    return {key: _concatenate([batch[key] for batch in batches], spec[key]) for key in spec}


def _batches(files: Sequence[str], spec: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Yields tensors of some thousand Examples at a time."""
    if not files:
        return
    kind = "GZIP" if files[0].endswith(".gz") else ""
    dataset = tf.data.TFRecordDataset(sorted(files), compression_type=kind)
    dataset = dataset.batch(_BATCH_ROWS).map(
        lambda batch: tf.io.parse_example(batch, dict(spec)), num_parallel_calls=2
    )
    yield from dataset.prefetch(2)


def _concatenate(parts: list, feature: object) -> np.ndarray | Bag:
    if isinstance(feature, tf.io.RaggedFeature):
        lengths = [np.diff(part.row_splits.numpy()) for part in parts]
        values = [part.values.numpy() for part in parts]
        splits = np.concatenate([[0], *lengths]).cumsum().astype(np.int64)
        kind = _LIST_TYPES[feature.dtype]
        return Bag(np.concatenate([np.zeros(0, kind), *values]).astype(kind), splits)
    if not parts:
        return np.zeros([0, *feature.shape], feature.dtype.as_numpy_dtype)  # type: ignore[attr-defined]
    return np.concatenate([part.numpy() for part in parts])


def read_ids(files: Sequence[str], id_key: str) -> np.ndarray:
    """Reads and sorts the real ids of a table.

    Args:
      files: TFRecord files of the users or businesses.
      id_key: `user_id` or `business_id`.

    Returns:
      `[num_rows]` sorted array of `bytes`: the row numbers that every component agrees on.
    """
    return np.sort(read_columns(files, {id_key: tf.io.FixedLenFeature([], tf.string)})[id_key])


def read_entities(
    files: Sequence[str],
    id_key: str,
    num_numeric: int,
    vocabulary_sizes: Mapping[str, int],
    bag_keys: Sequence[str] = (),
) -> EntityTable:
    """Reads a transformed table.

    Args:
      files: TFRecord files that Transform wrote.
      id_key: `user_id` or `business_id`.
      num_numeric: Width of the `numeric` feature.
      vocabulary_sizes: By categorical or bag feature, the number of vocabulary positions.
      bag_keys: Which of those are bags.

    Raises:
      InputError: If an id occurs twice.
    """
    spec: dict[str, object] = {
        id_key: tf.io.FixedLenFeature([], tf.string),
        "numeric": tf.io.FixedLenFeature([num_numeric], tf.float32),
    }
    for key in vocabulary_sizes:
        spec[key] = (
            tf.io.RaggedFeature(tf.int64)
            if key in bag_keys
            else tf.io.FixedLenFeature([], tf.int64)
        )
    columns = read_columns(files, spec)
    order = np.argsort(columns[id_key])
    ids = columns[id_key][order]
    if len(ids) and (ids[1:] == ids[:-1]).any():
        twice = ids[1:][ids[1:] == ids[:-1]][0].decode("utf-8", "replace")
        raise InputError(
            f"Expected each {id_key} once in the transformed table; got {twice!r} twice. "
            "Run the ingestion again on a new root."
        )
    return EntityTable(
        ids=ids,
        numeric=columns["numeric"][order],
        categorical={
            key: columns[key][order].astype(np.int32)
            for key in vocabulary_sizes
            if key not in bag_keys
        },
        bags={key: columns[key].take(order) for key in bag_keys},
        vocabulary_sizes=dict(vocabulary_sizes),
    )


def read_interactions(files: Sequence[str], users: IdIndex, businesses: IdIndex) -> Interactions:
    """Reads interactions in a stream and replaces their ids by row numbers.

    The ids of millions of ratings would take ten times as much memory as their rows: no more than
    a few thousand are there at any time.

    Args:
      files: TFRecord files of one split.
      users: Index of the users table.
      businesses: Index of the businesses table.

    Raises:
      InputError: If an interaction names a user or business that its table lacks.
    """
    spec = {
        features.USER_ID: tf.io.FixedLenFeature([], tf.string),
        features.BUSINESS_ID: tf.io.FixedLenFeature([], tf.string),
        features.STARS: tf.io.FixedLenFeature([], tf.float32),
        features.TIMESTAMP_SECONDS: tf.io.FixedLenFeature([], tf.int64),
    }
    columns: list[list[np.ndarray]] = [
        [np.zeros(0, kind)] for kind in (np.int32, np.int32, np.float32, np.int64)
    ]
    for batch in _batches(files, spec):
        values = {key: value.numpy() for key, value in batch.items()}
        for key, index in ((features.USER_ID, users), (features.BUSINESS_ID, businesses)):
            rows = index.rows(values[key])
            if (rows < 0).any():
                missing = values[key][rows < 0][0].decode("utf-8", "replace")
                raise InputError(
                    f"Expected every {key} of the interactions in its table; got {missing!r}, "
                    "which is not there. Run the ingestion again: it gives every such id a row."
                )
            values[key] = rows
        for column, key in zip(columns, spec, strict=True):
            column.append(values[key])
    return Interactions(*(np.concatenate(column) for column in columns))
