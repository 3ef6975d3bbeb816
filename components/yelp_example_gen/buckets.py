"""The second half of the Beam pipeline: staged buckets to TFRecords."""

import dataclasses
from collections.abc import Iterable, Iterator

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
from components.yelp_example_gen.plan import BucketKey, Plan
from models import features

SHARD_PREFIX = "data_tfrecord"
# Where Beam counts the rows of the ingestion.
NAMESPACE = "t2rec.YelpExampleGen"

_TALLIES = "tallies"
_TERM_PIECES = "term_pieces"
_COUNT_PIECES = "count_pieces"
_EVAL_REVIEWS = (tallies.FOUND, tables.INTERACTIONS, features.EVAL)


@dataclasses.dataclass(eq=False)
class WriteBuckets(beam.PTransform):
    """Writes the TFRecords of each bucket; its output are the counts."""

    plan: Plan
    parse_tally: beam.pvalue.AsSingleton

    def expand(
        self, pieces: beam.PCollection[tuple[BucketKey, staging.Piece]]
    ) -> beam.PCollection[tallies.Tally]:
        """Builds the graph."""
        return (
            pieces
            | "GroupByBucket" >> beam.GroupByKey()
            | "WriteBucket"
            >> beam.ParDo(_WriteBucket(self.plan), self.parse_tally).with_output_types(
                tallies.Tally
            )
        )


@dataclasses.dataclass(eq=False)
class WriteBucketsWithTerms(beam.PTransform):
    """Writes the TFRecords of each bucket, the businesses last, with the terms of their reviews."""

    plan: Plan
    parse_tally: beam.pvalue.AsSingleton

    def expand(
        self, pieces: beam.PCollection[tuple[BucketKey, staging.Piece]]
    ) -> beam.PCollection[tallies.Tally]:
        """Builds the graph."""
        others, businesses = pieces | "SetBusinessesAside" >> beam.Partition(_is_of_business, 2)
        written = (
            others
            | "GroupByBucket" >> beam.GroupByKey()
            | "WriteBucket"
            >> beam.ParDo(_WriteBucket(self.plan), self.parse_tally).with_outputs(
                _TERM_PIECES, _COUNT_PIECES, main=_TALLIES
            )
        )
        # The weight of a term needs the counts of all reviews, so that businesses wait for them.
        vocabulary = (
            written[_COUNT_PIECES]
            | "ListCounts" >> beam.combiners.ToList()
            | "ChooseVocabulary" >> beam.Map(term_files.stage_vocabulary, self.plan.staging_dir)
        )
        business_tallies = (
            (businesses, written[_TERM_PIECES])
            | "AddTerms" >> beam.Flatten()
            | "GroupByBusinessBucket" >> beam.GroupByKey()
            | "WriteBusinesses"
            >> beam.ParDo(
                _WriteBucket(self.plan), self.parse_tally, beam.pvalue.AsSingleton(vocabulary)
            ).with_output_types(tallies.Tally)
        )
        return (written[_TALLIES], business_tallies) | "FlattenBuckets" >> beam.Flatten()


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
        element: tuple[BucketKey, Iterable[staging.Piece]],
        parse_tally: tallies.Tally,
        vocabulary: staging.Piece | None = None,
    ) -> Iterator[object]:
        """Yields the tally of the bucket, and pieces with the terms of reviews on the side."""
        (table, bucket), grouped = element
        pieces = list(grouped)
        rows, drops = _load_bucket(table, pieces, self._plan, parse_tally)
        if tables.TEXT in rows.column_names:
            terms, counts = term_files.stage_terms(
                rows,
                f"{bucket:05d}",
                self._plan.num_buckets[tables.BUSINESSES],
                self._plan.staging_dir,
            )
            for piece in terms:
                key = tables.BUSINESSES, piece.bucket
                yield beam.pvalue.TaggedOutput(_TERM_PIECES, (key, piece))
            yield beam.pvalue.TaggedOutput(_COUNT_PIECES, counts)
            rows = rows.drop([tables.TEXT])
        if vocabulary:
            mentioned = [piece for piece in pieces if piece.kind == staging.TERMS]
            best = term_files.load_terms(mentioned, vocabulary, self._plan.num_review_terms)
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
    pieces: list[staging.Piece],
    plan: Plan,
    parse_tally: tallies.Tally,
) -> tuple[pa.Table, dict[str, int]]:
    """Loads a bucket's rows without repeats, with the column `split`, and counts the drops."""
    if not any(key[:3] == _EVAL_REVIEWS for key in parse_tally.counts):
        pieces = [_share_with_eval(piece) for piece in pieces]
    schema = tables.staged_schema(table, with_text=plan.num_review_terms > 0)
    rows = staging.load_pieces([piece for piece in pieces if piece.kind == staging.ROWS], schema)
    if table == tables.INTERACTIONS:
        # Given files are used as they are.
        keeps_visits = plan.keeps_visits or plan.split_config.method == splits.GIVEN
        rows, drops = deduplication.deduplicate_interactions(rows, keeps_visits)
        cutoffs = splits.temporal_cutoffs(parse_tally.days, plan.split_config)
        split = splits.assign_splits(rows, plan.split_config, cutoffs)
        return rows.drop([splits.GIVEN_SPLIT]).append_column(splits.SPLIT, split), drops
    key = tables.BUCKET_KEYS[table]
    mentioned = staging.load_pieces(
        [piece for piece in pieces if piece.kind == staging.IDS],
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


def _is_of_business(element: tuple[BucketKey, staging.Piece], num_parts: int) -> int:
    """Returns 1 for a piece of the businesses, 0 for others."""
    del num_parts
    (table, _), _ = element
    return int(table == tables.BUSINESSES)


def _share_with_eval(piece: staging.Piece) -> staging.Piece:
    """Marks the rows of a train file as those that eval is carved from."""
    is_train = piece.split == features.TRAIN
    return piece._replace(split=splits.TRAIN_AND_EVAL) if is_train else piece
