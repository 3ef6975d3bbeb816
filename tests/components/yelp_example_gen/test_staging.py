import collections

import pyarrow as pa

from components.yelp_example_gen import inputs, staging

SCHEMA = pa.schema([("user_id", pa.string()), ("friends", pa.list_(pa.string()))])


def rows(*ids):
    return pa.table(
        [pa.array(ids), pa.array([None if i == "u0" else [i, "x"] for i in ids], SCHEMA[1].type)],
        schema=SCHEMA,
    )


def stage(tmp_path, name, table, num_buckets, split=""):
    path = str(tmp_path / name)
    staging.stage_rows(table, "user_id", num_buckets, path, str(tmp_path))
    return staging.StagedFile(path, "users", split, staging.ROWS)


def test_an_id_is_always_in_the_same_bucket_and_no_row_is_lost(tmp_path):
    ids = [f"u{i % 50}" for i in range(200)]
    first = stage(tmp_path, "00-000.arrow", rows(*ids), 7)
    second = stage(tmp_path, "00-999.arrow", rows(*reversed(ids), "new"), 7)
    seen = collections.Counter()
    buckets_of = collections.defaultdict(set)
    for bucket in range(7):
        loaded = staging.load_bucket([second, first], bucket, SCHEMA)
        for user_id, friends, split in zip(*loaded.to_pydict().values(), strict=True):
            assert friends == (None if user_id == "u0" else [user_id, "x"])
            assert split == ""
            buckets_of[user_id].add(bucket)
            seen[user_id] += 1
    assert seen == {**{f"u{i}": 8 for i in range(50)}, "new": 1}
    assert all(len(buckets) == 1 for buckets in buckets_of.values())
    assert len(set.union(*buckets_of.values())) == 7


def test_some_buckets_have_no_rows(tmp_path):
    file = stage(tmp_path, "00-000.arrow", rows("u1"), 5)
    lengths = [staging.load_bucket([file], bucket, SCHEMA).num_rows for bucket in range(5)]
    assert sorted(lengths) == [0, 0, 0, 0, 1]


def test_rows_come_in_the_order_of_the_input(tmp_path):
    later = stage(tmp_path, "00-100.arrow", rows("c", "a"), 1)
    other_file = stage(tmp_path, "01-000.arrow", rows("d"), 1, "test")
    first = stage(tmp_path, "00-000.arrow", rows("b"), 1)
    loaded = staging.load_bucket([later, other_file, first], 0, SCHEMA)
    assert loaded["user_id"].to_pylist() == ["b", "c", "a", "d"]
    assert loaded["given_split"].to_pylist() == ["", "", "", "test"]


def test_staging_again_overwrites_and_leaves_nothing_else(tmp_path):
    stage(tmp_path, "a.arrow", rows("x", "y"), 1)
    file = stage(tmp_path, "a.arrow", rows("z"), 1)
    assert staging.load_bucket([file], 0, SCHEMA)["user_id"].to_pylist() == ["z"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrow"]


def test_no_files():
    loaded = staging.load_bucket([], 0, SCHEMA)
    assert loaded.num_rows == 0
    assert loaded.column_names == ["user_id", "friends", "given_split"]


def test_mentioned_ids():
    table = pa.table({"user_id": ["b", "a", "b"], "business_id": ["x", "x", "x"]})
    assert staging.mentioned_ids(table, "users").to_pydict() == {"user_id": ["b", "a"]}
    assert staging.mentioned_ids(table, "businesses").to_pydict() == {"business_id": ["x"]}


def test_buckets_grow_with_the_input():
    def file(table, size_bytes, name="f.json"):
        return inputs.InputFile(f"/d/{name}", table, "", size_bytes, 0.0)

    unit = staging.BUCKET_BYTES
    assert staging.count_buckets([file("interactions", 1)]) == {
        "interactions": 1,
        "users": 1,
        "businesses": 1,
    }
    files = [
        file("interactions", 32 * unit + 1),
        file("interactions", 8 * unit, "f.json.gz"),
        file("users", 7 * unit),
    ]
    # 32 + 8 * 4 units of reviews, a quarter of which counts; the users from their own file, less
    # than an eighth of the reviews; the businesses from a sixteenth, which counts twice.
    assert staging.count_buckets(files) == {"interactions": 17, "users": 9, "businesses": 9}
    # The words of reviews come to the businesses.
    with_terms = staging.count_buckets(files, with_terms=True)
    assert with_terms == {"interactions": 17, "users": 9, "businesses": 33}
