"""TensorFlow Model Analysis on a sample of the test split, by TFX's own Evaluator.

It asks the exports themselves, ours and the best baseline's, and so checks what the vectorised
metrics take for granted: that a signature says what the embeddings say.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tfx import types
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from models import features
from models.measurements import ALL
from models.tables import Interactions

CANDIDATE, BASELINE = "candidate", "baseline"
# Holds the names of all slices that a row is in.
_SLICE = "slice"
_FILE = "rating_sample-00000-of-00001"
# By our names, TFMA's.
_METRICS = {
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "calibration": "calibration",
}
_EVAL_CONFIG = """
  model_specs {
    name: "candidate" signature_name: "rate" label_key: "stars" prediction_key: "rating"
  }
  model_specs {
    name: "baseline" is_baseline: true
    signature_name: "rate" label_key: "stars" prediction_key: "rating"
  }
  slicing_specs {}
  slicing_specs { feature_keys: ["slice"] }
  metrics_specs {
    metrics {
      class_name: "RootMeanSquaredStars" module: "components.evaluator.native_metrics"
      config: '"name": "root_mean_squared_error"'
    }
    metrics {
      class_name: "MeanAbsoluteStars" module: "components.evaluator.native_metrics"
      config: '"name": "mean_absolute_error"'
    }
    metrics { class_name: "Calibration" config: '"name": "calibration"' }
    metrics { class_name: "ExampleCount" config: '"name": "example_count"' }
  }
  options {
    compute_confidence_intervals { value: true }
    confidence_intervals { method: JACKKNIFE }
  }
"""


def eval_config() -> tfma.EvalConfig:
    """Says what TFMA computes: the metrics of both exports' `rate`, by slice, with intervals."""
    return text_format.Parse(_EVAL_CONFIG, tfma.EvalConfig())


def write_sample(
    artifact: types.Artifact,
    test: Interactions,
    user_ids: np.ndarray,
    business_ids: np.ndarray,
    slices: Mapping[str, np.ndarray],
    max_rows: int,
) -> int:
    """Writes test interactions as Examples that both exports can be asked about.

    Args:
      artifact: Examples, whose split `test` is written.
      test: Interactions of the test split.
      user_ids: `[num_users]` array of `bytes`.
      business_ids: `[num_businesses]` array of `bytes`.
      slices: By name, a `[num_interactions]` bool array.
      max_rows: Of more rows, so many are drawn.

    Returns:
      How many were written.
    """
    rows = np.arange(len(test))
    if len(rows) > max_rows:
        rows = np.sort(np.random.default_rng(0).choice(rows, max_rows, replace=False))
    artifact.split_names = artifact_utils.encode_split_names([features.TEST])
    examples_utils.set_payload_format(artifact, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    folder = artifact_utils.get_split_uri([artifact], features.TEST)
    tf.io.gfile.makedirs(folder)
    names = {name.encode(): mask for name, mask in slices.items() if name != ALL}
    with tf.io.TFRecordWriter(os.path.join(folder, _FILE)) as writer:
        for row in rows:
            example = tf.train.Example()
            feature = example.features.feature
            feature[features.USER_ID].bytes_list.value.append(user_ids[test.user_rows[row]])
            business_id = business_ids[test.business_rows[row]]
            feature[features.BUSINESS_ID].bytes_list.value.append(business_id)
            feature[features.STARS].float_list.value.append(test.stars[row])
            feature[_SLICE].bytes_list.value.extend(n for n, mask in names.items() if mask[row])
            writer.write(example.SerializeToString())
    return len(rows)


def read_results(uri: str) -> dict[str, Any]:
    """Reads what TFX's Evaluator wrote, in the form of `metrics.json`.

    Args:
      uri: Folder of a ModelEvaluation artifact.

    Returns:
      By model, `candidate` and `baseline`: by metric its value and interval, `num_ratings`, and the
      same in `slices`.
    """
    return {
        model: _lay_out(tfma.load_eval_result(uri, model_name=model).slicing_metrics)
        for model in (CANDIDATE, BASELINE)
    }


def _lay_out(slicing_metrics: list) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for slice_key, by_output in slicing_metrics:
        found = by_output[""][""]
        name = ALL if slice_key in ((), ((),)) else slice_key[0][1]
        told[name] = {ours: _interval(found[its]) for ours, its in _METRICS.items()}
        told[name]["num_ratings"] = int(_interval(found["example_count"])["value"])
    return {**told.pop(ALL, {}), "slices": told}


def _interval(metric: Mapping[str, Any]) -> dict[str, float]:
    bounded = metric.get("boundedValue")
    if bounded is None:
        return {"value": round(float(metric["doubleValue"]), 6)}
    keys = {"value": "value", "low": "lowerBound", "high": "upperBound"}
    told = {ours: round(float(bounded[its]), 6) for ours, its in keys.items()}
    return told if all(map(math.isfinite, told.values())) else {"value": told["value"]}
