"""Gathers what the page shows, and builds it."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import examples
from components.artifacts import METRICS_FILE, PAGE_FILE, read_json
from components.evaluator.exported import ExportedModel
from components.report import page, people, statistics
from models import exported_tables, features
from schemas.loader import TABLES

_HTML_FILE = "index.html"


class Executor(base_executor.BaseExecutor):
    """Writes `page.json` and `index.html`."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Builds the page.

        Args:
          input_dict: See `component.ReportSpec`.
          output_dict: `page`.
          exec_properties: `refit`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        star = examples.StarSchema(
            input_dict["interactions"], input_dict["users"], input_dict["businesses"]
        )
        tables = exported_tables.read(
            path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        )
        gathered = {
            "users": people.tell_users(
                ExportedModel(tables, star.user_ids, star.business_ids),
                star,
                star.read_splits(bool(exec_properties["refit"])).fitted,
                star.read(features.TEST),
            ),
            "statistics": {
                table: statistics.summarise(input_dict[f"{table}_statistics"]) for table in TABLES
            },
        }
        report = read_json(input_dict["metrics"], METRICS_FILE)
        uri = artifact_utils.get_single_uri(output_dict["page"])
        written = {
            PAGE_FILE: json.dumps(gathered, indent=1),
            _HTML_FILE: page.build(report, gathered),
        }
        for name, content in written.items():
            io_utils.write_string_file(os.path.join(uri, name), content)
