"""The work of Trainer: reads the tables, trains, and exports."""

import dataclasses
import json
import logging
import os
from typing import Any

import tensorflow_transform as tft
from tfx import types
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import entity_tables, examples
from components.artifacts import BEST_HYPERPARAMETERS_FILE
from models import export, features, gradients, replicas, training
from models.checkpoints import Checkpoints
from models.options import ModelOptions, TrainingOptions
from models.recipes import Recipe, apply_recipe, read_hyperparameters
from models.warm_start import Learnt

Artifacts = dict[str, list[types.Artifact]]

# Beside the SavedModel: what a later training starts from.
_LEARNT = "Learnt"
_LOG = logging.getLogger("t2rec")


@gradients.forgotten()
def train_and_export(
    input_dict: Artifacts,
    output_dict: Artifacts,
    exec_properties: dict[str, Any],
    is_chief: bool = True,
) -> None:
    """Trains on the train split, chooses on eval, refits, and writes a SavedModel.

    Args:
      input_dict: See `component.TrainerSpec`.
      output_dict: `model` and `model_run`.
      exec_properties: `model_options` and `training_options` as JSON, `refit`, `checkpoint_dir`,
        `code_digest`.
      is_chief: Whether anything is written; the other workers of a cluster only train.

    Raises:
      InputError: If the tables do not fit together or the loss diverges.
    """
    model_options, options = apply_recipe(
        _read_hyperparameters(input_dict.get("hyperparameters")),
        ModelOptions.model_validate_json(exec_properties["model_options"]),
        TrainingOptions.model_validate_json(exec_properties["training_options"]),
    )
    # Before anything else that TensorFlow does: see `create_strategy`.
    strategy = replicas.create_strategy(options.distribute)
    users, businesses = entity_tables.read_both(input_dict)
    star = examples.StarSchema(
        input_dict["interactions"], input_dict["users"], input_dict["raw_businesses"]
    )
    model_run = artifact_utils.get_single_instance(output_dict["model_run"])
    folder = exec_properties.get("checkpoint_dir") or "" if is_chief else ""
    kept = Checkpoints(folder, options.checkpoint_seconds)
    with strategy.scope():
        result = training.train(
            users,
            businesses,
            star.read(features.TRAIN),
            star.read(features.EVAL),
            model_options,
            options,
            refit=bool(exec_properties["refit"]),
            # Other code would not go on from the same place.
            kept=kept.within(exec_properties.get("code_digest") or "any"),
            logs=model_run.uri if is_chief else "",
            base=_read_base(input_dict.get("base_model")),
        )
    if not is_chief:
        return
    recommender_tables = export.build_tables(
        result.model,
        users.ids,
        businesses.ids,
        seen=result.fitted.histories(users.num_rows),
        places=star.places(),
    )
    model = artifact_utils.get_single_instance(output_dict["model"])
    user_graph, business_graph = (
        tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[key]))
        for key in ("user_graph", "business_graph")
    )
    export.save_exact(
        result.model,
        recommender_tables,
        result.fitted,
        user_graph,
        business_graph,
        path_utils.serving_model_dir(model.uri),
    )
    if result.learnt is not None:
        result.learnt.write(os.path.join(model.uri, _LEARNT))
    history = {
        "choices": {task: dataclasses.asdict(choice) for task, choice in result.choices.items()},
        "shrinkages": list(result.shrinkages),
        # JSON knows no infinity.
        "covariate_penalty": str(result.covariate_penalty),
        "sizes": result.sizes and dataclasses.asdict(result.sizes),
    }
    io_utils.write_string_file(
        os.path.join(model_run.uri, "history.json"), json.dumps(history, indent=2)
    )
    kept.clear()


def _read_hyperparameters(hyperparameters: list[types.Artifact] | None) -> Recipe:
    """Reads what Tuner found, if there is one: nothing that the options tell."""
    if not hyperparameters:
        return {}
    path = os.path.join(artifact_utils.get_single_uri(hyperparameters), BEST_HYPERPARAMETERS_FILE)
    return read_hyperparameters(json.loads(io_utils.read_string_file(path))["values"])


def _read_base(base_model: list[types.Artifact] | None) -> Learnt | None:
    """Reads what an earlier model learnt, if there is one and it was asked to keep that."""
    if base_model is None:
        return None
    if not base_model:
        _LOG.info("a cold start: no model has been blessed yet")
        return None
    uri = artifact_utils.get_single_uri(base_model)
    learnt = Learnt.read(os.path.join(uri, _LEARNT))
    if learnt is None:
        _LOG.warning(
            "a cold start: the latest blessed model was trained without training.warm_start"
        )
    return learnt
