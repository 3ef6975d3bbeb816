"""Tunes and builds the ScaNN index, and measures it against exact search."""

import dataclasses
import json
import os
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import examples, export_lists
from components.artifacts import METRICS_FILE
from models import export, features, gradients
from models.index_recall import Recall, recalls_by_score
from models.index_tuning import Tuned, tune
from models.recommender_tables import RecommenderTables
from models.scann_index import TUNED_K
from models.search import KIND_NAMES
from models.tables import IdIndex, read_columns


class Executor(base_executor.BaseExecutor):
    """Turns the exact SavedModel into its approximate twin."""

    @gradients.forgotten()
    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Builds, exports and measures the index.

        Half of the queries are for the choice, the others for what is reported.

        Args:
          input_dict: `model` and `interactions`.
          output_dict: `scann_model` and `index_evaluation`.
          exec_properties: `max_queries` and `target_recall`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        exact_path = path_utils.serving_model_path(
            artifact_utils.get_single_uri(input_dict["model"])
        )
        scann = artifact_utils.get_single_instance(output_dict["scann_model"])
        scann_path = path_utils.serving_model_dir(scann.uri)
        tables, encoder = export.load_tables(exact_path)
        users = _eval_users(input_dict["interactions"], tables, exec_properties["max_queries"])
        choosing, reporting = users[::2], users[1::2] if len(users) > 1 else users
        begin = time.perf_counter()
        tuned = tune(
            tables,
            tables.query_embeddings[choosing].astype(np.float32),
            exec_properties["target_recall"],
        )
        seconds = time.perf_counter() - begin
        with tempfile.TemporaryDirectory() as assets:
            export.save(tuned.recommender(tables, encoder, assets), scann_path)
        exact, exact_seconds = _answers(exact_path, tables.user_ids[reporting])
        approximate, scann_seconds = _answers(scann_path, tables.user_ids[reporting])
        recall = Recall.of(recalls_by_score(approximate, exact))
        measured = {
            "recall@10": recall.mean,
            "recall@10_standard_error": recall.error,
            "speedup_vs_exact": exact_seconds / scann_seconds,
            "num_queries": len(reporting),
            "num_candidates": len(tables.business_ids),
            "tuning_seconds": seconds,
            **_describe(tuned),
        }
        uri = artifact_utils.get_single_uri(output_dict["index_evaluation"])
        io_utils.write_string_file(os.path.join(uri, METRICS_FILE), json.dumps(measured, indent=2))


def _eval_users(
    interactions: list[types.Artifact], tables: RecommenderTables, max_users: int
) -> np.ndarray:
    """Draws users of the eval split, as rows; any users where it has none."""
    files = examples.split_files(interactions, features.EVAL)
    spec = {features.USER_ID: tf.io.FixedLenFeature([], tf.string)}
    rows = IdIndex(tables.user_ids).rows(np.unique(read_columns(files, spec)[features.USER_ID]))
    rows = rows[rows >= 0] if (rows >= 0).any() else np.arange(len(tables.user_ids))
    rng = np.random.default_rng(0)
    return rng.permutation(rows)[:max_users]


def _describe(tuned: Tuned) -> dict[str, Any]:
    """Puts into JSON what was tried and what was chosen."""
    return {
        "num_leaves": tuned.index.num_leaves if tuned.index else 0,
        "efforts": {
            KIND_NAMES[kind]: effort and dataclasses.asdict(effort)
            for kind, effort in tuned.efforts.items()
        },
        "exact_microseconds": tuned.exact_microseconds,
        "curve": [
            {
                "kind": KIND_NAMES[point.kind],
                "num_leaves": point.num_leaves,
                **dataclasses.asdict(point.effort),
                "recall@10": point.recall,
                "microseconds": point.microseconds,
            }
            for point in tuned.curve
        ],
    }


def _answers(path: str, users: np.ndarray) -> tuple[np.ndarray, float]:
    """Asks an export for everyone's list.

    Returns:
      `[num_users, 10]` scores and the seconds that the calls took after the first.
    """
    ask = export_lists.load(path, TUNED_K)
    ask(users[: export_lists.BATCH])
    begin = time.perf_counter()
    lists = ask(users)
    return lists.scores, time.perf_counter() - begin
