import os

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components import examples
from models import features, tables

USERS, BUSINESSES = [b"ann", b"bob"], [b"bar", b"cafe", b"tea"]
# Rows of user and business, and stars.
SPLITS = {
    features.TRAIN: [(0, 0, 5.0), (1, 2, 3.0), (0, 1, 1.0)],
    features.EVAL: [(1, 1, 2.0)],
    features.TEST: [(1, 0, 4.0)],
}


@pytest.fixture
def star(tmp_path):
    """The tables of two users and three businesses, as Examples."""

    def channel(name, splits):
        artifact = standard_artifacts.Examples()
        artifact.uri = str(tmp_path / name)
        artifact.split_names = artifact_utils.encode_split_names(list(splits))
        for split, rows in splits.items():
            folder = artifact_utils.get_split_uri([artifact], split)
            os.makedirs(folder)
            with tf.io.TFRecordWriter(os.path.join(folder, "rows")) as writer:
                for row in rows:
                    example = tf.train.Example()
                    for key, value in row.items():
                        kind = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
                        feature = example.features.feature[key]
                        getattr(feature, kind[type(value)]).value.append(value)
                    writer.write(example.SerializeToString())
        return [artifact]

    interactions = {
        split: [
            {"user_id": USERS[u], "business_id": BUSINESSES[b], "stars": s, "timestamp_seconds": 9}
            for u, b, s in rows
        ]
        for split, rows in SPLITS.items()
    }
    businesses = [{"business_id": b, "name": b.title(), "city": b"Reno"} for b in BUSINESSES]
    return examples.StarSchema(
        channel("interactions", interactions),
        channel("users", {features.ALL: [{"user_id": user} for user in USERS]}),
        channel("businesses", {features.ALL: businesses}),
    )


@pytest.fixture
def passes(monkeypatch):
    """Names the split of each pass over a table's files."""
    read, done = tables._batches, []

    def count(files, spec):
        done.append(os.path.basename(os.path.dirname(files[0])))
        return read(files, spec)

    monkeypatch.setattr(tables, "_batches", count)
    return done


@pytest.mark.parametrize("refit", [False, True])
def test_what_there_is_to_learn_from_is_read_and_held_once(refit, star, passes):
    splits = star.read_splits(refit)
    assert passes == ["Split-train", "Split-eval"]
    assert splits.train.stars.tolist() == [5.0, 3.0, 1.0]
    assert splits.train.business_rows.tolist() == [0, 2, 1]
    assert splits.held_out.stars.tolist() == [2.0]
    assert splits.fitted.stars.tolist() == [5.0, 3.0, 1.0] + [2.0] * refit
    for part in (splits.train, splits.held_out, splits.fitted):
        base = part.stars if part.stars.base is None else part.stars.base
        assert np.shares_memory(base, splits.fitted.stars)
        assert len(base) == 4


def test_labels_are_read_in_one_pass(star, passes):
    labels = star.read_labels(features.BUSINESS_NAME, features.BUSINESS_CITY, "not there")
    assert passes == ["Split-all"]
    assert labels[features.BUSINESS_NAME].values.tolist() == [b"Bar", b"Cafe", b"Tea"]
    assert labels[features.BUSINESS_CITY].values.tolist() == [b"Reno"] * 3
    assert labels["not there"].lengths().tolist() == [0, 0, 0]
