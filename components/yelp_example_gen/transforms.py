"""The Beam pipeline: ranges to staged buckets, buckets to TFRecords, and a tally of it all."""

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator

import apache_beam as beam
import polars as pl
from apache_beam.typehints import decorators

from components.yelp_example_gen import (
    deduplication,
    input_files,
    parsing,
    ranges,
    splits,
    staging,
    storage,
    tables,
    tallies,
    tfrecords,
)
from models import features
from models.options import SplitOptions

TALLY_FILE = "tally.json"
SHARD_PREFIX = "data_tfrecord"

_NAMESPACE = "t2rec.YelpExampleGen"
_TALLIES = "tallies"
_PIECES = "pieces"
_EVAL_REVIEWS = (tallies.FOUND, tables.INTERACTIONS, features.EVAL)
_LOG_EVERY_ROWS = 200_000
_LOG = logging.getLogger("t2rec")

BucketKey = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Says what to read, how to split it and where to write.

    Attributes:
      files: The inputs, in the order of their rows.
      split_config: How the interactions are split.
      split_dirs: The existing directory of each table's splits: by table, then by split.
      rejects_dir: The existing directory of the rejected lines.
      staging_dir: An existing, empty directory for intermediate files.
      num_buckets: The number of buckets, by table.
      keeps_visits: Whether all of a user's reviews of a business are kept, not just the latest.
      range_bytes: The length of the ranges that are read at once.
    """

    files: tuple[input_files.Input, ...]
    split_config: SplitOptions
    split_dirs: dict[str, dict[str, str]]
    rejects_dir: str
    staging_dir: str
    num_buckets: dict[str, int]
    keeps_visits: bool = False
    range_bytes: int = ranges.RANGE_BYTES


# Beam sets the label of a transform while it is applied, so that the transforms themselves can't
# be frozen; the plan that configures them is.
@dataclasses.dataclass(eq=False)
class IngestFiles(beam.PTransform):
    """Reads the files of a plan, writes its outputs and leaves the tally in `TALLY_FILE`."""

    plan: Plan

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[str]:
        """Builds the graph; its output is the path of the tally."""
        byte_ranges = ranges.list_ranges(self.plan.files, self.plan.range_bytes)
        parsed = pipeline | "ListRanges" >> beam.Create(byte_ranges) | ParseRanges(self.plan)
        # The splits need the histogram of all days, so that buckets wait for the last range.
        parse_tally = parsed[_TALLIES] | "MergeParseTallies" >> beam.CombineGlobally(
            tallies.merge_tallies
        )
        bucket_tallies = (
            parsed[_PIECES]
            | "GroupByBucket" >> beam.GroupByKey()
            | WriteBuckets(self.plan, beam.pvalue.AsSingleton(parse_tally))
        )
        return (
            (parse_tally, bucket_tallies)
            | "FlattenTallies" >> beam.Flatten()
            | "MergeTallies" >> beam.CombineGlobally(tallies.merge_tallies)
            | "WriteTally" >> beam.Map(_write_tally, self.plan.staging_dir).with_output_types(str)
        )


@dataclasses.dataclass(eq=False)
class ParseRanges(beam.PTransform):
    """Parses byte ranges into staged pieces by bucket (`pieces`) and counts (`tallies`)."""

    plan: Plan

    @decorators.no_annotations  # Beam's own check can't express several outputs
    def expand(self, byte_ranges: beam.PCollection[ranges.ByteRange]) -> beam.pvalue.DoOutputsTuple:
        """Builds the graph."""
        return (
            byte_ranges
            | "ShuffleRanges" >> beam.Reshuffle()
            | "ParseRange"
            >> beam
            .ParDo(_ParseRange(self.plan))
            .with_output_types(tuple[BucketKey, staging.Piece])
            .with_outputs(_TALLIES, main=_PIECES)
        )


@dataclasses.dataclass(eq=False)
class WriteBuckets(beam.PTransform):
    """Writes the TFRecords of each bucket; its output are the counts."""

    plan: Plan
    parse_tally: beam.pvalue.AsSingleton

    def expand(
        self, buckets: beam.PCollection[tuple[BucketKey, Iterable[staging.Piece]]]
    ) -> beam.PCollection[tallies.Tally]:
        """Builds the graph."""
        return buckets | "WriteBucket" >> beam.ParDo(
            _WriteBucket(self.plan), self.parse_tally
        ).with_output_types(tallies.Tally)


class _ParseRange(beam.DoFn):
    """Parses the lines that a range owns and stages them by bucket."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._num_lines = beam.metrics.Metrics.counter(_NAMESPACE, "lines_in")
        self._num_rows = beam.metrics.Metrics.counter(_NAMESPACE, "rows_parsed")
        self._num_rejects = beam.metrics.Metrics.counter(_NAMESPACE, "lines_rejected")

    def setup(self) -> None:
        """Starts the count that the log shows."""
        self._progress = _Progress("read")

    def process(self, byte_range: ranges.ByteRange) -> Iterator[object]:
        """Yields (bucket key, piece) pairs, and tallies on the side."""
        for block in ranges.read_blocks(byte_range, self._plan.range_bytes):
            file = block.file
            parsed = parsing.parse_block(file.table, block.data, block.offset, block.damage)
            if block.damage:
                _LOG.warning("%s can't be read to its end: %s", file.name, block.damage)
            # Names in the order of the input: the files of a compressed tar share an index.
            name = f"{byte_range.file_index:05d}-{file.start:013d}-{block.offset:013d}"
            _write_rejects(parsed.rejects, file, name, self._plan)
            yield from _stage_block(parsed, file, name, self._plan)
            yield beam.pvalue.TaggedOutput(_TALLIES, tallies.tally_block(parsed, file))
            self._num_lines.inc(parsed.num_lines)
            self._num_rows.inc(parsed.rows.num_rows)
            self._num_rejects.inc(len(parsed.rejects))
            self._progress.add(file.table, parsed.rows.num_rows)


