import gzip
import os
import pathlib
import tempfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.yelp_example_gen import inputs, parsing, ranges


def make_file(path, data):
    pathlib.Path(path).write_bytes(data)
    return inputs.InputFile(str(path), "interactions", "", len(data), 0.0)


def read_lines(file, range_bytes, max_line_bytes=1 << 20):
    """Returns (offset, line) of all lines of all ranges, with their newlines."""
    found = []
    for byte_range in ranges.list_ranges([file], range_bytes):
        for block in ranges.read_blocks(byte_range, range_bytes, max_line_bytes):
            offset = block.offset
            for line in block.data.splitlines(keepends=True):
                found.append((offset, line))
                offset += len(line)
    return found


def expected_lines(data):
    offset, lines = 0, []
    for line in data.splitlines(keepends=True):
        lines.append((offset, line))
        offset += len(line)
    return lines


LINES = st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")))


@settings(max_examples=150, deadline=None)
@given(lines=LINES, ended=st.booleans(), range_bytes=st.integers(1, 40), compress=st.booleans())
def test_any_cut_yields_each_line_once(lines, ended, range_bytes, compress):
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    # What splitlines takes for line ends beside the newline.
    for end in (b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e"):
        data = data.replace(end, b"_")
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / ("f.json.gz" if compress else "f.json")
        file = make_file(path, gzip.compress(data) if compress else data)
        assert read_lines(file, range_bytes) == expected_lines(data)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["good", "bad", "blank", "crlf"]), min_size=1, max_size=12),
    range_bytes=st.integers(20, 2000),
)
def test_any_cut_parses_to_the_same_rows_and_rejects(kinds, range_bytes):
    good = b'{"review_id":"%d","user_id":"u","business_id":"b","stars":5,"date":"2015-01-01"}'
    lines = [
        {
            "good": good % i,
            "bad": b'{"review_id":"%d"' % i,
            "blank": b" ",
            "crlf": good % i + b"\r",
        }[kind]
        for i, kind in enumerate(kinds)
    ]
    data = b"\xef\xbb\xbf" + b"\n".join(lines)
    whole = parsing.parse_block("interactions", data, 0)
    with tempfile.TemporaryDirectory() as directory:
        file = make_file(pathlib.Path(directory) / "f.json", data)
        parts = [
            parsing.parse_block("interactions", block.data, block.offset)
            for byte_range in ranges.list_ranges([file], range_bytes)
            for block in ranges.read_blocks(byte_range)
        ]
    assert [row for part in parts for row in part.rows.to_pylist()] == whole.rows.to_pylist()
    assert [reject for part in parts for reject in part.rejects] == whole.rejects
    assert sum(part.num_lines for part in parts) == whole.num_lines == len(lines)
    assert sum(part.num_blank for part in parts) == whole.num_blank


def test_ranges_cover_plain_files_and_leave_compressed_ones_whole(tmp_path):
    plain = make_file(tmp_path / "a.json", b"x" * 25)
    compressed = make_file(tmp_path / "b.json.gz", b"x" * 25)
    empty = make_file(tmp_path / "c.json", b"")
    found = ranges.list_ranges([plain, compressed, empty], 10)
    assert [(r.file_index, r.start, r.end) for r in found] == [
        (0, 0, 10),
        (0, 10, 20),
        (0, 20, 25),
        (1, 0, 25),
    ]


@pytest.mark.parametrize("name", ["f.json", "f.json.gz"])
def test_a_line_without_end_does_not_fill_the_memory(tmp_path, name):
    data = b"a\n" + b"x" * 5_000_000 + b"\nb\n"
    file = make_file(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)
    found = read_lines(file, 1000, max_line_bytes=2000)
    assert [found[0], found[-1]] == [(0, b"a\n"), (5_000_003, b"b\n")]
    offset, line = found[1]
    assert offset == 2
    assert len(line) > 2000
    if not file.is_gzip:
        assert len(line) < 4000
    assert set(line) == {ord("x"), ord("\n")}  # A newline: the file itself is not cut.
    assert len(found) == 3


@pytest.mark.parametrize("members", [1, 3])
def test_gzip_members_and_padding(tmp_path, members):
    data = gzip.compress(b"a\nb") * members + b"\0" * 100
    file = make_file(tmp_path / "f.json.gz", data)
    blocks = list(ranges.read_blocks(ranges.list_ranges([file], 10)[0]))
    assert b"".join(block.data for block in blocks) == b"a\nb" * members
    assert {block.damage for block in blocks} == {""}


