import json
import os

import pytest

from components.yelp_example_gen import places


@pytest.fixture
def root(tmp_path):
    for name in ("d/span-10/part-1", "d/span-9/part-2", "d/span-09/part-1", "d/span-x/part-1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "d" / ".hidden-3").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("d/span-{SPAN}", ["span-09", "span-9", "span-10"]),
        ("d/*{SPAN}/part-1/", ["span-09/part-1", "span-10/part-1"]),
        ("d/span-[!x]*", ["span-9", "span-09", "span-10"]),
        ("d/span-?", ["span-9", "span-x"]),
        ("d/*/part-{SPAN}", ["span-09/part-1", "span-10/part-1", "span-x/part-1", "span-9/part-2"]),
        ("d/s.an-*", []),
        ("nowhere/*", []),
    ],
)
def test_patterns(root, memory, pattern, found):
    local = places.expand(f"{root}/{pattern}")
    # Of two spellings of a number neither comes first by it; names decide.
    assert sorted(local) == sorted(f"{root}/d/{name}" for name in found)
    if "span-09" not in found or "span-9" not in found:
        assert local == [f"{root}/d/{name}" for name in found]
    for folder, _, _ in os.walk(root):
        memory.files[f"mem://b{folder.removeprefix(str(root))}/file"] = b""
    remote = places.expand(f"mem://b/{pattern}")
    assert [path.removeprefix("mem://b") for path in remote] == [
        path.removeprefix(str(root)) for path in local
    ]


def test_a_path_is_no_pattern_if_it_is_there(tmp_path):
    (tmp_path / "run[1]").mkdir()
    assert not places.is_pattern(str(tmp_path / "run[1]"))
    assert not places.is_pattern("/data")
    assert places.is_pattern(str(tmp_path / "run[2]"))
    assert places.is_pattern("/data/{SPAN}")


def test_paths_become_one_string_and_back():
    assert places.pack_paths(["gs://b/d"]) == "gs://b/d"
    assert places.pack_paths(["d"]) == os.path.abspath("d")
    packed = places.pack_paths(["d", "gs://b/d"])
    assert json.loads(packed) == [os.path.abspath("d"), "gs://b/d"]
    assert places.unpack_paths(packed) == [os.path.abspath("d"), "gs://b/d"]
    for path in ("/data", "[ab]*.json", "[]", "7"):
        assert places.unpack_paths(path) == [path]
