"""Searches for hyperparameters, and writes them as TFX's Tuner does."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import entity_tables, examples
from components.artifacts import BEST_HYPERPARAMETERS_FILE
from models import features
from models.options import ModelOptions, TrainingOptions

# As TFX's Tuner names it.
_TUNER_RESULTS = "tuner_results.json"


class Executor(base_executor.BaseExecutor):
    """Tries values on the eval split."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches, see `models.hyperparameters`.

        Args:
          input_dict: See `component.TunerSpec`.
          output_dict: `best_hyperparameters` and `tuner_results`.
          exec_properties: `model_options` and `training_options` as JSON, `num_trials`.

        Raises:
          InputError: If the tables do not fit together or all trials diverge.
        """
        # KerasTuner takes seconds to import, which no other component needs.
        from models import hyperparameters

        self._log_startup(input_dict, output_dict, exec_properties)
        star = examples.StarSchema(
            input_dict["interactions"], input_dict["users"], input_dict["businesses"]
        )
        best, trials = hyperparameters.search(
            *entity_tables.read_both(input_dict),
            star.read(features.TRAIN),
            star.read(features.EVAL),
            ModelOptions.model_validate_json(exec_properties["model_options"]),
            TrainingOptions.model_validate_json(exec_properties["training_options"]),
            exec_properties["num_trials"],
        )
        for key, name, content in (
            ("best_hyperparameters", BEST_HYPERPARAMETERS_FILE, best.get_config()),
            ("tuner_results", _TUNER_RESULTS, trials),
        ):
            uri = artifact_utils.get_single_uri(output_dict[key])
            io_utils.write_string_file(os.path.join(uri, name), json.dumps(content))
