"""The folder of a batch job: whose output it holds, what is done, and what is still to do.

- `part-FFFFF-CCCCC.parquet` holds the output of chunk C of input file F, and in its footer what
  was counted. It appears whole, so that a part that is there is done.
- `_rejects-FFFFF-CCCCC.jsonl`, where a chunk has malformed rows: `file`, `row` (from 1), `reason`
  and `record`.
- `_job.json` says what was asked, and `_summary.json`, written last, what came out.
- `_ids-FFFFF-CCCCC` and `_plan.json`, the input cut into chunks, are there until the job is done.

Readers of Parquet take a folder for one table and skip names with an underscore.
"""

import dataclasses
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from models.errors import InputError
from serving.row_sources import Chunk

_JOB, _PLAN, _SUMMARY = "_job.json", "_plan.json", "_summary.json"
_COUNTS_KEY = b"t2rec.counts"
# Rows of the output that are held before they are written, as a row group.
_HELD_ROWS = 1 << 17


@dataclasses.dataclass(frozen=True)
class StagedChunk:
    """A chunk of the input that waits in the folder.

    Attributes:
      name: Unique within a job, and the same whenever the input is read again.
      num_rows: Its good rows.
      num_rejects: Its malformed rows.
    """

    name: str
    num_rows: int
    num_rejects: int


@dataclasses.dataclass(frozen=True)
class JobFolder:
    """Reads and writes the files of one job; those of another are refused.

    Attributes:
      path: The folder, on any filesystem that Beam knows.
    """

    path: str

    def claim(self, job: Mapping[str, Any]) -> None:
        """Makes the folder that of a job, or finds that it is.

        Args:
          job: All that the output depends on, as JSON takes it.

        Raises:
          InputError: If the folder holds the output of something else.
        """
        # As it will be read back.
        asked = json.loads(json.dumps(job))
        earlier = self._read_json(_JOB)
        if earlier == asked:
            return
        advice = "Remove the earlier output or choose another --out."
        if earlier is not None:
            changes = "; ".join(
                f"{key} was {json.dumps(earlier.get(key))} and is {json.dumps(asked.get(key))}"
                for key in sorted(earlier.keys() | asked.keys())
                if earlier.get(key) != asked.get(key)
            )
            raise InputError(
                f"Expected {self.path!r} to hold output of the same job or none; got that of "
                f"another one: {changes}. {advice}"
            )
        if unknown := [path for name in ("part-*", "_rejects-*") for path in self._match(name)]:
            raise InputError(
                f"Expected a folder for output without any; got {unknown[0]!r}. {advice}"
            )
        self._write_json(_JOB, asked)

    def stage(self, chunk: Chunk, columns: Iterable[str]) -> StagedChunk:
        """Writes a chunk of the input where any worker finds it, and its rejects.

        Args:
          chunk: The chunk.
          columns: Names of its columns.
        """
        arrays = [pa.array(column, pa.string()) for column in chunk.columns]
        ids = pa.table(arrays, names=list(columns))
        self._publish(f"_ids-{chunk.name}", lambda stream: pq.write_table(ids, stream))
        if chunk.rejects:
            lines = "".join(f"{json.dumps(reject)}\n" for reject in chunk.rejects).encode()
            self._publish(f"_rejects-{chunk.name}.jsonl", lambda stream: stream.write(lines))
        return StagedChunk(chunk.name, chunk.num_rows, len(chunk.rejects))

    def read_ids(self, chunk: StagedChunk) -> pa.Table:
        """Reads a staged chunk."""
        with _open(self._join(f"_ids-{chunk.name}")) as stream:
            return pq.read_table(stream)

    def write_plan(self, chunks: Iterable[StagedChunk]) -> None:
        """Records that all of the input is staged."""
        ordered = sorted(chunks, key=lambda chunk: chunk.name)
        self._write_json(_PLAN, [dataclasses.asdict(chunk) for chunk in ordered])

    def read_plan(self) -> list[StagedChunk] | None:
        """Lists the chunks of the input in order; None if it is not staged yet."""
        plan = self._read_json(_PLAN)
        return None if plan is None else [StagedChunk(**chunk) for chunk in plan]

    def write_part(
        self, chunk: StagedChunk, tables: Iterable[pa.Table], schema: pa.Schema, counts: Mapping
    ) -> int:
        """Writes what was made of a chunk.

        Args:
          chunk: The chunk.
          tables: Its output.
          schema: Of the tables.
          counts: What `read_counts` shall return beside the number of rows.

        Returns:
          The number of rows.
        """
        described = schema.with_metadata({_COUNTS_KEY: json.dumps(counts)})
        num_rows = 0

        def write(stream: BinaryIO) -> None:
            nonlocal num_rows
            with pq.ParquetWriter(stream, described) as writer:
                for table in _merged(tables):
                    writer.write_table(table.replace_schema_metadata(described.metadata))
                    num_rows += table.num_rows

        self._publish(_part(chunk.name), write)
        return num_rows

    def read_counts(self, chunk: StagedChunk) -> dict[str, int] | None:
        """Reads what was counted of a part: `rows` and what else `write_part` was given.

        Returns:
          The counts; None if the part is not there.
        """
        path = self._join(_part(chunk.name))
        if not FileSystems.exists(path):
            return None
        with _open(path) as stream:
            footer = pq.read_metadata(stream)
        return {"rows": footer.num_rows, **json.loads(footer.metadata[_COUNTS_KEY])}

    def part_names(self) -> set[str]:
        """Lists the chunks whose parts are there."""
        names = (FileSystems.split(path)[1] for path in self._match("part-*.parquet"))
        return {name.removeprefix("part-").removesuffix(".parquet") for name in names}

    def write_summary(self, summary: dict[str, int]) -> None:
        """Records that the job is done."""
        self._write_json(_SUMMARY, summary)

    def read_summary(self) -> dict[str, int] | None:
        """Reads what came out; None if the job is not done."""
        return self._read_json(_SUMMARY)

    def clear(self) -> None:
        """Removes what a finished job needs no more, and what processes that were killed left."""
        if leftovers := [
            path for name in ("_ids-*", "_tmp-*", _PLAN) for path in self._match(name)
        ]:
            FileSystems.delete(leftovers)

    def _read_json(self, name: str) -> Any:
        path = self._join(name)
        if not FileSystems.exists(path):
            return None
        with _open(path) as stream:
            return json.loads(stream.read())

    def _write_json(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=2).encode()
        self._publish(name, lambda stream: stream.write(text))

    def _publish(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
        """Writes a file under a temporary name and renames it, so that it is whole or not there."""
        temporary = self._join(f"_tmp-{uuid.uuid4().hex}")
        raw = CompressionTypes.UNCOMPRESSED
        with FileSystems.create(temporary, compression_type=raw) as stream:
            write(stream)
        FileSystems.rename([temporary], [self._join(name)])

    def _match(self, name: str) -> list[str]:
        (match,) = FileSystems.match([self._join(name)])
        return [file.path for file in match.metadata_list]

    def _join(self, name: str) -> str:
        return FileSystems.join(self.path, name)


def _part(name: str) -> str:
    return f"part-{name}.parquet"


def _open(path: str) -> BinaryIO:
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _merged(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Joins small tables to ones of `_HELD_ROWS` or a little more."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(part.num_rows for part in held) >= _HELD_ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
