import json

import numpy as np
import pandas as pd
import pytest
from tfx.types import standard_artifacts

from components import artifacts, examples
from components.baseline_trainer import executor
from models import features
from models.baselines.interface import Baseline, Cost
from models.tables import EntityTable, Interactions

# Two users and three businesses; user 1 comes back to business 0 in the test split.
SPLITS = {
    features.TRAIN: [(0, 0, 5.0), (0, 1, 3.0), (1, 0, 4.0)],
    features.EVAL: [(1, 1, 2.0)],
    features.TEST: [(0, 2, 4.0), (1, 0, 1.0)],
}


class _StarSchema:
    def __init__(self, *channels):
        del channels

    def read(self, split):
        users, businesses, stars = zip(*SPLITS[split], strict=True)
        return Interactions(
            np.array(users, np.int32), np.array(businesses, np.int32), np.array(stars, np.float32)
        )

    read_splits = examples.StarSchema.read_splits


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Returns a function that runs the executor and gives back its folder."""
    monkeypatch.setattr(executor.examples, "StarSchema", _StarSchema)
    for side, size in (("read_users", 2), ("read_businesses", 3)):
        ids = np.array([b"%d" % row for row in range(size)])
        table = EntityTable(ids, np.zeros([size, 1], np.float32))
        monkeypatch.setattr(executor.entity_tables, side, lambda *channels, table=table: table)

    def run(rating, retrieval, **limits):
        output = artifacts.Baselines()
        output.uri = str(tmp_path)
        served = standard_artifacts.Model()
        served.uri = str(tmp_path / "fallback")
        options = {
            "rating": rating,
            "retrieval": retrieval,
            "tuning_seconds": 1.0,
            "max_seconds": 60.0,
            "max_memory_gb": 1.0,
            **limits,
        }
        keys = ("interactions", "users", "businesses", "user_graph", "business_graph")
        executor.Executor().Do(
            dict.fromkeys(keys, []),
            {"baselines": [output], "fallback": [served]},
            {"options": json.dumps(options), "seed": 0, "refit": 1},
        )
        return tmp_path

    return run


def read_skipped(folder) -> dict:
    return json.loads((folder / executor.SKIPPED_FILE).read_text())


def test_each_baseline_writes_what_it_says_about_the_test_split(train):
    folder = train(["global_mean"], ["popularity"])
    stars = pd.read_parquet(folder / "rating" / "global_mean.parquet")["stars"]
    # Train and eval have the mean 14 / 4.
    assert stars.tolist() == [3.5, 3.5]
    lists = pd.read_parquet(folder / "retrieval" / "popularity.parquet")
    # User 0 has something new to find, user 1 has not.
    assert lists["user_row"].tolist() == [0, 0, 0]
    assert lists["rank"].tolist() == [1, 2, 3]
    assert lists["business_row"].tolist() == [2, -1, -1]
    assert read_skipped(folder) == {"rating": {}, "retrieval": {}}


def test_what_is_left_out_is_listed_and_the_rest_goes_on(train, monkeypatch):
    def fail(data):
        raise RuntimeError("no convergence")

    monkeypatch.setattr("models.baselines.ridge.RIDGE", Baseline(lambda data: Cost(0.0, 0.0), fail))
    monkeypatch.setattr(
        "models.baselines.ease.EASE", Baseline(lambda data: Cost(5e9, 1.0), pytest.fail)
    )
    folder = train(["ridge", "global_mean"], ["ease", "popularity"])
    assert read_skipped(folder) == {
        "rating": {"ridge": "it failed: RuntimeError: no convergence"},
        "retrieval": {
            "ease": "it would take about 5.0 GB of memory; baselines.max_memory_gb allows 1.0"
        },
    }
    assert [path.name for path in (folder / "rating").iterdir()] == ["global_mean.parquet"]
    assert [path.name for path in (folder / "retrieval").iterdir()] == ["popularity.parquet"]


def test_where_all_stars_are_the_same_the_mean_is_all_there_is(train, monkeypatch):
    alike = {split: [(u, b, 4.0) for u, b, _ in rows] for split, rows in SPLITS.items()}
    monkeypatch.setitem(globals(), "SPLITS", alike)
    monkeypatch.setattr("models.baselines.ridge.RIDGE", pytest.fail)
    folder = train(["ridge", "global_mean"], ["popularity"])
    assert read_skipped(folder) == {
        "rating": {"ridge": "all training stars are 4: the mean is all there is"},
        "retrieval": {},
    }


def test_no_baselines_are_no_error(train):
    assert read_skipped(train([], [])) == {"rating": {}, "retrieval": {}}
