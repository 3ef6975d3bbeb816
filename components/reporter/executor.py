"""Joins what the other components measured."""

import hashlib
import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.serving_validator.executor import REASONS_FILE

METRICS_FILE = "metrics.json"


class Executor(base_executor.BaseExecutor):
    """Writes one `metrics.json` for a run."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads the parts and writes the whole.

        Args:
          input_dict: See `component.ReporterSpec`.
          output_dict: `report`.
          exec_properties: `config` as JSON.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        summary = _read(input_dict["rejects"], "summary.json")
        evaluation = _read(input_dict["evaluation"], METRICS_FILE)
        _add_infra_blessing(evaluation, _read(input_dict["infra_blessing"], REASONS_FILE))
        pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
        config = exec_properties["config"]
        report = {
            "dataset": {key: value for key, value in summary.items() if key != "split"},
            "splits": summary["split"],
            "config": json.loads(config),
            "config_digest": hashlib.sha256(config.encode()).hexdigest()[:16],
            **evaluation,
            "index": _read(input_dict["index_evaluation"], METRICS_FILE),
            "training": _read(input_dict["model_run"], "history.json"),
            "pushed_version": pushed.get_string_custom_property("pushed_version") or None,
        }
        if input_dict.get("native_evaluation"):
            # TFMA is large, and only read here.
            from components.evaluator import native

            found = native.read_results(
                artifact_utils.get_single_uri(input_dict["native_evaluation"])
            )
            report["rating"]["test"]["native"]["metrics"] = found
        uri = artifact_utils.get_single_uri(output_dict["report"])
        with fileio.open(os.path.join(uri, METRICS_FILE), "w") as file:
            file.write(json.dumps(report, indent=2) + "\n")


def _add_infra_blessing(evaluation: dict, problems: list[str]) -> None:
    """Makes one verdict of that on quality and that on serving."""
    verdict = evaluation["blessing"]
    if problems:
        verdict["blessed"] = False
    reasons = [f"FAILED: {problem}" for problem in problems] or [
        "passed: both exports are served over REST and gRPC as in process"
    ]
    verdict["reasons"] = [*verdict["reasons"], *reasons]


def _read(channel: list[types.Artifact], name: str) -> Any:
    with fileio.open(os.path.join(artifact_utils.get_single_uri(channel), name)) as file:
        return json.loads(file.read())
