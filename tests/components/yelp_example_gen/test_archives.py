import io
import tarfile

import pytest

from components.yelp_example_gen import archives, gzips

LONG = "directory/" * 30 + "review.json"
MEMBERS = {"a.json": b"1" * 700, LONG: b"2" * 512, "d/émoji.json": b"", "z.json": b"3"}


def walk(data, stream=None):
    """Returns the members and the damage."""
    found, damage = [], ""
    try:
        for member in archives.walk_members(stream or io.BytesIO(data), len(data)):
            found.append(member)
    except gzips.DamageError as error:
        damage = str(error)
    return found, damage


def cut_up(data, num_bytes=333):
    return (data[i : i + num_bytes] for i in range(0, len(data), num_bytes))


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_lie_where_the_headers_say(pack, tar_format):
    data = pack(MEMBERS, tar_format)
    found, damage = walk(data)
    assert damage == ""
    assert [member.name for member in found] == list(MEMBERS)
    for member, content in zip(found, MEMBERS.values(), strict=True):
        assert data[member.offset : member.offset + member.size_bytes] == content
    assert walk(data, archives.ForwardStream(cut_up(data))) == (found, "")


def test_ustar_prefixes(pack):
    name = "p" * 90 + "/" + "q" * 90
    found, _ = walk(pack({name: b"x", "./b": b""}, tarfile.USTAR_FORMAT))
    assert [member.name for member in found] == [name, "b"]


def test_only_regular_files_are_members():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.REGTYPE):
            info = tarfile.TarInfo(f"{'n' * 120}-{kind.decode()}")
            info.type, info.linkname = kind, "l" * 120
            tar.addfile(info)
    found, damage = walk(packed.getvalue())
    assert [member.name[-2:] for member in found] == ["-0"]
    assert damage == ""


def test_a_size_in_a_pax_header_wins(pack):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 3, {"size": "3", "comment": "a=b\nc"}
        tar.addfile(info, io.BytesIO(b"abc"))
    found, _ = walk(packed.getvalue())
    assert [(member.name, member.size_bytes) for member in found] == [("a", 3)]


@pytest.mark.parametrize("num_bytes", [1, 512, 700, 512 + 700, 1536, 1600, 2048, 4000])
def test_a_cut_tar_keeps_the_members_before_the_cut(pack, num_bytes):
    data = pack(MEMBERS, tarfile.GNU_FORMAT)
    assert len(data) > 4000
    whole, _ = walk(data)
    for stream in (None, archives.ForwardStream(cut_up(data[:num_bytes]))):
        found, damage = walk(data[:num_bytes], stream)
        assert damage == "truncated tar"
        assert found == [member for member in whole if member.offset <= num_bytes]


def test_a_corrupt_header(pack):
    data = bytearray(pack({"a": b"x", "b": b"y"}, tarfile.USTAR_FORMAT))
    data[1024] ^= 1
    found, damage = walk(bytes(data))
    assert ([member.name for member in found], damage) == (["a"], "corrupt tar")


def test_junk_is_no_tar(pack):
    assert archives.is_tar(pack({"a": b""})[:512])
    assert not archives.is_tar(b"x" * 512)
    assert not archives.is_tar(b"\0" * 512)
    assert not archives.is_tar(b"")


def test_data_of_a_member_that_is_cut_are_read_up_to_the_cut():
    stream = archives.ForwardStream([b"abc", b"", b"de"])
    stream.seek(1)
    chunks = stream.read_chunks(10)
    assert [next(chunks), next(chunks)] == [b"bc", b"de"]
    with pytest.raises(gzips.DamageError, match="truncated tar"):
        next(chunks)
