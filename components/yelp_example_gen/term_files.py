"""The terms of reviews on their way through staged files, from their reviews to the businesses."""

from collections.abc import Iterable

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from components.yelp_example_gen import review_terms, splits, staging, storage, tables
from models import features


def stage_terms(
    interactions: pa.Table, name: str, num_buckets: int, staging_dir: str
) -> tuple[staging.StagedFile, staging.StagedFile]:
    """Stages what the training reviews among some interactions say.

    The other splits' reviews are answers: what they say must not reach a model.

    Args:
      interactions: Interactions with the columns `split` and `text`.
      name: Tells the files of these interactions from those of others.
      num_buckets: How many buckets of businesses there are.
      staging_dir: Where the files go.

    Returns:
      The reviews' terms, by the buckets of the businesses that they are about; and the number of
      reviews that hold each term, in one bucket.
    """
    is_train = pc.equal(interactions[splits.SPLIT], features.TRAIN)
    train = _to_frame(interactions.select([features.BUSINESS_ID, tables.TEXT]).filter(is_train))
    terms = review_terms.find_terms(train[tables.TEXT])
    reviews = train.select(features.BUSINESS_ID, terms.alias("terms"))
    path = storage.join(staging_dir, f"terms-{name}.arrow")
    staging.stage_rows(
        _to_table(reviews, review_terms.REVIEW_SCHEMA),
        features.BUSINESS_ID,
        num_buckets,
        path,
        staging_dir,
    )
    counts = _stage_whole(
        review_terms.count_reviews(terms),
        review_terms.COUNT_SCHEMA,
        storage.join(staging_dir, f"term-counts-{name}.arrow"),
        staging_dir,
    )
    return staging.StagedFile(path, tables.BUSINESSES, "", staging.TERMS), counts


def stage_vocabulary(counts: Iterable[staging.StagedFile], staging_dir: str) -> staging.StagedFile:
    """Stages the terms that count, with their weights.

    Args:
      counts: The files of the counts of all reviews.
      staging_dir: Where the file goes.
    """
    return _stage_whole(
        review_terms.choose_vocabulary(
            _to_frame(staging.load_bucket(counts, 0, review_terms.COUNT_SCHEMA))
        ),
        review_terms.VOCABULARY_SCHEMA,
        storage.join(staging_dir, "vocabulary.arrow"),
        staging_dir,
    )


def load_terms(
    files: Iterable[staging.StagedFile],
    bucket: int,
    vocabulary: staging.StagedFile,
    num_terms: int,
) -> pl.DataFrame:
    """Loads the most telling terms of the businesses of a bucket; see `choose_terms`.

    Args:
      files: Those of the reviews' terms.
      bucket: The bucket.
      vocabulary: What `stage_vocabulary` returned.
      num_terms: The most terms that a business gets.
    """
    return review_terms.choose_terms(
        _to_frame(staging.load_bucket(files, bucket, review_terms.REVIEW_SCHEMA)),
        _to_frame(staging.load_bucket([vocabulary], 0, review_terms.VOCABULARY_SCHEMA)),
        num_terms,
    )


def add_terms(businesses: pa.Table, terms: pl.DataFrame) -> pa.Table:
    """Adds the column of terms to businesses, null where there are none.

    Args:
      businesses: Rows with distinct ids.
      terms: What `load_terms` returned.
    """
    ids = _to_frame(businesses.select([features.BUSINESS_ID]))
    joined = ids.join(terms, features.BUSINESS_ID, how="left", maintain_order="left")
    field = pa.field(features.BUSINESS_REVIEW_TERMS, pa.list_(pa.string()))
    column = _to_table(joined.select(field.name), pa.schema([field]))[field.name]
    return businesses.append_column(field, column)


def _stage_whole(
    frame: pl.DataFrame, schema: pa.Schema, path: str, staging_dir: str
) -> staging.StagedFile:
    """Stages rows in one bucket."""
    staging.stage_rows(_to_table(frame, schema), "term", 1, path, staging_dir)
    return staging.StagedFile(path, tables.INTERACTIONS, "", staging.TERMS)


def _to_frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _to_table(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
