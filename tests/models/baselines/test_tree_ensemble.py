import json

import lightgbm
import numpy as np
import pytest
import tensorflow as tf

from models.baselines.tree_ensemble import TreeEnsemble


@pytest.fixture(scope="module")
def booster():
    """Trees that split by numbers and by sets of categories."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2_000, 4)).astype(np.float32)
    rows[:, 0] = rng.integers(12, size=2_000)
    effect = rng.normal(size=12)
    stars = effect[rows[:, 0].astype(int)] + np.where(rows[:, 1] > 0.3, rows[:, 2], rows[:, 3])
    data = lightgbm.Dataset(rows, stars, categorical_feature=[0])
    settings = {"num_leaves": 31, "verbosity": -1, "min_data_in_leaf": 5, "num_threads": 1}
    return lightgbm.train(settings, data, 40), rows


def test_equals_lightgbm(booster):
    trees, rows = booster
    dump = trees.dump_model()
    assert '"decision_type": "=="' in json.dumps(dump)  # Sets occur.
    found = TreeEnsemble(dump)(tf.constant(rows))
    np.testing.assert_allclose(found, trees.predict(rows), atol=1e-5)


def test_categories_that_training_never_saw(booster):
    trees, rows = booster
    unknown = rows[:50].copy()
    unknown[:, 0] = 99.0
    found = TreeEnsemble(trees.dump_model())(tf.constant(unknown))
    np.testing.assert_allclose(found, trees.predict(unknown), atol=1e-5)


def test_trees_by_hand():
    def leaf(value):
        return {"leaf_value": value}

    tree = {
        "split_feature": 1,
        "decision_type": "<=",
        "threshold": 0.5,
        "left_child": leaf(1.0),
        "right_child": {
            "split_feature": 0,
            "decision_type": "==",
            "threshold": "2||5",
            "left_child": leaf(10.0),
            "right_child": leaf(100.0),
        },
    }
    dump = {"tree_info": [{"tree_structure": tree}, {"tree_structure": leaf(0.25)}]}
    rows = tf.constant([[2.0, 0.5], [2.0, 0.6], [5.0, 0.6], [3.0, 0.6]])
    assert TreeEnsemble(dump)(rows).numpy().tolist() == [1.25, 10.25, 10.25, 100.25]
