"""Writes down how a run ended."""

import json
import logging
import os
from typing import Any

from google.protobuf import json_format, message
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio

FINAL_STATUS_KEY, SERVING_DIR_KEY = "final_status", "serving_dir"
NOTICE_FILE = "last_run.json"

_LOG = logging.getLogger("t2rec")


class Executor(base_executor.BaseExecutor):
    """Writes `last_run.json` beside the exports, where those who serve them look."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the notice.

        Args:
          input_dict: Empty.
          output_dict: Empty.
          exec_properties: `final_status`, Kubeflow's `PipelineTaskFinalStatus`: JSON, or a struct;
            `serving_dir`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        status = exec_properties[FINAL_STATUS_KEY]
        if isinstance(status, message.Message):
            status = json_format.MessageToDict(status)
        elif isinstance(status, str):
            status = json.loads(status)
        serving_dir = exec_properties[SERVING_DIR_KEY]
        path = os.path.join(serving_dir, NOTICE_FILE)
        fileio.makedirs(serving_dir)
        with fileio.open(f"{path}.incoming", "w") as file:
            file.write(json.dumps(status, indent=2) + "\n")
        fileio.rename(f"{path}.incoming", path, overwrite=True)
        _LOG.info("the run ended as %s", status.get("state"))
