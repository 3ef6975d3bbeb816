import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import InputError
from serving.job_folder import JobFolder, StagedChunk
from serving.row_sources import Chunk

SCHEMA = pa.schema([pa.field("user_id", pa.string(), nullable=False)])


@pytest.fixture
def folder(tmp_path):
    return JobFolder(str(tmp_path / "job"))


def _users(*ids):
    return pa.table([list(ids)], SCHEMA)


def test_a_folder_is_claimed_by_one_job(folder):
    # What JSON does not keep apart is the same.
    folder.claim({"k": 3, "inputs": [("a", 1)]})
    folder.claim({"inputs": [["a", 1]], "k": 3})
    with pytest.raises(InputError, match=r'another one: city was null and is "x"; k was 3 and is'):
        folder.claim({"k": 4, "inputs": [["a", 1]], "city": "x"})


def test_chunks_are_staged_and_planned(folder):
    chunks = [
        folder.stage(Chunk(name, (["a", "b"], ["x", "y"]), rejects), ["user_id", "business_id"])
        for name, rejects in (("00000-00001", []), ("00000-00000", [{"row": 3}]))
    ]
    assert folder.read_plan() is None
    folder.write_plan(chunks)
    plan = folder.read_plan()
    assert plan == [StagedChunk("00000-00000", 2, 1), StagedChunk("00000-00001", 2, 0)]
    ids = folder.read_ids(plan[0])
    assert ids.to_pydict() == {"user_id": ["a", "b"], "business_id": ["x", "y"]}


def test_parts_tell_what_was_counted(folder, tmp_path):
    chunk = StagedChunk("00000-00007", 3, 0)
    assert folder.read_counts(chunk) is None
    rows = folder.write_part(chunk, [_users("a"), _users("b", "c")], SCHEMA, {"unknown": 2})
    assert rows == 3
    assert folder.read_counts(chunk) == {"rows": 3, "unknown": 2}
    assert folder.part_names() == {"00000-00007"}
    part = pq.read_table(tmp_path / "job" / "part-00000-00007.parquet")
    assert part.to_pydict() == {"user_id": ["a", "b", "c"]}
    assert part.schema.equals(SCHEMA)


def test_a_part_that_fails_is_not_there(folder, tmp_path):
    def tables():
        yield _users(*("a" for _ in range(200_000)))
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        folder.write_part(StagedChunk("00000-00000", 1, 0), tables(), SCHEMA, {})
    assert folder.part_names() == set()
    (left,) = (tmp_path / "job").iterdir()
    assert left.name.startswith("_tmp-")
    folder.clear()
    assert not list((tmp_path / "job").iterdir())


def test_what_a_reader_needs_outlives_the_job(folder, tmp_path):
    folder.claim({"k": 1})
    chunk = folder.stage(Chunk("00000-00000", (["a"],), [{"row": 2}]), ["user_id"])
    folder.write_plan([chunk])
    folder.write_part(chunk, [_users("a")], SCHEMA, {})
    folder.write_summary({"users": 1})
    folder.clear()
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == [
        "_job.json",
        "_rejects-00000-00000.jsonl",
        "_summary.json",
        "part-00000-00000.parquet",
    ]
    assert folder.read_summary() == {"users": 1}
    assert json.loads((tmp_path / "job" / "_job.json").read_text()) == {"k": 1}
