"""Measures the exported model and the baselines on the test split."""

import io
import json
import os
from typing import Any

import numpy as np
import pandas as pd
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import examples
from models import export, features, metrics
from models.evaluation import CUT_OFFS, Known, RatingEvaluation, RetrievalEvaluation, judge
from models.recommender import RecommenderTables

MODEL = "t2rec"


class Executor(base_executor.BaseExecutor):
    """Evaluates and blesses."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `metrics.json` and the blessing.

        Args:
          input_dict: See `component.EvaluatorSpec`.
          output_dict: `evaluation` and `blessing`.
          exec_properties: `gate` and `objective` as JSON, `target_recall`, `refit`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        gate = json.loads(exec_properties["gate"])
        objective = json.loads(exec_properties["objective"])
        star = examples.StarSchema(
            input_dict["interactions"], input_dict["users"], input_dict["businesses"]
        )
        test = star.read(features.TEST)
        fitted = star.read_fitted(bool(exec_properties["refit"]))
        known = Known.from_interactions(fitted, len(star.user_ids), len(star.business_ids))
        model, _ = export.load_tables(
            path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        )
        baselines_uri = artifact_utils.get_single_uri(input_dict["baselines"])
        skipped = _read_json(baselines_uri, "skipped.json")
        measured: dict[str, Any] = {}
        checks: dict[str, bool] = {}
        left_out: list[str] = []
        if objective["rating"]:
            predicted = {MODEL: _rate(model, test), **_read_ratings(baselines_uri)}
            rating = RatingEvaluation(test, known)
            measured["rating"] = _by_model(rating.evaluate, predicted, skipped["rating"])
            other = gate["rating_baseline"]
            if np.ptp(fitted.stars) == 0:
                left_out.append(
                    f"ratings, for all training stars are {fitted.stars[0]:g}: nothing to predict"
                )
            elif other in skipped["rating"]:
                checks[_without("RMSE", other, skipped["rating"])] = False
            else:
                difference = rating.rmse_difference(predicted[MODEL], predicted[other])
                checks[_sentence("RMSE", "below", other, difference)] = (
                    difference.high < gate["max_rmse_difference"]
                )
        if objective["retrieval"]:
            retrieval = RetrievalEvaluation(test, fitted, known)
            ranked = {MODEL: _rank(model, retrieval), **_read_lists(baselines_uri)}
            measured["retrieval"] = _by_model(retrieval.evaluate, ranked, skipped["retrieval"])
            other = gate["retrieval_baseline"]
            if other in skipped["retrieval"]:
                checks[_without("recall@20", other, skipped["retrieval"])] = False
            else:
                difference = retrieval.recall_difference(ranked[MODEL], ranked[other])
                checks[_sentence("recall@20", "above", other, difference)] = (
                    difference.low > gate["min_recall_difference"]
                )
        index_uri = artifact_utils.get_single_uri(input_dict["index_evaluation"])
        index = _read_json(index_uri, "metrics.json")
        target = exec_properties["target_recall"]
        recall = index["recall@10"]
        checks[
            f"recall@10 of the index against exact search is {recall:.4f}, at least {target}"
        ] = recall >= target
        verdict = judge(checks, left_out)
        measured["blessing"] = {"blessed": verdict.blessed, "reasons": list(verdict.reasons)}
        uri = artifact_utils.get_single_uri(output_dict["evaluation"])
        with fileio.open(os.path.join(uri, "metrics.json"), "w") as file:
            file.write(json.dumps(measured, indent=2))
        _write_blessing(
            artifact_utils.get_single_instance(output_dict["blessing"]),
            artifact_utils.get_single_instance(input_dict["model"]),
            verdict.blessed,
        )


def _by_model(evaluate, outputs: dict[str, np.ndarray], skipped: dict[str, str]) -> dict:
    models = {name: evaluate(value) for name, value in outputs.items()}
    return {features.TEST: {"models": models, "skipped": skipped}}


def _sentence(metric: str, side: str, baseline: str, difference: metrics.Interval) -> str:
    return (
        f"test {metric} minus that of {baseline} is {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}], to be {side} 0 with its interval"
    )


def _without(metric: str, baseline: str, skipped: dict[str, str]) -> str:
    return (
        f"test {metric} against that of {baseline} is not known, for {baseline} was skipped: "
        f"{skipped[baseline]}"
    )


def _rate(model: RecommenderTables, test) -> np.ndarray:
    """Predicts the test ratings from the export's own embeddings."""
    block = -model.rating_dim
    queries = model.query_embeddings[:, block:].astype(np.float32)
    stars = np.einsum(
        "nd,nd->n",
        queries[test.user_rows],
        model.candidate_embeddings[test.business_rows, block:],
    )
    return np.clip(stars, features.MIN_STARS, features.MAX_STARS)


def _rank(model: RecommenderTables, protocol: RetrievalEvaluation) -> np.ndarray:
    """Ranks the catalogue for the test users from the export's own embeddings."""
    queries = model.query_embeddings[protocol.users].astype(np.float32) * model.score_weights
    return metrics.top_k(queries, model.candidate_embeddings[:-1], max(CUT_OFFS), protocol.seen)


def _read_frames(uri: str, task: str) -> dict[str, pd.DataFrame]:
    frames = {}
    for path in sorted(fileio.glob(os.path.join(uri, task, "*.parquet"))):
        with fileio.open(path, "rb") as file:
            name = os.path.basename(path).removesuffix(".parquet")
            frames[name] = pd.read_parquet(io.BytesIO(file.read()))
    return frames


def _read_ratings(uri: str) -> dict[str, np.ndarray]:
    return {name: frame["stars"].to_numpy() for name, frame in _read_frames(uri, "rating").items()}


def _read_lists(uri: str) -> dict[str, np.ndarray]:
    return {
        name: frame["business_row"].to_numpy().reshape(-1, int(frame["rank"].max()))
        for name, frame in _read_frames(uri, "retrieval").items()
    }


def _read_json(uri: str, name: str) -> dict:
    with fileio.open(os.path.join(uri, name)) as file:
        return json.loads(file.read())


def _write_blessing(blessing: types.Artifact, model: types.Artifact, blessed: bool) -> None:
    """Writes the blessing in the form that TFX's own components read."""
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
    )
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
