"""Statistics of TFRecord files: of every row, or of evenly spaced ones where there are many."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.coders import example_coder

_BATCH_ROWS = 10_000


@dataclasses.dataclass(frozen=True)
class TableStatistics:
    """What a split looks like.

    Attributes:
      proto: The statistics as TFX stores them.
      num_rows: Rows of the split.
      num_sampled: Rows that the statistics were computed from.
    """

    proto: statistics_pb2.DatasetFeatureStatisticsList
    num_rows: int
    num_sampled: int

    @property
    def margin(self) -> float:
        """The 95 % margin of error of any proportion, at most 1/√n; 0 if every row was seen."""
        return 0.0 if self.num_sampled == self.num_rows else 1 / math.sqrt(self.num_sampled)


def describe(
    files: Sequence[str], schema: schema_pb2.Schema, max_rows: int, batch_rows: int = _BATCH_ROWS
) -> TableStatistics:
    """Computes the statistics of a split.

    Args:
      files: Paths of uncompressed TFRecord files of tf.Examples.
      schema: What tells a category from a number.
      max_rows: If there are more rows, every n-th is taken, n the smallest that leaves no more.
      batch_rows: Rows that are decoded at once.
    """
    num_rows = count_rows(files)
    rows = tf.data.TFRecordDataset(list(files)).shard(max(1, math.ceil(num_rows / max_rows)), 0)
    generators = stats_impl.get_generators(tfdv.StatsOptions(schema=schema), in_memory=True)
    partial = [generator.create_accumulator() for generator in generators]
    # Without a schema the decoder keeps features that the schema does not know: an anomaly.
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    num_sampled = 0
    for examples in rows.batch(batch_rows).as_numpy_iterator():
        batch = decoder.DecodeBatch(list(examples))
        num_sampled += batch.num_rows
        partial = [
            generator.add_input(accumulator, batch)
            for generator, accumulator in zip(generators, partial, strict=True)
        ]
    proto = stats_impl.extract_statistics_output(partial, generators)
    return TableStatistics(proto, num_rows, num_sampled)


def count_rows(files: Sequence[str]) -> int:
    """Counts the records of TFRecord files.

    Args:
      files: Paths of uncompressed TFRecord files.
    """
    batches = tf.data.TFRecordDataset(list(files)).batch(_BATCH_ROWS)
    return sum(len(batch) for batch in batches.as_numpy_iterator())
