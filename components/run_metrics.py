"""Joins what the components measured: what the report and the model cards have in common."""

import hashlib
import json
from typing import Any

from tfx import types

from components.artifacts import METRICS_FILE, REASONS_FILE, SUMMARY_FILE, read_json


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
    _add_infra_blessing(evaluation, read_json(input_dict["infra_blessing"], REASONS_FILE))
    return {
        "dataset": {key: value for key, value in summary.items() if key != "split"},
        "splits": summary["split"],
        "config": json.loads(config),
        "config_digest": hashlib.sha256(config.encode()).hexdigest()[:16],
        **evaluation,
        "index": read_json(input_dict["index_evaluation"], METRICS_FILE),
    }


def _add_infra_blessing(evaluation: dict, problems: list[str]) -> None:
    """Makes one verdict of that on quality and that on serving."""
    verdict = evaluation["blessing"]
    if problems:
        verdict["blessed"] = False
    reasons = [f"FAILED: {problem}" for problem in problems] or [
        "passed: both exports are served over REST and gRPC as in process"
    ]
    verdict["reasons"] = [*verdict["reasons"], *reasons]
