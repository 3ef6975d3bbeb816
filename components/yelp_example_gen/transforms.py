"""The Beam pipeline: ranges to staged buckets, buckets to TFRecords, and a tally of it all."""

import dataclasses
import itertools
import json
import logging
import operator
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from apache_beam.typehints import decorators

from components.yelp_example_gen import (
    buckets,
    input_files,
    parsing,
    progress,
    ranges,
    staging,
    storage,
    tables,
    tallies,
)
from components.yelp_example_gen.plan import Plan

TALLY_FILE = "tally.json"

_TALLIES = "tallies"
_STAGED = "staged"
# A file costs a look from each bucket, whatever it holds.
_STAGED_BYTES = 6 << 20
# Just below the largest piece that glibc learns from (DEFAULT_MMAP_THRESHOLD_MAX of malloc).
_LARGE_BYTES = 31 << 20
_LOG = logging.getLogger("t2rec")


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
        write_buckets = (
            buckets.WriteBucketsWithTerms if self.plan.num_review_terms else buckets.WriteBuckets
        )
        bucket_tallies = parsed[_STAGED] | write_buckets(
            self.plan, beam.pvalue.AsSingleton(parse_tally)
        )
        return (
            (parse_tally, bucket_tallies)
            | "FlattenTallies" >> beam.Flatten()
            | "MergeTallies" >> beam.CombineGlobally(tallies.merge_tallies)
            | "WriteTally" >> beam.Map(_write_tally, self.plan.staging_dir).with_output_types(str)
        )


@dataclasses.dataclass(eq=False)
class ParseRanges(beam.PTransform):
    """Parses byte ranges into files of rows by bucket (`staged`) and counts (`tallies`)."""

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
            .with_output_types(staging.StagedFile)
            .with_outputs(_TALLIES, main=_STAGED)
        )


class _ParseRange(beam.DoFn):
    """Parses the lines that a range owns and stages them by bucket."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._num_lines = beam.metrics.Metrics.counter(buckets.NAMESPACE, "lines_in")
        self._num_rows = beam.metrics.Metrics.counter(buckets.NAMESPACE, "rows_parsed")
        self._num_rejects = beam.metrics.Metrics.counter(buckets.NAMESPACE, "lines_rejected")

    def setup(self) -> None:
        """Starts the count that the log shows."""
        self._progress = progress.Progress("read")
        _keep_freed_memory()

    def process(self, byte_range: ranges.ByteRange) -> Iterator[object]:
        """Yields staged files, and tallies on the side."""
        for file, offset, parsed in _parse_range(byte_range, self._plan):
            # Names in the order of the input: the files of a compressed tar share an index.
            name = f"{byte_range.file_index:05d}-{file.start:013d}-{offset:013d}"
            _write_rejects(parsed.rejects, file, name, self._plan)
            yield from _stage_block(parsed, file, name, self._plan)
            yield beam.pvalue.TaggedOutput(_TALLIES, tallies.tally_block(parsed, file))
            self._num_lines.inc(parsed.num_lines)
            self._num_rows.inc(parsed.rows.num_rows)
            self._num_rejects.inc(len(parsed.rejects))
            self._progress.add(file.table, parsed.rows.num_rows)


def _parse_range(
    byte_range: ranges.ByteRange, plan: Plan
) -> Iterator[tuple[input_files.InputFile, int, parsing.ParsedBlock]]:
    """Parses a range block by block.

    Yields:
      Blocks merged until they are worth a file of their own: their file, where they start in it,
      and what became of their lines.
    """
    blocks = ranges.read_blocks(byte_range, min(ranges.BLOCK_BYTES, plan.range_bytes))
    for file, blocks_of_file in itertools.groupby(blocks, operator.attrgetter("file")):
        parsed: list[parsing.ParsedBlock] = []
        offset, num_bytes = 0, 0
        for block in blocks_of_file:
            offset = offset if parsed else block.offset
            parsed.append(
                parsing.parse_block(
                    file.table,
                    block.data,
                    block.offset,
                    block.damage,
                    with_text=plan.num_review_terms > 0,
                )
            )
            if block.damage:
                _LOG.warning("%s can't be read to its end: %s", file.name, block.damage)
            num_bytes += parsed[-1].rows.nbytes
            if num_bytes >= _STAGED_BYTES:
                yield file, offset, parsing.merge_blocks(parsed)
                parsed, num_bytes = [], 0
        if parsed:
            yield file, offset, parsing.merge_blocks(parsed)


def _stage_block(
    parsed: parsing.ParsedBlock, file: input_files.InputFile, name: str, plan: Plan
) -> Iterator[staging.StagedFile]:
    """Stages a block's rows, and the ids of other tables that they mention."""
    if not parsed.rows.num_rows:
        return
    staged = [(file.table, parsed.rows, staging.ROWS)]
    if file.table == tables.INTERACTIONS:
        staged += [
            (table, staging.mentioned_ids(parsed.rows, table), staging.IDS)
            for table in (tables.USERS, tables.BUSINESSES)
        ]
    for table, rows, kind in staged:
        path = storage.join(plan.staging_dir, f"{table}-{kind}-{name}.arrow")
        staging.stage_rows(
            rows, tables.BUCKET_KEYS[table], plan.num_buckets[table], path, plan.staging_dir
        )
        yield staging.StagedFile(path, table, file.split, kind)


def _keep_freed_memory() -> None:
    """Has the C library keep what arrays free for the next arrays.

    Until glibc has seen so large a piece freed it gives each array of a block back to the system,
    and the next block's pages must be found and zeroed anew: a twelfth of the CPU time of reviews.
    """
    np.empty(_LARGE_BYTES, np.uint8)


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
