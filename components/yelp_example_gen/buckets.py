"""The second half of the Beam pipeline: staged buckets to TFRecords."""

import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints import decorators

from components.yelp_example_gen import (
    deduplication,
    progress,
    splits,
    staging,
    storage,
    tables,
    tallies,
    term_files,
    tfrecords,
)
from components.yelp_example_gen.plan import Plan
from models import features

SHARD_PREFIX = "data_tfrecord"
# Where Beam counts the rows of the ingestion.
NAMESPACE = "t2rec.YelpExampleGen"

_TALLIES = "tallies"
_TERMS = "terms"
_COUNTS = "counts"
_EVAL_REVIEWS = (tallies.FOUND, tables.INTERACTIONS, features.EVAL)

# A table and one of its buckets.
BucketKey = tuple[str, int]


@dataclasses.dataclass(eq=False)
class WriteBuckets(beam.PTransform):
    """Writes the TFRecords of each bucket; its output are the counts."""

    plan: Plan
    parse_tally: beam.pvalue.AsSingleton

    def expand(
        self, staged: beam.PCollection[staging.StagedFile]
    ) -> beam.PCollection[tallies.Tally]:
        """Builds the graph."""
        return (
            staged.pipeline
            | "Buckets" >> _ListBuckets(self.plan, tuple(tables.SCHEMAS))
            | "WriteBucket"
            >> beam.ParDo(
                _WriteBucket(self.plan), self.parse_tally, beam.pvalue.AsList(staged)
            ).with_output_types(tallies.Tally)
        )


@dataclasses.dataclass(eq=False)
class WriteBucketsWithTerms(beam.PTransform):
    """Writes the TFRecords of each bucket, the businesses last, with the terms of their reviews."""

    plan: Plan
    parse_tally: beam.pvalue.AsSingleton

    def expand(
        self, staged: beam.PCollection[staging.StagedFile]
    ) -> beam.PCollection[tallies.Tally]:
        """Builds the graph."""
        others = tuple(table for table in tables.SCHEMAS if table != tables.BUSINESSES)
        written = (
            staged.pipeline
            | "Buckets" >> _ListBuckets(self.plan, others)
            | "WriteBucket"
            >> beam.ParDo(
                _WriteBucket(self.plan), self.parse_tally, beam.pvalue.AsList(staged)
            ).with_outputs(_TERMS, _COUNTS, main=_TALLIES)
        )
        # The weight of a term needs the counts of all reviews, so that businesses wait for them.
        vocabulary = (
            written[_COUNTS]
            | "ListCounts" >> beam.combiners.ToList()
            | "ChooseVocabulary" >> beam.Map(term_files.stage_vocabulary, self.plan.staging_dir)
        )
        with_terms = (staged, written[_TERMS]) | "AddTerms" >> beam.Flatten()
        business_tallies = (
            staged.pipeline
            | "BusinessBuckets" >> _ListBuckets(self.plan, (tables.BUSINESSES,))
            | "WriteBusinesses"
            >> beam.ParDo(
                _WriteBucket(self.plan),
                self.parse_tally,
                beam.pvalue.AsList(with_terms),
                beam.pvalue.AsSingleton(vocabulary),
            ).with_output_types(tallies.Tally)
        )
        return (written[_TALLIES], business_tallies) | "FlattenBuckets" >> beam.Flatten()


@dataclasses.dataclass(eq=False)
class _ListBuckets(beam.PTransform):
    """Lists the buckets of some tables, in no order, for workers to share."""

    plan: Plan
    names: tuple[str, ...]

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[BucketKey]:
        """Builds the graph."""
        keys = [(table, b) for table in self.names for b in range(self.plan.num_buckets[table])]
        return pipeline | beam.Create(keys) | beam.Reshuffle()


