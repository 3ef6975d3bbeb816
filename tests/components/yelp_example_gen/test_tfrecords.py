import pyarrow as pa
import pytest
import tensorflow as tf

from components.yelp_example_gen import tfrecords


def read(tmp_path, table):
    """Writes a table as TFRecords, and reads it back as a dict per row."""
    path = tmp_path / "data"
    path.write_bytes(b"".join(tfrecords.encode_table(table)))
    rows = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        row = {}
        for key, feature in tf.train.Example.FromString(record).features.feature.items():
            kind = feature.WhichOneof("kind")
            row[key] = None if kind is None else list(getattr(feature, kind).value)
        rows.append(row)
    return rows


def expected(table):
    """What the rows should read as."""

    def as_list(value):
        if value is None:
            return None
        values = value if isinstance(value, list) else [value]
        return [item.encode() if isinstance(item, str) else item for item in values]

    return [{key: as_list(value) for key, value in row.items()} for row in table.to_pylist()]


def scalars(num_rows):
    # Widths of all kinds: empty and long strings, varints of 1 to 10 bytes, nulls.
    return pa.table(
        {
            "text": [["", "a", "é" * 40, "x" * 200, None][i % 5] for i in range(num_rows)],
            "id": [f"{i:022d}" for i in range(num_rows)],
            "int": [
                [0, 127, 128, 2**35, -1, 2**63 - 1, -(2**63), None][i % 8] for i in range(num_rows)
            ],
            "float": [[0.0, 1.5, -2.25, None][i % 4] for i in range(num_rows)],
        },
        schema=pa.schema([
            ("text", pa.string()),
            ("id", pa.string()),
            ("int", pa.int64()),
            ("float", pa.float32()),
        ]),
    )


def lists(num_rows):
    words = [["x", "yé"], [], None, ["z" * 300] * 70]
    minutes = [[-1, 1440], None, [], [3], [2**62] * 40]
    return pa.table(
        {
            "id": [f"{i}" * (i % 9) for i in range(num_rows)],
            "words": [words[i % 4] for i in range(num_rows)],
            "minutes": [minutes[i % 5] for i in range(num_rows)],
            "weights": [[[0.5, -2.0], None, []][i % 3] for i in range(num_rows)],
            "degrees": [[1.5, None, -0.5][i % 3] for i in range(num_rows)],
            "count": [[1, None, 300][i % 3] for i in range(num_rows)],
        },
        schema=pa.schema([
            ("id", pa.string()),
            ("words", pa.list_(pa.string())),
            ("minutes", pa.list_(pa.int64())),
            ("weights", pa.list_(pa.float32())),
            ("degrees", pa.float32()),
            ("count", pa.int64()),
        ]),
    )


@pytest.mark.parametrize("num_rows", [1, 7, 1000, 4100])
def test_scalars_by_layout_and_by_value_alike(tmp_path, monkeypatch, num_rows):
    # 7 rows of 7 layouts go value by value, 1,000 of 40 by layout, 4,100 in three batches.
    table = scalars(num_rows)
    monkeypatch.setattr(tfrecords, "_BATCH_BYTES", scalars(4100).nbytes // 2 - 1)
    assert read(tmp_path, table) == expected(table)


def test_layouts_are_told_apart_where_widths_differ_by_one(tmp_path):
    table = pa.table({"a": ["x", "xx"] * 50, "b": ["y", None] * 50})
    assert read(tmp_path, table) == expected(table)


@pytest.mark.parametrize("make", [scalars, lists])
def test_slices_and_chunks_of_longer_columns(tmp_path, make):
    table = pa.concat_tables([make(3000)[1234:2321], make(100), make(3000)[2999:]])
    assert read(tmp_path, table) == expected(table)


@pytest.mark.parametrize("extra", [{}, {"words": [["a", "b"]] * 100}])
def test_columns_of_nulls(tmp_path, extra):
    table = pa.table(
        {"id": ["a"] * 100, "text": [None] * 100, "int": [None] * 100, "all": [None] * 100} | extra,
    )
    table = table.set_column(1, "text", table["text"].cast(pa.string()))
    table = table.set_column(2, "int", table["int"].cast(pa.int64()))
    assert read(tmp_path, table) == expected(table)


@pytest.mark.parametrize("num_rows", [1, 3, 500])
def test_lists(tmp_path, num_rows):
    table = lists(num_rows)
    assert read(tmp_path, table) == expected(table)


def test_no_rows():
    assert b"".join(tfrecords.encode_table(scalars(0))) == b""
