"""Trains the two towers and exports them."""

import dataclasses
import json
import os
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import entity_tables, examples
from models import export, features, tables, training
from models.options import ModelOptions, TrainingOptions


class Executor(base_executor.BaseExecutor):
    """Trains on the train split, chooses on eval, refits, and writes a SavedModel."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains and exports.

        Args:
          input_dict: See `component.TrainerSpec`.
          output_dict: `model` and `model_run`.
          exec_properties: `model_options` and `training_options` as JSON, `refit`.

        Raises:
          InputError: If the tables do not fit together or the loss diverges.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        users = entity_tables.read_users(input_dict["users"], input_dict["user_graph"])
        businesses = entity_tables.read_businesses(
            input_dict["businesses"], input_dict["business_graph"]
        )
        star = examples.StarSchema(
            input_dict["interactions"], input_dict["users"], input_dict["businesses"]
        )
        result = training.train(
            users,
            businesses,
            star.read(features.TRAIN),
            star.read(features.EVAL),
            ModelOptions.model_validate_json(exec_properties["model_options"]),
            TrainingOptions.model_validate_json(exec_properties["training_options"]),
            refit=bool(exec_properties["refit"]),
        )
        labels = _read_labels(input_dict["raw_businesses"], businesses.ids)
        recommender_tables = export.build_tables(
            result.model,
            users.ids,
            businesses.ids,
            seen=result.fitted.histories(users.num_rows),
            categories=labels[features.BUSINESS_CATEGORIES],
            cities=labels[features.BUSINESS_CITY],
        )
        model = artifact_utils.get_single_instance(output_dict["model"])
        export.save_exact(
            result.model,
            recommender_tables,
            tft.TFTransformOutput(
                artifact_utils.get_single_uri(input_dict["user_graph"])
            ).transform_features_layer(),
            path_utils.serving_model_dir(model.uri),
        )
        model_run = artifact_utils.get_single_instance(output_dict["model_run"])
        history = {
            "choices": {
                task: dataclasses.asdict(choice) for task, choice in result.choices.items()
            },
            "shrinkages": list(result.shrinkages),
            "sizes": result.sizes and dataclasses.asdict(result.sizes),
        }
        with fileio.open(os.path.join(model_run.uri, "history.json"), "w") as file:
            file.write(json.dumps(history, indent=2))


def _read_labels(
    channel: list[types.Artifact], business_ids: np.ndarray
) -> dict[str, dict[bytes, np.ndarray]]:
    """Reads which businesses carry each category and city.

    Returns:
      By feature and label, a sorted int32 array of rows.
    """
    keys = (features.BUSINESS_CATEGORIES, features.BUSINESS_CITY)
    spec = {key: tf.io.RaggedFeature(tf.string) for key in keys}
    columns = tables.read_columns(
        examples.split_files(channel, features.ALL),
        {features.BUSINESS_ID: tf.io.FixedLenFeature([], tf.string), **spec},
    )
    rows = tables.IdIndex(business_ids).rows(columns[features.BUSINESS_ID])
    return {key: tables.postings(columns[key], rows) for key in keys}
