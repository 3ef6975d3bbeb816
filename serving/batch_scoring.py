"""Scores users and pairs in bulk on Beam: ids in, Parquet out.

The input is cut into chunks, which are written to the folder of the output; then each chunk becomes
a part. So memory is the same for any input, a worker may take any chunk, and a job that was killed
goes on with the parts that are missing: see `serving.job_folder`.

Columns, in this order: recommendations have `user_id` string, `rank` int32 (from 1), `business_id`
string, `score` float32 and `rating` float32 (stars), a row each; pairs have `user_id` string,
`business_id` string and `rating` float32 (stars). No column holds nulls.
"""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils import shared

from models import features
from models.exported_tables import USER_IDS_FILE
from models.recommender import RECOMMEND
from models.signature_inputs import checked
from serving.bulk_scorers import (
    PAIR_SCHEMA,
    RECOMMENDATION_SCHEMA,
    Scorer,
    load_scorer,
)
from serving.errors import InvalidRequestError, reason
from serving.job_folder import JobFolder, StagedChunk
from serving.job_progress import JobProgress
from serving.model_folders import SAVED_MODEL, VARIABLES, find_version
from serving.questions import Filters
from serving.row_sources import Source, find_sources, read_chunks
from serving.signatures import read_saved_model

# Stands for all users of the export.
ALL_USERS = "all"

_NO_FILTERS = Filters()

# The files of a model that tell it from another one.
_MODEL_FILES = (SAVED_MODEL, f"{VARIABLES}.index")

# Rows of a chunk, which is what a worker takes, what a kill may lose, and a file of the output:
# some seconds of work.
_USERS_A_CHUNK = 8_192
_PAIRS_A_CHUNK = 1 << 18


def score_users(
    model: str,
    users: str,
    out: str,
    filters: Filters = _NO_FILTERS,
    pipeline_options: PipelineOptions | None = None,
) -> dict[str, int]:
    """Recommends businesses to each of many users, or goes on where a killed job stopped.

    Args:
      model: As `serving.model_folders.find_version` takes it.
      users: Path or glob of files with a `user_id` each row, as `find_sources` takes it, or "all"
        for all users of the model.
      out: Folder of the output, without output of another job.
      filters: What lists may hold, how long they are, and how they are ordered.
      pipeline_options: Beam's options.

    Returns:
      Counts: `users` scored, `rows` written, `unknown` users, who got a newcomer's answer, and
      `rejected` rows.

    Raises:
      InputError: If there is no model, no input, or there is output of another job.
      InvalidRequestError: If the model does not take the filters.
    """
    path = find_version(model)
    _check_filters(path, filters)
    pattern = os.path.join(path, USER_IDS_FILE) if users == ALL_USERS else users
    task = _Recommend(path, filters)
    return _run(find_sources(pattern, task.columns), task, JobFolder(out), pipeline_options)


def _check_filters(path: str, filters: Filters) -> None:
    """Refuses at once, in its words, what the model would refuse of every chunk."""
    signature = read_saved_model(os.path.join(path, SAVED_MODEL)).signatures[RECOMMEND]
    nobody: list[str] = []
    given = signature.convert({features.USER_ID: nobody, **filters.inputs()})
    inputs = dict(zip(signature.inputs, signature.complete(given), strict=True))
    del inputs[features.USER_ID]
    values = {name: tf.constant(value) for name, value in inputs.items()}
    try:
        tf.function(checked, autograph=False)(values, tf.constant(1))
    except tf.errors.InvalidArgumentError as error:
        raise InvalidRequestError(reason(error)) from error


def fingerprint_users(users: str) -> str:
    """Digests names, sizes and times of files of users.

    Args:
      users: As `score_users` takes it, but for "all".

    Raises:
      InputError: If there is none, or one has no `user_id`.
    """
    return _digest(map(repr, find_sources(users, _Recommend.columns)))


def score_pairs(
    model: str, pairs: str, out: str, pipeline_options: PipelineOptions | None = None
) -> dict[str, int]:
    """Predicts the stars of many pairs, or goes on where a killed job stopped.

    Args:
      model: As `serving.model_folders.find_version` takes it.
      pairs: Path or glob of CSV, JSON-lines or Parquet files with `user_id` and `business_id`.
      out: Folder of the output, without output of another job.
      pipeline_options: Beam's options.

    Returns:
      Counts: `pairs` scored, `rows` written, one a pair, `unknown` pairs, whose user or business
      the model doesn't know, and `rejected` rows.

    Raises:
      InputError: If there is no model, no input, or there is output of another job.
    """
    task = _Rate(find_version(model))
    return _run(find_sources(pairs, task.columns), task, JobFolder(out), pipeline_options)


@dataclasses.dataclass(frozen=True)
class _Recommend:
    """What is asked about users."""

    model_path: str
    filters: Filters

    noun = "users"
    columns = (features.USER_ID,)
    schema = RECOMMENDATION_SCHEMA
    chunk_rows = _USERS_A_CHUNK

    def load(self) -> Scorer:
        return load_scorer(self.model_path, self.filters)

    def score(self, scorer: Scorer, ids: Sequence[pa.StringArray]) -> Iterator[pa.Table]:
        (user_ids,) = ids
        return scorer.recommend(user_ids)

    def describe(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self.filters),
            # There may be many.
            "exclude_business_ids": _digest(sorted(set(self.filters.exclude_business_ids))),
        }