class _WriteBucket(beam.DoFn):
    """Removes repeats, assigns splits and writes the TFRecords of one bucket."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._num_written = beam.metrics.Metrics.counter(NAMESPACE, "rows_out")
        self._num_dropped = beam.metrics.Metrics.counter(NAMESPACE, "rows_dropped")

    def setup(self) -> None:
        """Starts the count that the log shows."""
        self._progress = progress.Progress("wrote")

    @decorators.no_annotations  # Beam's own check can't express an optional side input
    def process(
        self,
        element: BucketKey,
        parse_tally: tallies.Tally,
        staged: Sequence[staging.StagedFile],
        vocabulary: staging.StagedFile | None = None,
    ) -> Iterator[object]:
        """Yields the tally of the bucket, and files with the terms of reviews on the side."""
        table, bucket = element
        files = [file for file in staged if file.table == table]
        rows, drops = _load_bucket(table, bucket, files, self._plan, parse_tally)
        if tables.TEXT in rows.column_names:
            terms, counts = term_files.stage_terms(
                rows,
                f"{bucket:05d}",
                self._plan.num_buckets[tables.BUSINESSES],
                self._plan.staging_dir,
            )
            yield beam.pvalue.TaggedOutput(_TERMS, terms)
            yield beam.pvalue.TaggedOutput(_COUNTS, counts)
            rows = rows.drop([tables.TEXT])
        if vocabulary:
            mentioned = [file for file in files if file.kind == staging.TERMS]
            best = term_files.load_terms(mentioned, bucket, vocabulary, self._plan.num_review_terms)
            rows = term_files.add_terms(rows, best)
        rows_by_split = _separate_splits(rows)
        for split, split_rows in rows_by_split.items():
            split_dir = self._plan.split_dirs[table][split]
            path = storage.join(split_dir, f"{SHARD_PREFIX}-{bucket:05d}")
            storage.publish(path, tfrecords.encode_table(split_rows), self._plan.staging_dir)
        self._num_written.inc(rows.num_rows)
        self._num_dropped.inc(sum(drops.values()) - drops.get(deduplication.UNKNOWN_IDS, 0))
        self._progress.add(table, rows.num_rows)
        yield tallies.tally_bucket(table, rows_by_split, drops)


def _load_bucket(
    table: str,
    bucket: int,
    files: list[staging.StagedFile],
    plan: Plan,
    parse_tally: tallies.Tally,
) -> tuple[pa.Table, dict[str, int]]:
    """Loads a bucket's rows without repeats, with the column `split`, and counts the drops."""
    if not any(key[:3] == _EVAL_REVIEWS for key in parse_tally.counts):
        files = [_share_with_eval(file) for file in files]
    schema = tables.staged_schema(table, with_text=plan.num_review_terms > 0)
    rows = staging.load_bucket(
        [file for file in files if file.kind == staging.ROWS], bucket, schema
    )
    if table == tables.INTERACTIONS:
        # Given files are used as they are.
        keeps_visits = plan.keeps_visits or plan.split_config.method == splits.GIVEN
        rows, drops = deduplication.deduplicate_interactions(rows, keeps_visits)
        cutoffs = splits.temporal_cutoffs(parse_tally.days, plan.split_config)
        split = splits.assign_splits(rows, plan.split_config, cutoffs, keeps_visits)
        return rows.drop([splits.GIVEN_SPLIT]).append_column(splits.SPLIT, split), drops
    key = tables.BUCKET_KEYS[table]
    mentioned = staging.load_bucket(
        [file for file in files if file.kind == staging.IDS],
        bucket,
        schema.empty_table().select([key]).schema,
    )
    rows = rows.drop([splits.GIVEN_SPLIT])
    rows, drops = deduplication.complete_entities(rows, mentioned[key], key)
    return rows.append_column(splits.SPLIT, pa.repeat(features.ALL, rows.num_rows)), drops


def _separate_splits(rows: pa.Table) -> dict[str, pa.Table]:
    """Returns the rows of each split that has any, without the column `split`."""
    split, rows = rows[splits.SPLIT], rows.drop([splits.SPLIT])
    names = split.unique().to_pylist()
    if len(names) == 1:
        return {names[0]: rows}  # Users and businesses: nothing is copied.
    return {name: rows.filter(pc.equal(split, name)) for name in sorted(names)}


def _share_with_eval(file: staging.StagedFile) -> staging.StagedFile:
    """Marks the rows of a train file as those that eval is carved from."""
    is_train = file.split == features.TRAIN
    return file._replace(split=splits.TRAIN_AND_EVAL) if is_train else file
