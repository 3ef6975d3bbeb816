import pytest
import tensorflow as tf


def example(row: dict) -> bytes:
    """Serializes one row, a list of values a feature."""
    kinds = {bytes: ("bytes_list", tf.train.BytesList), int: ("int64_list", tf.train.Int64List)}
    kinds[float] = ("float_list", tf.train.FloatList)
    features = {}
    for name, values in row.items():
        field, kind = kinds[type(values[0])]
        features[name] = tf.train.Feature(**{field: kind(value=values)})
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture
def write():
    """Writes rows as a TFRecord file and returns its path."""

    def write_rows(path, rows: list[dict]) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                writer.write(example(row))
        return str(path)

    return write_rows
