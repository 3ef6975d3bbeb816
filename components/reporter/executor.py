"""Joins what the other components measured."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import run_metrics
from components.artifacts import METRICS_FILE, read_json


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
        pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
        report = {
            **run_metrics.join(input_dict, exec_properties["config"]),
            "training": read_json(input_dict["model_run"], "history.json"),
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
        io_utils.write_string_file(
            os.path.join(uri, METRICS_FILE), json.dumps(report, indent=2) + "\n"
        )
