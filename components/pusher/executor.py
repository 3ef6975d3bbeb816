"""Puts blessed exports where servers look for them."""

import logging
import os
import time
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.serving_validator import executor as serving_validator

EXACT_MODEL, SCANN_MODEL = "t2rec", "t2rec_scann"

# Servers follow folders with a number for a name; this is none.
_INCOMING = "incoming-"

_LOG = logging.getLogger("t2rec")


class Executor(base_executor.BaseExecutor):
    """Copies each export beside its destination and then renames it."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes, or records that nothing was pushed.

        Args:
          input_dict: `model`, `scann_model`, `blessing` and `infra_blessing`.
          output_dict: `pushed_model`.
          exec_properties: `serving_dir`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        for key, name, reason in (
            ("blessing", constants.BLESSED_FILE_NAME, "the model is not blessed"),
            ("infra_blessing", serving_validator.BLESSED_FILE, "the exports can't be served"),
        ):
            uri = artifact_utils.get_single_uri(input_dict[key])
            if not fileio.exists(os.path.join(uri, name)):
                pushed.set_int_custom_property("pushed", 0)
                _LOG.warning("not pushed: %s", reason)
                return
        serving_dir = exec_properties["serving_dir"]
        sources = {
            name: path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[key]))
            for name, key in ((SCANN_MODEL, "scann_model"), (EXACT_MODEL, "model"))
        }
        version = _next_version([os.path.join(serving_dir, name) for name in sources])
        for name, source in sources.items():
            push(source, os.path.join(serving_dir, name), version)
        pushed.set_int_custom_property("pushed", 1)
        pushed.set_string_custom_property("pushed_destination", serving_dir)
        pushed.set_string_custom_property("pushed_version", str(version))
        io_utils.write_string_file(os.path.join(pushed.uri, "version"), str(version))
        _LOG.info("pushed version %d to %s", version, serving_dir)


def push(source: str, model_dir: str, version: int) -> None:
    """Makes a SavedModel appear as a version, whole or not at all.

    Args:
      source: Folder of the SavedModel.
      model_dir: Folder that servers follow.
      version: Number of the version, new in `model_dir`.
    """
    incoming = os.path.join(model_dir, f"{_INCOMING}{version}")
    fileio.makedirs(model_dir)
    for leftover in fileio.glob(os.path.join(model_dir, f"{_INCOMING}*")):
        fileio.rmtree(leftover)  # Of a run that was killed.
    io_utils.copy_dir(source, incoming)
    fileio.rename(incoming, os.path.join(model_dir, str(version)))


def _next_version(model_dirs: list[str]) -> int:
    """Returns the time in seconds, or one more than the newest version if that is not newer."""
    names = [
        name.strip("/")
        for model_dir in model_dirs
        if fileio.exists(model_dir)
        for name in fileio.listdir(model_dir)
    ]
    newest = max((int(name) for name in names if name.isdigit()), default=0)
    return max(int(time.time()), newest + 1)