def cut_stream(tmp_path, change):
    data = b"".join(b"line %d\n" % i for i in range(50_000))
    stored = change(bytearray(gzip.compress(data)))
    file = make_file(tmp_path / "f.json.gz", bytes(stored))
    blocks = list(ranges.read_blocks(ranges.list_ranges([file], 10)[0], block_bytes=10_000))
    assert all(not block.damage for block in blocks[:-1])
    return data, b"".join(block.data for block in blocks), blocks[-1].damage


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.9])
def test_what_comes_before_the_cut_of_a_gzip_is_kept(tmp_path, fraction):
    data, read, damage = cut_stream(tmp_path, lambda raw: raw[: int(len(raw) * fraction)])
    assert damage == "truncated gzip"
    assert data.startswith(read)
    assert len(read) > len(data) * fraction * 0.8 - 5000


def test_a_gzip_without_its_trailer_lacks_no_line(tmp_path):
    data, read, damage = cut_stream(tmp_path, lambda raw: raw[:-8])
    assert (read, damage) == (data, "truncated gzip")


def test_what_zlib_still_holds_at_the_end_of_a_cut_file_is_kept(tmp_path):
    # A call returns 1 MB of this; the last 100 bytes are a match that zlib has read but not copied.
    data = b"x" * ((1 << 20) + 100)
    file = make_file(tmp_path / "f.json.gz", gzip.compress(data)[:-8])
    blocks = list(ranges.read_blocks(ranges.list_ranges([file], 10)[0]))
    assert b"".join(block.data for block in blocks) == data
    assert blocks[-1].damage == "truncated gzip"


def test_a_wrong_checksum_is_damage_but_loses_nothing(tmp_path):
    def flip(raw):
        raw[-6] ^= 1
        return raw

    data, read, damage = cut_stream(tmp_path, flip)
    assert (read, damage) == (data, "corrupt gzip")


def test_a_file_that_only_calls_itself_gzip(tmp_path):
    file = make_file(tmp_path / "f.json.gz", b'{"a": 1}\n')
    (block,) = ranges.read_blocks(ranges.list_ranges([file], 10)[0])
    assert (block.data, block.damage) == (b"", "corrupt gzip")


def make_tar(path, pack, members):
    """Writes a tar, compressed where the name says so, and finds its files."""
    data = pack(members)
    path.write_bytes(gzip.compress(data) if path.suffix == ".tgz" else data)
    return inputs.find_inputs(str(path), "random")


def read_files(files, range_bytes, **options):
    """Returns (offset, line) of all lines and the damages, by file name."""
    lines, damages = {}, {}
    for byte_range in ranges.list_ranges(files, range_bytes):
        for block in ranges.read_blocks(byte_range, range_bytes, **options):
            offset = block.offset
            found = lines.setdefault(block.file.name, [])
            for line in block.data.splitlines(keepends=True):
                found.append((offset, line))
                offset += len(line)
            if block.damage:
                damages.setdefault(block.file.name, []).append((offset, block.damage))
    return lines, damages


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.integers(0, 700).map(lambda n: b"x" * n), max_size=12),
    ended=st.booleans(),
    range_bytes=st.integers(1, 900),
    suffix=st.sampled_from([".tar", ".tgz"]),
)
def test_any_cut_inside_a_tar_yields_each_line_once(pack, lines, ended, range_bytes, suffix):
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    members = {
        "tip.json": b"tip\n" * 100,
        "d/user.json": b"user\n" * 3,
        "review.json": data,
        "business.json.gz": gzip.compress(data),
        "z.jpg": b"\n",
    }
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / f"t{suffix}"
        found, damages = read_files(make_tar(path, pack, members), range_bytes)
    assert damages == {}
    found = {name: lines for name, lines in found.items() if lines}
    wanted = {f"t{suffix}/d/user.json": expected_lines(b"user\n" * 3)}
    if data:
        wanted[f"t{suffix}/review.json"] = expected_lines(data)
        wanted[f"t{suffix}/business.json.gz"] = expected_lines(data)
    assert found == wanted


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".tar", ".tgz"])
@pytest.mark.parametrize("num_before", [0, (16 << 20) - 3])
def test_a_line_of_50_mb_is_rejected_within_bounded_memory(tmp_path, pack, suffix, num_before):
    line = b'{"review_id":"r","user_id":"u","business_id":"b","stars":5,"date":"2015-01-01"}\n'
    data = line + b" " * num_before + b"\n" + b"x" * 50_000_000 + b"\n" + line
    path = tmp_path / f"review{suffix}"
    if suffix in (".tar", ".tgz"):
        files = make_tar(path, pack, {"review.json": data})
    else:
        path.write_bytes(gzip.compress(data, 1) if suffix.endswith("gz") else data)
        files = inputs.find_inputs(str(path), "random")
    kept, rejects = [], []
    tracemalloc.start()
    for byte_range in ranges.list_ranges(files, ranges.RANGE_BYTES):
        for block in ranges.read_blocks(byte_range):
            parsed = parsing.parse_block("interactions", block.data, block.offset, block.damage)
            kept += parsed.rows["review_id"].to_pylist()
            rejects += [(reject.byte_offset, reject.reason) for reject in parsed.rejects]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept == ["r", "r"]
    assert rejects == [(len(line) + num_before + 1, "line longer than 16 MiB")]
    assert peak_bytes < 160 << 20


