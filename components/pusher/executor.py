"""Puts blessed exports where servers look for them."""

import logging
import os
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import run_metrics
from components.artifacts import SERVABLE_FILE
from components.pusher import model_card, versions

_LOG = logging.getLogger("t2rec")


class Executor(base_executor.BaseExecutor):
    """Copies each export beside its destination, adds its card, and then renames it."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes, or records that nothing was pushed.

        Args:
          input_dict: See `component.PusherSpec`.
          output_dict: `pushed_model`.
          exec_properties: `serving_dir`, `config` as JSON, `noise_floor_rmse`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        for key, name, reason in (
            ("blessing", constants.BLESSED_FILE_NAME, "the model is not blessed"),
            ("infra_blessing", SERVABLE_FILE, "the exports can't be served"),
        ):
            uri = artifact_utils.get_single_uri(input_dict[key])
            if not fileio.exists(os.path.join(uri, name)):
                pushed.set_int_custom_property("pushed", 0)
                _LOG.warning("not pushed: %s", reason)
                return
        serving_dir = exec_properties["serving_dir"]
        sources = {
            name: path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[key]))
            for name, key in (
                (versions.SCANN_MODEL, "scann_model"),
                (versions.EXACT_MODEL, "model"),
            )
        }
        version = versions.next_version([os.path.join(serving_dir, name) for name in sources])
        metrics = run_metrics.join(input_dict, exec_properties["config"])
        is_generated = exec_properties["noise_floor_rmse"] > 0
        for name, source in sources.items():
            export = model_card.read_export(source, name, version)
            card = model_card.build(export, metrics, is_generated)
            model_dir = os.path.join(serving_dir, name)
            versions.push(source, model_dir, version, model_card.files(card))
        pushed.set_int_custom_property("pushed", 1)
        pushed.set_string_custom_property("pushed_destination", serving_dir)
        pushed.set_string_custom_property("pushed_version", str(version))
        io_utils.write_string_file(os.path.join(pushed.uri, "version"), str(version))
        _LOG.info("pushed version %d to %s", version, serving_dir)