@dataclasses.dataclass(frozen=True)
class _Rate:
    """What is asked about pairs."""

    model_path: str

    noun = "pairs"
    columns = (features.USER_ID, features.BUSINESS_ID)
    schema = PAIR_SCHEMA
    chunk_rows = _PAIRS_A_CHUNK

    def load(self) -> Scorer:
        return load_scorer(self.model_path, _NO_FILTERS)

    def score(self, scorer: Scorer, ids: Sequence[pa.StringArray]) -> Iterator[pa.Table]:
        user_ids, business_ids = ids
        return scorer.rate(user_ids, business_ids)

    def describe(self) -> dict[str, Any]:
        return {}


_Task = _Recommend | _Rate


def _run(
    sources: Sequence[Source], task: _Task, folder: JobFolder, options: PipelineOptions | None
) -> dict[str, int]:
    """Does what is left of a job, and returns the counts of all of it."""
    folder.claim(_describe(sources, task))
    if folder.read_summary() is None:
        if folder.read_plan() is None:
            with beam.Pipeline(options=options) as pipeline:
                _ = pipeline | "StageSources" >> StageSources(sources, task.chunk_rows, folder)
        chunks = folder.read_plan() or []
        with JobProgress(folder, chunks, task.noun), beam.Pipeline(options=options) as pipeline:
            _ = pipeline | "ScoreChunks" >> ScoreChunks(chunks, task, folder)
    folder.clear()
    return folder.read_summary() or {}


def _describe(sources: Sequence[Source], task: _Task) -> dict[str, Any]:
    """Lists all that the output depends on."""
    files = [os.path.join(task.model_path, file) for file in _MODEL_FILES]
    return {
        "task": task.noun,
        "model": [
            (file.path, file.size_in_bytes, file.last_updated_in_seconds)
            for match in FileSystems.match(files)
            for file in match.metadata_list
        ],
        **task.describe(),
        "inputs": [(source.path, source.num_bytes, source.modified_seconds) for source in sources],
        "rows_a_part": task.chunk_rows,
    }


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


# Beam sets the label of a transform while it is applied, so that it can't be frozen.
@dataclasses.dataclass(eq=False)
class StageSources(beam.PTransform):
    """Cuts files of ids into chunks in a job's folder, and writes its plan."""

    sources: Sequence[Source]
    chunk_rows: int
    folder: JobFolder

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[None]:
        """Builds the graph."""
        return (
            pipeline
            | "ListSources" >> beam.Create(self.sources)
            | "ShuffleSources" >> beam.Reshuffle()
            | "StageChunks" >> beam.FlatMap(_stage, self.chunk_rows, self.folder)
            # Three values a chunk, not its ids.
            | "ListChunks" >> beam.combiners.ToList()
            | "WritePlan" >> beam.Map(self.folder.write_plan)
        )


def _stage(source: Source, chunk_rows: int, folder: JobFolder) -> Iterator[StagedChunk]:
    for chunk in read_chunks(source, chunk_rows):
        yield folder.stage(chunk, source.columns)


@dataclasses.dataclass(eq=False)
class ScoreChunks(beam.PTransform):
    """Makes the parts that are missing of chunks, and writes the summary of all."""

    chunks: Sequence[StagedChunk]
    task: _Task
    folder: JobFolder

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[None]:
        """Builds the graph."""
        return (
            pipeline
            | "ListChunks" >> beam.Create(self.chunks)
            | "ShuffleChunks" >> beam.Reshuffle()
            | "ScoreChunk" >> beam.ParDo(_ScoreChunk(self.task, self.folder))
            | "AddCounts" >> beam.CombineGlobally(add_counts)
            | "WriteSummary" >> beam.Map(self.folder.write_summary)
        )


def add_counts(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Adds up counts by name."""
    total: collections.Counter[str] = collections.Counter()
    for part in counts:
        total.update(part)
    return dict(total)


class _ScoreChunk(beam.DoFn):
    """Makes a chunk's part, unless it is there; yields its counts."""

    def __init__(self, task: _Task, folder: JobFolder):
        self._task = task
        self._folder = folder
        self._handle = shared.Shared()
        names = ("rows", "unknown", "rejected", "parts_kept")
        self._counters = {name: Metrics.counter("batch_scoring", name) for name in names}

    def setup(self) -> None:
        self._scorer = self._handle.acquire(self._task.load)

    def process(self, chunk: StagedChunk) -> Iterator[dict[str, int]]:
        found = self._folder.read_counts(chunk)
        if found is None:
            found = self._score(chunk)
        else:
            self._counters["parts_kept"].inc()
        counts = {**found, "rejected": chunk.num_rejects}
        for name, count in counts.items():
            self._counters[name].inc(count)
        yield {self._task.noun: chunk.num_rows, **counts}

    def _score(self, chunk: StagedChunk) -> dict[str, int]:
        ids = [column.combine_chunks() for column in self._folder.read_ids(chunk).columns]
        counts = {"unknown": self._scorer.count_unknown(*ids)}
        tables = self._task.score(self._scorer, ids)
        rows = self._folder.write_part(chunk, tables, self._task.schema, counts)
        return {"rows": rows, **counts}