def test_a_range_is_read_once_beside_the_chunks_with_its_first_and_last_newline(memory):
    memory.files["mem://b/review.json"] = b"0123456\n" * 1_000_000
    files = inputs.find_inputs("mem://b/review.json", "random")
    for byte_range in ranges.list_ranges(files, 2_000_000):
        memory.num_bytes_read = 0
        (block,) = ranges.read_blocks(byte_range)
        assert (block.offset, len(block.data)) == (byte_range.start, 2_000_000)
        assert memory.num_bytes_read <= 2_000_000 + 2 * (64 << 10)


MEMBERS = {
    "business.json": b"b\n" * 400,
    "tip.json": b"t\n" * 400,
    "review.json": b"0123456\n" * 400,
    "z.jpg": b"j" * 600,
}


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize(
    ("cut", "name", "where", "num_lines"),
    [
        # Headers are at 0, 1536, 3072 and 7168; the end is at 8704.
        (512 + 301, "business.json", 301, 151),
        (2000, "business.json", 800, 400),
        (3072 + 100, "business.json", 800, 400),
        (3584, "review.json", 0, 0),
        (3584 + 800, "review.json", 800, 100),
        (3584 + 805, "review.json", 805, 101),
        (7000, "review.json", 3200, 400),
        (8000, "review.json", 3200, 400),
    ],
)
def test_a_cut_tar_is_damage_of_the_last_file_before_the_cut(
    tmp_path, pack, suffix, cut, name, where, num_lines
):
    path = tmp_path / f"t{suffix}"
    # Without a review file before the cut the driver refuses a plain tar.
    (tmp_path / "review.json").write_bytes(b"r\n")
    data = pack(MEMBERS)[:cut]
    path.write_bytes(gzip.compress(data) if suffix == ".tgz" else data)
    files = [
        file for file in inputs.find_inputs(f"{tmp_path}/*", "random") if file.path == str(path)
    ]
    for range_bytes in (100, 805, 10_000):
        lines, damages = read_files(files, range_bytes)
        found = lines.get(f"t{suffix}/{name}", [])
        assert len(found) == num_lines
        assert damages == {f"t{suffix}/{name}": [(where, "truncated tar")]}


def test_a_compressed_tar_that_is_cut(tmp_path, pack):
    path = tmp_path / "t.tgz"
    lines = b"".join(b"%s\n" % os.urandom(20).hex().encode() for _ in range(20_000))
    make_tar(path, pack, {"review.json": lines, "user.json": b"u\n"})
    path.write_bytes(path.read_bytes()[:200_000])
    found, damages = read_files(inputs.find_inputs(str(path), "random"), 10_000)
    (name,) = found
    read = b"".join(line for _, line in found[name])
    assert lines.startswith(read)
    assert len(read) > 300_000
    assert damages == {name: [(len(read), "truncated gzip")]}


def test_a_damaged_member_does_not_hide_the_next(tmp_path, pack):
    corrupt = gzip.compress(b"a\n")[:-8] + b"12345678"
    members = {"user.json.gz": corrupt, "review.json": b"r\n"}
    for suffix in (".tar", ".tgz"):
        files = make_tar(tmp_path / f"t{suffix}", pack, members)
        lines, damages = read_files(files, 100)
        assert lines[f"t{suffix}/review.json"] == [(0, b"r\n")]
        assert lines[f"t{suffix}/user.json.gz"] == [(0, b"a\n")]
        assert damages == {f"t{suffix}/user.json.gz": [(2, "corrupt gzip")]}


def test_a_gzip_that_is_no_tar_is_damage_of_its_own(tmp_path):
    path = tmp_path / "t.tgz"
    path.write_bytes(gzip.compress(b"x" * 600))
    lines, damages = read_files(inputs.find_inputs(str(path), "random"), 100)
    assert (lines, damages) == ({"t.tgz": []}, {"t.tgz": [(0, "corrupt tar")]})
