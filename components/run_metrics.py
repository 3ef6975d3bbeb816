"""Joins what the components measured: what the report and the model cards have in common."""

import hashlib
import json
from typing import Any

from tfx import types

from components.artifacts import METRICS_FILE, REASONS_FILE, SUMMARY_FILE, read_json
from models.gate import SERVING, Check, Verdict, conclude


def join(input_dict: dict[str, list[types.Artifact]], config: str) -> dict[str, Any]:
    """Reads the parts and lays out the whole.

    Args:
      input_dict: `rejects`, `evaluation`, `index_evaluation` and `infra_blessing`, among others.
      config: `pipeline.config.PipelineConfig` as JSON.

    Returns:
      `dataset`, `splits`, `config`, `config_digest`, what the evaluation holds (`rating`,
      `retrieval`, `tripwires`, `blessing`) and `index`.
    """
    summary = read_json(input_dict["rejects"], SUMMARY_FILE)
    evaluation = read_json(input_dict["evaluation"], METRICS_FILE)
    served = _judge_serving(read_json(input_dict["infra_blessing"], REASONS_FILE))
    evaluation["blessing"] = _both(evaluation["blessing"], served.to_json())
    return {
        "dataset": {key: value for key, value in summary.items() if key != "split"},
        "splits": summary["split"],
        "config": json.loads(config),
        "config_digest": hashlib.sha256(config.encode()).hexdigest()[:16],
        **evaluation,
        "index": read_json(input_dict["index_evaluation"], METRICS_FILE),
    }


def _judge_serving(problems: list[str]) -> Verdict:
    """Says what ServingValidator found as the gate would."""
    text = "both exports are served over REST and gRPC as in process"
    failed = [Check(problem, False, SERVING) for problem in problems]
    return conclude(failed or [Check(text, True, SERVING)])


def _both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Makes one verdict of two, as `models.gate.Verdict.to_json` lays them out."""
    return {
        "blessed": first["blessed"] and second["blessed"],
        **{key: first[key] + second[key] for key in ("reasons", "checks")},
    }
