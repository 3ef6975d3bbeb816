"""What an ingestion is to do, as all its workers are told."""

import dataclasses

from components.yelp_example_gen import input_files, ranges
from models.options import SplitOptions


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
      num_review_terms: The most terms that a business gets out of its training reviews; at 0
        nobody reads their texts.
    """

    files: tuple[input_files.Input, ...]
    split_config: SplitOptions
    split_dirs: dict[str, dict[str, str]]
    rejects_dir: str
    staging_dir: str
    num_buckets: dict[str, int]
    keeps_visits: bool = False
    range_bytes: int = ranges.RANGE_BYTES
    num_review_terms: int = 0
