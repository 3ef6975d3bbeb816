"""The shuffle through files: rows staged by bucket, so that Beam only moves the files' names."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from components.yelp_example_gen import hashing, input_files, splits, storage, tables

# How much memory the rows of a bucket may take: those of 85,000 of Yelp's reviews, 18,000 users.
BUCKET_BYTES = 16 << 20
# What a table's input takes as rows. Reviews lose their texts, but are compared by their ids;
# businesses grow when their attributes become features.
_ROWS_RATIO = {tables.INTERACTIONS: 1 / 4, tables.USERS: 1.0, tables.BUSINESSES: 2.0}
# JSON lines shrink to about a quarter.
_GZIP_RATIO = 4
# Where the user (business) file is missing, its ids come from the reviews: a fraction of their
# bytes stands for the size that the table then has.
_MENTIONS_RATIO = {tables.USERS: 1 / 8, tables.BUSINESSES: 1 / 16}
# What is staged: rows of the table's file, ids that reviews mention, terms of reviews.
ROWS, IDS, TERMS = "rows", "ids", "terms"
# The splits draw with other seeds from the same hash.
_BUCKET_SEED = -1


class StagedFile(NamedTuple):
    """Rows of one block, spread over the buckets of a table.

    Attributes:
      path: An Arrow IPC file with one record batch a bucket.
      table: The table.
      split: The given split of the rows, or "".
      kind: `ROWS`, `IDS` or `TERMS`.
    """

    path: str
    table: str
    split: str
    kind: str


def count_buckets(
    files: Iterable[input_files.InputFile], with_terms: bool = False
) -> dict[str, int]:
    """Chooses how many buckets each table needs for a bucket to fit into memory.

    Args:
      files: The files.
      with_terms: Whether the terms of reviews come to the businesses that they are about.
    """
    table_bytes = dict.fromkeys(tables.SCHEMAS, 0.0)
    for file in files:
        table_bytes[file.table] += file.size_bytes * (_GZIP_RATIO if file.is_gzip else 1)
    # Reviews that carry their texts make larger buckets, and so do their distinct words.
    ratios = _MENTIONS_RATIO | ({tables.BUSINESSES: 1 / 4} if with_terms else {})
    for table, ratio in ratios.items():
        table_bytes[table] = max(table_bytes[table], ratio * table_bytes[tables.INTERACTIONS])
    return {
        table: max(1, math.ceil(size * _ROWS_RATIO[table] / BUCKET_BYTES))
        for table, size in table_bytes.items()
    }


def stage_rows(rows: pa.Table, key: str, num_buckets: int, path: str, temp_dir: str) -> None:
    """Writes rows to an Arrow IPC file, a record batch a bucket, in their order.

    Args:
      rows: Rows of any schema.
      key: The string column whose hash decides the bucket.
      num_buckets: How many buckets there are.
      path: Where the file goes; a file of that name is overwritten.
      temp_dir: Where the temporary file goes.
    """
    counts = np.array([rows.num_rows])
    if num_buckets > 1:
        buckets = _assign_buckets(rows[key], num_buckets)
        counts = np.bincount(buckets, minlength=num_buckets)
        rows = rows.take(pa.array(np.argsort(buckets, kind="stable")))
    rows = rows.combine_chunks()
    with (
        storage.publishing(path, temp_dir) as stream,
        pa.ipc.new_file(stream, rows.schema) as writer,
    ):
        for start, count in zip(counts.cumsum() - counts, counts, strict=True):
            batch = pa.RecordBatch.from_arrays(
                [_only_chunk(column.slice(start, count)) for column in rows.columns],
                schema=rows.schema,
            )
            writer.write_batch(batch)


def load_bucket(files: Iterable[StagedFile], bucket: int, schema: pa.Schema) -> pa.Table:
    """Loads the rows of a bucket in the order of the input, whatever the order of the files.

    Args:
      files: Files of the same buckets.
      bucket: The bucket.
      schema: The schema of the rows, for the case of no files.

    Returns:
      The rows, with the further column `given_split`.
    """
    batches, given = [], [pa.array([], pa.string())]
    for file in sorted(files):
        with storage.open_arrow(file.path) as stream, pa.ipc.open_file(stream) as reader:
            batches.append(reader.get_batch(bucket))
        given.append(pa.repeat(file.split, len(batches[-1])))
    rows = pa.Table.from_batches(batches, schema)
    return rows.append_column(splits.GIVEN_SPLIT, pa.chunked_array(given)).combine_chunks()


def mentioned_ids(rows: pa.Table, table: str) -> pa.Table:
    """Collects the distinct ids of a table's rows that interactions mention.

    Args:
      rows: Interactions.
      table: `users` or `businesses`.

    Returns:
      One column: the id.
    """
    key = tables.BUCKET_KEYS[table]
    return pa.table({key: rows[key].unique()})


def _assign_buckets(ids: pa.ChunkedArray, num_buckets: int) -> np.ndarray:
    """Assigns a bucket to each id.

    Args:
      ids: `[n]` strings.
      num_buckets: How many buckets there are.

    Returns:
      `[n]` int64 in [0, num_buckets).
    """
    hashes = hashing.mix(hashing.hash_strings(ids), _BUCKET_SEED)
    return (hashes % np.uint64(num_buckets)).astype(np.int64)


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column of at most one chunk as an array."""
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
