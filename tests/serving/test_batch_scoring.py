import gzip
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import duckdb
import numpy as np
import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from models.errors import InputError
from serving import batch_scoring
from serving.batch_scoring import score_pairs, score_users
from serving.client import LocalClient
from serving.errors import InvalidRequestError
from serving.job_folder import JobFolder
from serving.questions import Filters
from serving.row_sources import Chunk


@pytest.fixture(scope="module")
def client(exact_export):
    return LocalClient(exact_export.path)


def _lines(users, client, **arguments):
    """Lists what the output must hold, as a client answers."""
    return [
        (user, rank, r.business_id, np.float32(r.score), np.float32(r.rating))
        for user, row in zip(users, client.recommend(users, **arguments), strict=True)
        for rank, r in enumerate(row, start=1)
    ]


def _names(out):
    return sorted(path.name for path in out.iterdir())


def _states(paths):
    """Tells files apart from ones that were written anew."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def _table(out):
    return list(pd.read_parquet(out).itertuples(index=False, name=None))


def _assert_as_client_answers(table, expected):
    """Compares rows; products of matrices of another size add up in another order."""
    assert [row[:3] for row in table] == [row[:3] for row in expected]
    np.testing.assert_allclose(
        [row[3:] for row in table], [row[3:] for row in expected], rtol=1e-5, atol=1e-6
    )


def test_all_users_get_what_a_client_gets(exact_export, client, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_scoring._Recommend, "chunk_rows", 16)
    out = tmp_path / "out"
    counts = score_users(exact_export.root, "all", str(out), Filters(k=5, exclude_seen=True))
    users = [user.decode() for user in exact_export.tables.user_ids]
    assert counts == {"users": 40, "rows": 200, "unknown": 0, "rejected": 0}
    # Parts are in the order of the input.
    _assert_as_client_answers(_table(out), _lines(users, client, k=5, exclude_seen=True))
    assert _names(out) == [
        "_job.json",
        "_summary.json",
        *(f"part-00000-{chunk:05d}.parquet" for chunk in range(3)),
    ]
    assert json.loads((out / "_summary.json").read_text()) == counts


def test_filters_leave_businesses_out(exact_export, client, tmp_path):
    asked = {"category": "Pizza", "city": "Tampa", "exclude_business_ids": ["place-0005"]}
    score_users(exact_export.path, "all", str(tmp_path), Filters(k=3, **asked))
    users = [user.decode() for user in exact_export.tables.user_ids]
    _assert_as_client_answers(_table(tmp_path), _lines(users, client, k=3, **asked))


def test_columns_are_in_order_and_typed(exact_export, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("user-01\n")
    score_users(exact_export.path, str(users), str(tmp_path / "out"), Filters(k=2))
    (part,) = (tmp_path / "out").glob("part-*")
    schema = pq.read_schema(part)
    assert [(field.name, str(field.type)) for field in schema] == [
        ("user_id", "string"),
        ("rank", "int32"),
        ("business_id", "string"),
        ("score", "float"),
        ("rating", "float"),
    ]
    assert not any(field.nullable for field in schema)


def test_unknown_users_are_scored_cold_and_malformed_rows_kept(exact_export, client, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("user_id,age\nuser-03,1\nstranger,2\n,3\nuser-05,4\nother,5\n")
    out = tmp_path / "out"
    counts = score_users(exact_export.path, str(users), str(out), Filters(k=40))
    # k exceeds the catalogue of 30: the padding is no row.
    assert counts == {"users": 4, "rows": 120, "unknown": 2, "rejected": 1}
    expected = _lines(["user-03", "stranger", "user-05", "other"], client, k=40)
    _assert_as_client_answers(_table(out), expected)
    (rejects,) = out.glob("_rejects-*.jsonl")
    assert [json.loads(line) for line in rejects.read_text().splitlines()] == [
        {
            "file": str(users),
            "row": 3,
            "reason": "user_id is empty",
            "record": {"user_id": "", "age": "3"},
        }
    ]


def test_pairs_get_what_a_client_gets(exact_export, client, tmp_path):
    pairs = [("user-02", "place-0004"), ("who", "place-0005"), ("user-02", "nowhere"), ("a", "b")]
    source = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"user_id": user, "business_id": place}) for user, place in pairs]
    source.write_text("\n".join([*lines, '{"user_id": "user-02"}']))
    out = tmp_path / "out"
    counts = score_pairs(exact_export.path, str(source), str(out))
    assert counts == {"pairs": 4, "rows": 4, "unknown": 3, "rejected": 1}
    ratings = client.rate(*zip(*pairs, strict=True))
    table = pd.read_parquet(out)
    assert list(table.columns) == ["user_id", "business_id", "rating"]
    assert table.rating.dtype == np.float32
    assert list(zip(table.user_id, table.business_id, strict=True)) == pairs
    np.testing.assert_allclose(table.rating, ratings, rtol=1e-6)


def test_approximate_model_scores_in_bulk(scann_export, tmp_path):
    out = tmp_path / "out"
    score_users(scann_export.path, "all", str(out), Filters(k=3))
    table = pd.read_parquet(out)
    for user in ("user-00", "user-39"):
        expected = [found[0] for found in scann_export.recommend(user, k=3)]
        assert table[table.user_id == user].business_id.tolist() == expected


def test_no_rows_give_an_empty_table(exact_export, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("user_id\n")
    counts = score_users(exact_export.path, str(users), str(tmp_path / "out"), Filters(k=3))
    assert counts == {"users": 0, "rows": 0, "unknown": 0, "rejected": 0}
    table = pd.read_parquet(tmp_path / "out")
    assert list(table.columns) == ["user_id", "rank", "business_id", "score", "rating"]
    assert table.empty


def test_chunks_are_made_once(exact_export, tmp_path):
    folder = JobFolder(str(tmp_path))
    task = batch_scoring._Recommend(f"{exact_export.path}/3", Filters(k=2))
    chunk = folder.stage(
        Chunk("00000-00004", (["user-01", "stranger"],), [{"row": 3}]), ["user_id"]
    )
    step = batch_scoring._ScoreChunk(task, folder)
    step.setup()
    (first,) = step.process(chunk)
    assert first == {"users": 2, "rows": 4, "unknown": 1, "rejected": 1}
    # A bundle that is tried again finds the part and its counts, and makes no other.
    part = tmp_path / "part-00000-00004.parquet"
    before = _states([part])
    assert list(step.process(chunk)) == [first]
    assert _states([part]) == before


_PROGRAM = """
import sys
from serving import batch_scoring, questions
batch_scoring._Recommend.chunk_rows = int(sys.argv[4])
batch_scoring.score_users(*sys.argv[1:4], questions.Filters(k=30, exclude_seen=True))
"""


@pytest.mark.slow
def test_a_killed_job_goes_on_to_the_same_bytes(exact_export, tmp_path, monkeypatch):
    chunks, rows = 24, 4_000
    monkeypatch.setattr(batch_scoring._Recommend, "chunk_rows", rows)
    users = tmp_path / "users.txt"
    users.write_text("".join(f"user-{row % 50:02d}\n" for row in range(chunks * rows - 7)) + "\n")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = (exact_export.path, str(users))
    expected = score_users(*arguments, str(whole), Filters(k=30, exclude_seen=True))
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments, str(killed), str(rows)])
    while len(list(killed.glob("part-*"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "_summary.json").exists()
    done = _states(killed.glob("part-*"))
    assert 3 <= len(done) < chunks
    # What is there is whole.
    assert all(path.read_bytes() == (whole / path.name).read_bytes() for path in killed.glob("pa*"))

    assert score_users(*arguments, str(killed), Filters(k=30, exclude_seen=True)) == expected
    assert _states(killed / name for name in done) == done
    assert _names(killed) == _names(whole)
    for path in whole.iterdir():
        assert (killed / path.name).read_bytes() == path.read_bytes(), path.name
    assert expected["rejected"] == 1


def test_staging_that_was_killed_starts_anew(exact_export, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_scoring._Recommend, "chunk_rows", 16)
    score_users(exact_export.path, "all", str(tmp_path), Filters(k=1))
    expected = _table(tmp_path)
    for path in [*tmp_path.glob("part-*"), tmp_path / "_summary.json"]:
        path.unlink()
    # A chunk that was staged, and a file that was not whole.
    JobFolder(str(tmp_path)).stage(Chunk("00000-00000", (["user-00"],), []), ["user_id"])
    (tmp_path / "_tmp-abandoned").write_bytes(b"PAR1")
    assert score_users(exact_export.path, "all", str(tmp_path), Filters(k=1))["users"] == 40
    assert _table(tmp_path) == expected
    assert not list(tmp_path.glob("_tmp-*")) + list(tmp_path.glob("_ids-*"))


def test_a_finished_job_is_left_as_it_is(exact_export, tmp_path):
    counts = score_users(exact_export.path, "all", str(tmp_path), Filters(k=2))
    before = _states(tmp_path.iterdir())
    assert score_users(exact_export.path, "all", str(tmp_path), Filters(k=2)) == counts
    assert _states(tmp_path.iterdir()) == before


def test_output_of_another_job_is_refused(exact_export, tmp_path):
    users, out = tmp_path / "users.txt", tmp_path / "out"
    users.write_text("user-01\n")
    score_users(exact_export.path, str(users), str(out), Filters(k=2))
    before = _table(out)
    with pytest.raises(InputError, match="another one: k was 2 and is 3. Remove .* another --out"):
        score_users(exact_export.path, str(users), str(out), Filters(k=3))
    with pytest.raises(InputError, match='city was "" and is "Reno"'):
        score_users(exact_export.path, str(users), str(out), Filters(k=2, city="Reno"))
    with pytest.raises(InputError, match="exclude_business_ids was .* and is "):
        filters = Filters(k=2, exclude_business_ids=["place-0001"])
        score_users(exact_export.path, str(users), str(out), filters)
    with pytest.raises(InputError, match='task was "users" and is "pairs"'):
        pairs = tmp_path / "pairs.csv"
        pairs.write_text("user_id,business_id\nuser-01,place-0001\n")
        score_pairs(exact_export.path, str(pairs), str(out))
    users.write_text("user-01\nuser-02\n")
    with pytest.raises(InputError, match="inputs was .*users.txt.* and is .*users.txt"):
        score_users(exact_export.path, str(users), str(out), Filters(k=2))
    newer = tmp_path / "model" / "4"
    shutil.copytree(f"{exact_export.path}/3", newer)
    with pytest.raises(InputError, match="model was .*/3/saved_model.pb.* and is .*/model/4/saved"):
        score_users(str(newer.parent), str(users), str(out), Filters(k=2))
    assert _table(out) == before


def test_output_of_unknown_origin_is_kept(exact_export, tmp_path):
    part = tmp_path / "part-00000-00000.parquet"
    part.write_bytes(b"precious")
    with pytest.raises(InputError, match="got .*part-00000-00000.parquet.*choose another --out"):
        score_users(exact_export.path, "all", str(tmp_path), Filters(k=1))
    assert part.read_bytes() == b"precious"


def test_the_readme_says_how_to_read_the_output(exact_export, tmp_path, monkeypatch):
    readme = (pathlib.Path(batch_scoring.__file__).parents[1] / "README.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    score_users(exact_export.path, "all", "recommendations", Filters(k=3))
    libraries = {"pandas": pd, "polars": polars, "duckdb": duckdb}
    for name in libraries:
        (line,) = (line for line in readme.splitlines() if line.startswith(f"{name}."))
        table = eval(line, dict(libraries))
        columns = list(table.columns)
        assert columns == ["user_id", "rank", "business_id", "score", "rating"]
        assert (len(table), len(columns)) == (120, 5)


def test_unfit_arguments_are_input_errors(exact_export, tmp_path):
    out = str(tmp_path / "out")
    with pytest.raises(InvalidRequestError, match="^k must be from 1 to 10000 in every row"):
        score_users(exact_export.path, "all", out, Filters(k=0))
    with pytest.raises(InvalidRequestError, match="Cannot convert 'k' value"):
        score_users(exact_export.path, "all", out, Filters(k=10**12))
    with pytest.raises(InvalidRequestError, match="latitude_degrees must be from -90 to 90"):
        score_users(
            exact_export.path, "all", out, Filters(near_degrees=(100.0, 0.0), within_km=1.0)
        )
    with pytest.raises(InvalidRequestError, match="not below 0, and not both 0"):
        score_users(exact_export.path, "all", out, Filters(retrieval_weight=0.0, rating_weight=0.0))
    with pytest.raises(InputError, match="Expected an exported model"):
        score_users(str(tmp_path), "all", out, Filters(k=1))
    with pytest.raises(InputError, match="Expected a file of ids"):
        score_pairs(exact_export.path, str(tmp_path / "missing.csv"), out)


def test_a_damaged_file_is_an_input_error(exact_export, tmp_path):
    users = tmp_path / "users.txt.gz"
    users.write_bytes(gzip.compress(b"user-01\n" * 1_000)[:-9])
    with pytest.raises(InputError, match="Expected .*users.txt.gz' to be whole; got: "):
        score_users(exact_export.path, str(users), str(tmp_path / "out"), Filters(k=1))


def test_beam_options_are_used(exact_export, tmp_path):
    options = PipelineOptions(["--runner=NoSuchRunner"])
    with pytest.raises(ValueError, match="NoSuchRunner"):
        score_users(exact_export.path, "all", str(tmp_path), Filters(k=1), options)
