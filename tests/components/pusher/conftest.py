"""Small exports, both blessings, and what the components before Pusher measured."""

import json

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import artifacts
from models.gate import Check, conclude
from tests.harnesses.measured import interval


def _task(counted: str, metric: str, ours: float, its: float, baseline: str) -> dict:
    def measured(value: float) -> dict:
        slices = {
            "cold_user": {metric: {"value": value / 2}, counted: 3},
            "city=A|B": {metric: interval(value, 0.1), counted: 7},
        }
        return {metric: interval(value, 0.1), counted: 40, "slices": slices}

    models = {"t2rec": measured(ours), baseline: measured(its)}
    difference = {metric: interval(ours - its, 0.1), "slices": {}}
    return {
        "test": {
            "models": models,
            "skipped": {"ease": "would take 9 GB"},
            "differences": {baseline: difference},
            "best_baseline": baseline,
        }
    }


_TABLE = {"lines_read": 105, "blank": 0, "kept": 100, "rejected": {"not JSON": 5}, "files": {}}
SUMMARY = {
    "inputs": ["review.json"],
    "num_interactions": 100,
    "num_users": 1_234,
    "num_businesses": 8,
    "unknown_users": 2,
    "unknown_businesses": 1,
    "duplicates": {"repeated_review_ids": 6},
    "split": {
        "method": "temporal",
        "num_interactions": {"train": 80, "eval": 0, "test": 20},
        "timestamps": {
            "train": {"min_date": "2005-02-16", "max_date": "2020-01-01"},
            "test": {"min_date": "2020-01-02", "max_date": "2022-01-19"},
        },
    },
    "tables": {"interactions": _TABLE},
}
EVALUATION = {
    "rating": _task("num_ratings", "rmse", 0.9, 1.0, "bias"),
    "retrieval": _task("num_users", "recall@20", 0.3, 0.05, "als"),
    "tripwires": [],
    "blessing": conclude([Check("better than bias", True)]).to_json(),
}
INDEX = {
    "recall@10": 0.995,
    "recall@10_standard_error": 0.001,
    "speedup_vs_exact": 12.0,
    "num_queries": 50,
    "num_candidates": 8,
    "num_leaves": 4,
}


class _Embedder(tf.Module):
    """Five embeddings, found by a hash."""

    def __init__(self):
        super().__init__()
        self.query_embeddings = tf.Variable(tf.zeros([5, 3], tf.float16))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "user_id")], autograph=False)
    def embed(self, user_id):
        rows = tf.strings.to_hash_bucket_fast(user_id, 5)
        return {"embedding": tf.gather(tf.cast(self.query_embeddings, tf.float32), rows)}


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """Two SavedModels of one signature, by key."""
    root = tmp_path_factory.mktemp("exports")
    for key in ("model", "scann_model"):
        module = _Embedder()
        tf.saved_model.save(
            module, str(root / key / "Format-Serving"), signatures={"embed_query": module.embed}
        )
    return root


@pytest.fixture
def channels(exports, tmp_path):
    """Inputs and outputs of Pusher; nothing is blessed yet."""
    written = {
        "blessing": (standard_artifacts.ModelBlessing, {}),
        "infra_blessing": (standard_artifacts.InfraBlessing, {"reasons.json": []}),
        "rejects": (artifacts.Rejects, {"summary.json": SUMMARY}),
        "evaluation": (artifacts.Evaluation, {"metrics.json": EVALUATION}),
        "index_evaluation": (artifacts.Evaluation, {"metrics.json": INDEX}),
        "pushed_model": (standard_artifacts.PushedModel, {}),
    }
    inputs = {}
    for key in ("model", "scann_model"):
        inputs[key] = [standard_artifacts.Model()]
        inputs[key][0].uri = str(exports / key)
    for key, (kind, files) in written.items():
        inputs[key] = [kind()]
        inputs[key][0].uri = str(tmp_path / key)
        (tmp_path / key).mkdir()
        for name, content in files.items():
            (tmp_path / key / name).write_text(json.dumps(content))
    return inputs, {"pushed_model": inputs.pop("pushed_model")}
