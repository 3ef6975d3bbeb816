"""Blesses exports that the server answers for."""

import json
import logging
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.artifacts import NOT_SERVABLE_FILE, REASONS_FILE, SERVABLE_FILE
from components.pusher.versions import EXACT_MODEL, SCANN_MODEL
from components.serving_validator import checks

_BLESSED_PROPERTY = "blessed"

_LOG = logging.getLogger("t2rec")


class Executor(base_executor.BaseExecutor):
    """Serves both exports and compares."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the blessing, or the reasons against it.

        Args:
          input_dict: `model` and `scann_model`.
          output_dict: `blessing`.
          exec_properties: None that matter.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        models = {
            name: path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[key]))
            for name, key in ((EXACT_MODEL, "model"), (SCANN_MODEL, "scann_model"))
        }
        problems = checks.find_problems(models)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.set_int_custom_property(_BLESSED_PROPERTY, int(not problems))
        name = NOT_SERVABLE_FILE if problems else SERVABLE_FILE
        io_utils.write_string_file(os.path.join(blessing.uri, name), "")
        io_utils.write_string_file(
            os.path.join(blessing.uri, REASONS_FILE), json.dumps(problems, indent=2)
        )
        for problem in problems:
            _LOG.warning("can't be served: %s", problem)
        if not problems:
            _LOG.info("served %s over REST and gRPC as in process", " and ".join(models))
