import logging
import time

import pyarrow as pa
import pytest

from serving import job_progress
from serving.job_folder import JobFolder
from serving.job_progress import JobProgress
from serving.row_sources import Chunk

SCHEMA = pa.schema([("user_id", pa.string())])


@pytest.fixture
def told(monkeypatch, caplog):
    """Looks without pause; returns what was told."""
    monkeypatch.setattr(job_progress, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(job_progress, "_TELL_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "t2rec")
    return lambda: [record.getMessage() for record in caplog.records]


def _wait_for(told, text):
    deadline = time.monotonic() + 20
    while not any(text in line for line in told()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.01)


def test_tells_what_is_done_as_parts_appear(tmp_path, told):
    folder = JobFolder(str(tmp_path))
    chunks = [
        folder.stage(Chunk(f"00000-{number:05d}", (["u"] * 1_000,), []), ["user_id"])
        for number in range(4)
    ]

    def finish(chunk):
        folder.write_part(chunk, [], SCHEMA, {})

    finish(chunks[0])
    with JobProgress(folder, chunks, "users"):
        finish(chunks[2])
        _wait_for(told, "2,000 of 4,000 users, ")
        finish(chunks[1])
        finish(chunks[3])
        _wait_for(told, "4,000 of 4,000 users, ")
    first, *lines = told()
    assert first == "1,000 users were done before"
    assert lines[-1].endswith(" a second, 0 s left")
    # Half-written and strange files count nothing, and nothing is told twice.
    assert len(set(lines)) == len(lines) <= 3


def test_is_silent_about_what_takes_no_time(tmp_path, told):
    with JobProgress(JobFolder(str(tmp_path)), [], "users"):
        pass
    assert told() == []