class _WriteBucket(beam.DoFn):
    """Removes repeats, assigns splits and writes the TFRecords of one bucket."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._num_written = beam.metrics.Metrics.counter(_NAMESPACE, "rows_out")
        self._num_dropped = beam.metrics.Metrics.counter(_NAMESPACE, "rows_dropped")

    def setup(self) -> None:
        """Starts the count that the log shows."""
        self._progress = _Progress("wrote")

    def process(
        self, element: tuple[BucketKey, Iterable[staging.Piece]], parse_tally: tallies.Tally
    ) -> Iterator[tallies.Tally]:
        """Yields the tally of the bucket."""
        (table, bucket), pieces = element
        frame, drops = _load_bucket(table, pieces, self._plan, parse_tally)
        for split, split_dir in self._plan.split_dirs[table].items():
            rows = frame.filter(pl.col(splits.SPLIT) == split).drop(splits.SPLIT)
            if rows.height:
                path = storage.join(split_dir, f"{SHARD_PREFIX}-{bucket:05d}")
                storage.publish(path, tfrecords.encode_frame(rows), self._plan.staging_dir)
        self._num_written.inc(frame.height)
        self._num_dropped.inc(sum(drops.values()) - drops.get(deduplication.UNKNOWN_IDS, 0))
        self._progress.add(table, frame.height)
        yield tallies.tally_bucket(table, frame, drops)


class _Progress:
    """Logs how many rows this process has handled, now and then."""

    def __init__(self, verb: str):
        self._verb = verb
        self._num_rows = dict.fromkeys(tables.SCHEMAS, 0)

    def add(self, table: str, num_rows: int) -> None:
        """Counts rows, and logs when a round number is passed."""
        before = self._num_rows[table]
        after = self._num_rows[table] = before + num_rows
        if after // _LOG_EVERY_ROWS > before // _LOG_EVERY_ROWS:
            _LOG.info("%s %.1f M %s", self._verb, after / 1e6, table)


def _stage_block(
    parsed: parsing.ParsedBlock, file: input_files.InputFile, name: str, plan: Plan
) -> Iterator[tuple[BucketKey, staging.Piece]]:
    """Stages a block's rows, and the ids of other tables that they mention."""
    if not parsed.rows.num_rows:
        return
    staged = [(file.table, parsed.rows, False)]
    if file.table == tables.INTERACTIONS:
        staged += [
            (table, staging.mentioned_ids(parsed.rows, table), True)
            for table in (tables.USERS, tables.BUSINESSES)
        ]
    for table, rows, only_ids in staged:
        kind = f"{table}-ids" if only_ids else table
        path = storage.join(plan.staging_dir, f"{kind}-{name}.arrow")
        buckets = staging.stage_rows(
            rows, tables.BUCKET_KEYS[table], plan.num_buckets[table], path, plan.staging_dir
        )
        for bucket in buckets:
            yield (table, bucket), staging.Piece(path, bucket, file.split, only_ids)


def _load_bucket(
    table: str,
    pieces: Iterable[staging.Piece],
    plan: Plan,
    parse_tally: tallies.Tally,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Loads a bucket's rows without repeats, with the column `split`, and counts the drops."""
    pieces = list(pieces)
    if not any(key[:3] == _EVAL_REVIEWS for key in parse_tally.counts):
        pieces = [_share_with_eval(piece) for piece in pieces]
    schema = tables.SCHEMAS[table]
    rows = staging.load_pieces([piece for piece in pieces if not piece.only_ids], schema)
    if table == tables.INTERACTIONS:
        # Given files are used as they are.
        keeps_visits = plan.keeps_visits or plan.split_config.method == splits.GIVEN
        rows, drops = deduplication.deduplicate_interactions(rows, keeps_visits)
        cutoffs = splits.temporal_cutoffs(parse_tally.days, plan.split_config)
        split = splits.assign_splits(rows, plan.split_config, cutoffs)
        return rows.drop(splits.GIVEN_SPLIT).with_columns(split), drops
    key = tables.BUCKET_KEYS[table]
    mentioned = staging.load_pieces(
        [piece for piece in pieces if piece.only_ids], schema.empty_table().select([key]).schema
    )
    rows = rows.drop(splits.GIVEN_SPLIT)
    rows, drops = deduplication.complete_entities(rows, mentioned, key)
    return rows.with_columns(pl.lit(features.ALL).alias(splits.SPLIT)), drops


def _share_with_eval(piece: staging.Piece) -> staging.Piece:
    """Marks the rows of a train file as those that eval is carved from."""
    is_train = piece.split == features.TRAIN
    return piece._replace(split=splits.TRAIN_AND_EVAL) if is_train else piece


def _write_rejects(
    rejects: list[parsing.Reject], file: input_files.InputFile, name: str, plan: Plan
) -> None:
    """Writes a block's rejected lines, one JSON object each."""
    if rejects:
        lines = (
            json.dumps({"file": file.name, **dataclasses.asdict(reject)}) + "\n"
            for reject in rejects
        )
        path = storage.join(plan.rejects_dir, f"rejects-{name}.jsonl")
        storage.publish(path, (line.encode() for line in lines), plan.staging_dir)


def _write_tally(tally: tallies.Tally, staging_dir: str) -> str:
    """Writes the merged tally for the process that started the pipeline."""
    path = storage.join(staging_dir, TALLY_FILE)
    storage.publish(path, [tally.to_json().encode()], staging_dir)
    return path
