import bz2
import gzip
import io
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from models.errors import InputError
from serving import row_sources
from serving.row_sources import find_sources, read_chunks, read_column

USER = ("user_id",)
PAIR = ("user_id", "business_id")


def _read(path, columns=USER, chunk_rows=100):
    (source,) = find_sources(str(path), columns)
    return list(read_chunks(source, chunk_rows))


def _reasons(chunk):
    return [(reject["row"], reject["reason"]) for reject in chunk.rejects]


def test_text_has_an_id_a_line(tmp_path):
    path = tmp_path / "users"
    path.write_bytes(b"\xef\xbb\xbfann\r\nb\xc3\xa9a\n\n   \n\xff\xfe\nlast")
    (chunk,) = _read(path)
    assert chunk.columns == (["ann", "béa", "last"],)
    assert _reasons(chunk) == [
        (3, "user_id is empty"),
        (4, "user_id is empty"),
        (5, "user_id is not UTF-8"),
    ]
    assert {reject["file"] for reject in chunk.rejects} == {str(path)}


def test_csv_finds_its_columns_by_name(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('business_id,note,user_id\nx,"two\nlines, quoted",ann\ny,,bob\nz,n\n,n,cy\n')
    (chunk,) = _read(path, PAIR)
    assert chunk.columns == (["ann", "bob"], ["x", "y"])
    assert _reasons(chunk) == [(3, "user_id is missing"), (4, "business_id is empty")]
    assert chunk.rejects[1]["record"] == {"business_id": "", "note": "n", "user_id": "cy"}


def test_json_lines(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [
        '{"user_id": "ann", "business_id": "x", "more": 1}',
        '{"user_id": "bob"}',
        '{"user_id": 7, "business_id": "x"}',
        '{"user_id": null, "business_id": "x"}',
        "[]",
        "{broken",
        '{"business_id": "y", "user_id": "cy"}',
    ]
    path.write_text("\n".join(lines))
    (chunk,) = _read(path, PAIR)
    assert chunk.columns == (["ann", "cy"], ["x", "y"])
    reasons = _reasons(chunk)
    assert reasons[:4] == [
        (2, "business_id is missing"),
        (3, "user_id is not a string"),
        (4, "user_id is missing"),
        (5, "not a JSON object"),
    ]
    assert reasons[4][0] == 6
    assert reasons[4][1].startswith("not JSON: ")
    assert chunk.rejects[4]["record"] == "{broken"


def test_parquet_reads_only_its_columns(tmp_path):
    path = tmp_path / "users.parquet"
    ids = pa.array(["ann", None, "", "ann"]).dictionary_encode()
    pq.write_table(pa.table({"other": [1, 2, 3, 4], "user_id": ids}), path)
    (chunk,) = _read(path)
    assert chunk.columns == (["ann", "ann"],)
    assert _reasons(chunk) == [(2, "user_id is missing"), (3, "user_id is empty")]


def test_compressed_and_several_files(tmp_path):
    for name in "ab":
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt") as file:
            file.write(f"user_id\n{name}1\n{name}2\n")
    sources = find_sources(str(tmp_path / "*.csv.gz"), USER)
    chunks = [chunk for source in sources for chunk in read_chunks(source, 100)]
    assert [(chunk.name, chunk.columns) for chunk in chunks] == [
        ("00000-00000", (["a1", "a2"],)),
        ("00001-00000", (["b1", "b2"],)),
    ]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zst"])
def test_compressed_files_that_were_cut_off_are_input_errors(tmp_path, suffix):
    libraries = {"gz": gzip, "bz2": bz2, "zst": zstandard}
    whole = libraries[suffix].compress("".join(f"user-{i:06d}\n" for i in range(200_000)).encode())
    path = tmp_path / f"users.{suffix}"
    path.write_bytes(whole)
    assert sum(chunk.num_rows for chunk in _read(path, chunk_rows=30_000)) == 200_000
    # Two files, one after the other, are one.
    path.write_bytes(2 * whole)
    assert sum(chunk.num_rows for chunk in _read(path, chunk_rows=30_000)) == 400_000
    for size in (len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="Expected .*users.* to be whole; got: .*Copy it"):
            _read(path)
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(InputError, match="Expected .*users.* to be whole; got: .*Copy it"):
        _read(path)


def test_a_column_is_read_whole_or_not_at_all(tmp_path):
    path = tmp_path / "closed.txt"
    path.write_text("x\ny\n")
    assert read_column(str(path), "business_id") == ["x", "y"]
    path.write_text("x\n\ny\n")
    with pytest.raises(InputError, match="a business_id in each row; .* is empty in row 2"):
        read_column(str(path), "business_id")


def test_chunks_have_stable_names_and_all_rows(tmp_path):
    path = tmp_path / "users.txt"
    path.write_text("".join(f"u{i}\n" for i in range(7)))
    chunks = _read(path, chunk_rows=3)
    assert [chunk.name for chunk in chunks] == ["00000-00000", "00000-00001", "00000-00002"]
    assert [chunk.num_rows for chunk in chunks] == [3, 3, 1]
    assert sum((chunk.columns[0] for chunk in chunks), []) == [f"u{i}" for i in range(7)]


def test_long_files_are_read_in_blocks(tmp_path):
    ids = [f"user-{i:020d}" for i in range(120_000)]  # About 3 MB.
    path = tmp_path / "users.txt"
    path.write_text("\n".join(ids))
    (chunk,) = _read(path, chunk_rows=200_000)
    assert chunk.columns[0] == ids


def test_csv_numbers_what_is_no_csv_as_a_row(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text(f'user_id,note\nann,"1\n2\n3"\nbob,{"x" * 200_000}\ncy,n\n,n\n')
    (chunk,) = _read(path)
    assert chunk.columns == (["ann", "cy"],)
    assert [row for row, _ in _reasons(chunk)] == [2, 4]
    assert _reasons(chunk)[0][1].startswith("not CSV: field larger")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("users", "{}"),
        ("users.jsonl", '{{"user_id": "{}"}}'),
        ("users.csv", "{}"),
        ("users.csv", '"{}"'),
        ("users.csv", "{},"),
    ],
)
def test_a_line_without_end_is_rejected_and_the_others_are_kept(monkeypatch, tmp_path, name, row):
    monkeypatch.setattr(row_sources, "_MAX_LINE_BYTES", 1_000)
    monkeypatch.setattr(row_sources, "_BLOCK_BYTES", 64)
    path = tmp_path / name
    header = ["user_id"] if name.endswith("csv") else []
    for long in ("x" * 1_001, "x" * 5_000, "x," * 3_000):
        lines = [row.format(user) for user in ("ann", long, "bob")]
        for last in (False, True):  # The last line may have no end at all.
            path.write_text("\n".join([*header, *(lines[:2] if last else lines)]))
            (chunk,) = _read(path)
            assert chunk.columns == (["ann"] if last else ["ann", "bob"],)
            assert [reject["row"] for reject in chunk.rejects] == [2]
            assert "longer than 1000 bytes" in chunk.rejects[0]["reason"]
            assert chunk.rejects[0]["record"] is None


def test_a_header_without_end_is_an_input_error(monkeypatch, tmp_path):
    monkeypatch.setattr(row_sources, "_MAX_LINE_BYTES", 1_000)
    path = tmp_path / "users.csv"
    path.write_text("user_id," * 1_000)
    with pytest.raises(InputError, match="got no CSV: the line is longer than 1000 bytes"):
        _read(path)


def test_a_line_of_many_blocks_takes_time_in_proportion(monkeypatch):
    monkeypatch.setattr(row_sources, "_BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(row_sources, "_MAX_LINE_BYTES", 1 << 30)

    def seconds(num_bytes):
        begin = time.process_time()
        (line,) = row_sources._lines(io.BytesIO(b"x" * num_bytes))
        assert len(line) == num_bytes
        return time.process_time() - begin

    # Copying all that came before with each block took 16 s for the longer one.
    short, long = (min(seconds(size << 20) for _ in range(2)) for size in (4, 32))
    assert long < 24 * max(short, 0.005)


def test_empty_file_is_one_empty_chunk(tmp_path):
    path = tmp_path / "users.txt"
    path.touch()
    (chunk,) = _read(path)
    assert (chunk.num_rows, chunk.rejects) == (0, [])


def test_missing_files_and_columns_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="Expected a file of ids at .*got none"):
        find_sources(str(tmp_path / "nothing.csv"), USER)
    text, table = tmp_path / "pairs.txt", tmp_path / "pairs.csv"
    text.write_text("a b\n")
    table.write_text("user_id,place\na,b\n")
    with pytest.raises(InputError, match="columns user_id, business_id; got a text file"):
        find_sources(str(text), PAIR)
    with pytest.raises(InputError, match="got none named business_id"):
        find_sources(str(table), PAIR)
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(InputError, match="got none named user_id"):
        find_sources(str(empty), USER)


def test_unfit_parquet_is_an_input_error(tmp_path):
    numbers, broken = tmp_path / "numbers.parquet", tmp_path / "broken.parquet"
    pd.DataFrame({"user_id": [1, 2]}).to_parquet(numbers)
    broken.write_text("user_id\n")
    with pytest.raises(InputError, match="to hold strings; got int64"):
        find_sources(str(numbers), USER)
    with pytest.raises(InputError, match="got no Parquet file"):
        find_sources(str(broken), USER)
