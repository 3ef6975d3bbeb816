import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.serving_validator import checks, executor
from components.serving_validator.canned_requests import NOBODY, canned_requests
from serving.loader import load_model


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A SavedModel with the parts of a real one: ids, lists, padding and an optional k."""
    folder = tmp_path_factory.mktemp("export")
    module = tf.Module()
    ids = [f"place-{number}" for number in range(4)]
    files = {}
    for name, lines in (("user_ids", ["ann", "bob"]), ("business_ids", ids)):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        files[name] = tf.saved_model.Asset(str(folder / f"{name}.txt"))
    module.files = files
    one = tf.constant([2], tf.int32)

    def recommend(user_id, k=one):
        length = tf.reduce_max(k)
        lists = tf.tile(tf.constant([ids])[:, :length], [tf.size(user_id), 1])
        scores = tf.cast(tf.strings.length(user_id), tf.float32)[:, None] + tf.range(
            4, dtype=tf.float32
        )
        scores = tf.where(tf.range(4) < 3, scores, float("-inf"))[:, :length]
        return {"business_id": lists, "score": scores}

    def rate(user_id, business_id):
        same = tf.debugging.assert_equal(tf.shape(user_id), tf.shape(business_id))
        with tf.control_dependencies([same]):
            return {"rating": tf.cast(tf.strings.length(user_id + business_id), tf.float32)}

    texts = tf.TensorSpec([None], tf.string, "user_id")
    module.recommend = tf.function(
        recommend,
        input_signature=[texts, tf.TensorSpec([None], tf.int32, "k")],
        autograph=False,
    )
    module.rate = tf.function(
        rate, input_signature=[texts, tf.TensorSpec([None], tf.string, "business_id")]
    )
    signatures = {"serving_default": module.recommend, "rate": module.rate}
    tf.saved_model.save(module, str(folder / "Format-Serving"), signatures=signatures)
    return folder / "Format-Serving"


def test_requests_name_the_exports_ids_and_an_unknown_one(export):
    model = load_model(str(export))
    requests = [(r.signature, r.inputs) for r in canned_requests(model)]
    users = ["ann", "bob", "ann", NOBODY]
    assert ("serving_default", {"user_id": users}) in requests
    assert ("serving_default", {"user_id": users, "k": [3]}) in requests
    assert {name for name, _ in requests} == {"serving_default", "rate"}


def _run(export, tmp_path):
    inputs = {}
    for key in ("model", "scann_model"):
        inputs[key] = [standard_artifacts.Model()]
        inputs[key][0].uri = str(tmp_path / key)
        shutil.copytree(export, tmp_path / key / "Format-Serving")
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path / "blessing")
    os.makedirs(blessing.uri)
    executor.Executor().Do(inputs, {"blessing": [blessing]}, {})
    reasons = json.loads((tmp_path / "blessing" / "reasons.json").read_text())
    return blessing, sorted(os.listdir(blessing.uri)), reasons


def test_exports_that_answer_alike_everywhere_are_blessed(export, tmp_path):
    blessing, files, reasons = _run(export, tmp_path)
    assert reasons == []
    assert files == ["INFRA_BLESSED", "reasons.json"]
    assert blessing.get_int_custom_property("blessed") == 1


def test_export_that_can_not_be_loaded_is_not_blessed(export, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(export, broken)
    (broken / "saved_model.pb").write_bytes(b"not a proto")
    problems = checks.find_problems({"t2rec": str(broken)})
    assert len(problems) == 1
    assert "got 11 bytes of something else" in problems[0]


def test_answers_that_differ_are_told(export, monkeypatch):
    """As if the server computed something else than the model in process."""
    in_process = checks._answers_in_process

    def shifted(path):
        answers = in_process(path)
        return [(request, {n: _shift(a) for n, a in found.items()}) for request, found in answers]

    monkeypatch.setattr(checks, "_answers_in_process", shifted)
    problems = checks.find_problems({"t2rec": str(export)})
    assert "t2rec rate over REST: rating is not what the model gives in process" in problems
    assert (
        "t2rec serving_default over gRPC: score is not what the model gives in process" in problems
    )
    assert not any("business_id" in problem for problem in problems)


def _shift(array):
    return array if array.dtype == object else array + np.float32(0.01)
