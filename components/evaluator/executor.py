"""Measures the exported model and the baselines on the test split, and judges."""

import json
import logging
import os
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import examples
from components.artifacts import METRICS_FILE, read_json
from components.evaluator import approximate, native
from components.evaluator.baseline_outputs import BaselineOutputs
from components.evaluator.exported import ExportedModel, find_served, load_served
from models import exported_tables, features, tripwires
from models.evaluation import RatingEvaluation, RetrievalEvaluation
from models.gate import (
    INDEX,
    MODEL,
    PREVIOUS,
    Check,
    Evidence,
    GateOptions,
    best_baseline,
    conclude,
    judge,
)
from models.index_recall import Recall
from models.measurements import NUM_RATINGS, NUM_USERS, Measurements
from models.slices import Known, Labels
from models.tables import Interactions

# What is compared in every slice; elsewhere all metrics are.
_SLICE_METRICS = {"rating": ("rmse",), "retrieval": ("recall@20", "ndcg@20")}

_LOG = logging.getLogger("t2rec")


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
          output_dict: `evaluation`, `blessing` and `rating_examples`.
          exec_properties: `gate` and `objective` as JSON, `target_recall`, `refit`, `serving_dir`,
            `noise_floor_rmse`, `max_native_rows`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        gate = GateOptions.model_validate_json(exec_properties["gate"])
        objective = json.loads(exec_properties["objective"])
        star = examples.StarSchema(
            input_dict["interactions"], input_dict["users"], input_dict["businesses"]
        )
        split = _Split(star, bool(exec_properties["refit"]))
        model_path = path_utils.serving_model_path(
            artifact_utils.get_single_uri(input_dict["model"])
        )
        tables = exported_tables.read(model_path)
        model = ExportedModel(tables, star.user_ids, star.business_ids)
        models = {MODEL: model}
        previous, note = _load_previous(exec_properties["serving_dir"], star, split.test)
        if previous:
            models[PREVIOUS] = previous
        baselines = BaselineOutputs(input_dict["baselines"])

        measured: dict[str, Any] = {}
        rating = retrieval = None
        checks = [
            tripwires.no_test_rows_in_train(split.test, split.fitted),
            tripwires.learnt_from_fitted_only(
                tripwires.LearntState(tables.seen, tables.mean_stars), split.fitted
            ),
            tripwires.terms_from_train_only(
                star.read_labels(features.BUSINESS_REVIEW_TERMS), split.train
            ),
        ]
        if objective["rating"]:
            rating, measured["rating"], protocol = _rating(split, models, baselines)
            measured["rating"]["test"] |= _write_sample(
                output_dict["rating_examples"], star, split.test, protocol, baselines,
                exec_properties["max_native_rows"],
            )  # fmt: skip
            floor = exec_properties["noise_floor_rmse"]
            if floor and not rating.undefined:
                rmse = {name: rating.measured.interval(name, "rmse") for name in
                        rating.measured.models}  # fmt: skip
                checks.append(tripwires.not_below_the_noise_floor(rmse, floor))
        if objective["retrieval"]:
            retrieval, measured["retrieval"], lists = _retrieval(split, models, baselines)
            scann = path_utils.serving_model_path(
                artifact_utils.get_single_uri(input_dict["scann_model"])
            )
            pair = approximate.scores_of_both(scann, model, star.user_ids, lists)
            checks.append(tripwires.approximate_not_above_exact(*pair))
        measured["tripwires"] = [str(check) for check in checks]
        checks = judge(gate, rating, retrieval, note) + [
            _index_check(
                read_json(input_dict["index_evaluation"], METRICS_FILE),
                exec_properties["target_recall"],
            )
        ] + checks  # fmt: skip
        verdict = conclude(checks)
        for check in checks:
            if check.ok is False:
                _LOG.warning("%s", check)
        measured["blessing"] = verdict.to_json()
        uri = artifact_utils.get_single_uri(output_dict["evaluation"])
        io_utils.write_string_file(
            os.path.join(uri, METRICS_FILE), json.dumps(measured, indent=2, allow_nan=False)
        )
        _write_blessing(
            artifact_utils.get_single_instance(output_dict["blessing"]),
            artifact_utils.get_single_instance(input_dict["model"]),
            verdict.blessed,
        )


class _Split:
    """The test split, and what the models had learnt from."""

    def __init__(self, star: examples.StarSchema, refit: bool):
        self.test = star.read(features.TEST)
        self.train = star.read(features.TRAIN)
        self.fitted = star.read_fitted(refit)
        self.known = Known.from_interactions(
            self.fitted, len(star.user_ids), len(star.business_ids)
        )
        self.labels = Labels(
            cities=star.postings(features.BUSINESS_CITY),
            categories=star.postings(features.BUSINESS_CATEGORIES),
        )


def _rating(
    split: _Split, models: dict[str, ExportedModel], baselines: BaselineOutputs
) -> tuple[Evidence, dict[str, Any], RatingEvaluation]:
    protocol = RatingEvaluation(split.test, split.known, split.labels)
    predictions = {name: model.rate(split.test) for name, model in models.items()}
    predictions |= baselines.ratings()
    undefined = ""
    if split.fitted.rated_alike:
        stars = split.fitted.stars[0]
        undefined = f"ratings, for all training stars are {stars:g}: nothing to predict"
    evidence = Evidence(
        protocol.measure(predictions),
        baselines.eval_losses("rating"),
        baselines.skipped["rating"],
        undefined,
    )
    told = {
        name: {
            **evidence.measured.to_json(name, NUM_RATINGS),
            "reliability": protocol.reliability(predicted),
        }
        for name, predicted in predictions.items()
    }
    return evidence, _tell("rating", evidence, told), protocol


def _retrieval(
    split: _Split, models: dict[str, ExportedModel], baselines: BaselineOutputs
) -> tuple[Evidence, dict[str, Any], RetrievalEvaluation]:
    protocol = RetrievalEvaluation(split.test, split.fitted, split.known, split.labels)
    lists = {name: model.rank(protocol) for name, model in models.items()}
    lists |= baselines.lists()
    undefined = ""
    if not len(protocol.users):
        undefined = "lists, for no test user has a business that is new to them"
    evidence = Evidence(
        protocol.measure(lists),
        baselines.eval_losses("retrieval"),
        baselines.skipped["retrieval"],
        undefined,
    )
    told = {
        name: {**evidence.measured.to_json(name, NUM_USERS), **protocol.describe(ranked)}
        for name, ranked in lists.items()
        if not undefined
    }
    return evidence, _tell("retrieval", evidence, told), protocol


def _tell(task: str, evidence: Evidence, models: dict[str, Any]) -> dict[str, Any]:
    """Lays out one task for `metrics.json`."""
    measured: Measurements = evidence.measured
    test: dict[str, Any] = {"models": models, "skipped": evidence.skipped}
    if evidence.undefined:
        test["undefined"] = evidence.undefined
    test["differences"] = {
        name: measured.differences_to_json(MODEL, name, _SLICE_METRICS[task])
        for name in models
        if name != MODEL
    }
    test["best_baseline"] = best_baseline(evidence, list(models))
    return {"test": test, "eval": {"losses": dict(evidence.eval_losses)}}


def _write_sample(
    output: list[types.Artifact],
    star: examples.StarSchema,
    test: Interactions,
    protocol: RatingEvaluation,
    baselines: BaselineOutputs,
    max_rows: int,
) -> dict[str, Any]:
    """Writes what TFX's Evaluator is to look at; tells what that is."""
    (artifact,) = output
    ids = star.user_ids, star.business_ids
    num_rows = native.write_sample(artifact, test, *ids, protocol.slices, max_rows)
    told = {
        "baseline": baselines.fallback["rating"],
        "num_ratings": num_rows,
        "of_ratings": len(test),
    }
    return {"native": told} if num_rows else {}


def _load_previous(
    serving_dir: str, star: examples.StarSchema, test: Interactions
) -> tuple[ExportedModel | None, str]:
    """Loads the model that is being served; returns it, or why it can't be compared."""
    path = find_served(serving_dir)
    if path is None:
        return None, ""
    try:
        return load_served(path, star.user_ids, star.business_ids, test), ""
    except Exception as error:  # Of another version, with other signatures, or half deleted.
        _LOG.warning("the model being served, %s, is not compared", path, exc_info=True)
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return None, f"the model being served, version {os.path.basename(path)}: {why}"


def _index_check(index: dict[str, Any], target: float) -> Check:
    """Holds the index against its target: it fails if its recall is significantly below."""
    recall = Recall(index["recall@10"], index["recall@10_standard_error"])
    text = (
        f"recall@10 of the index against exact search is {recall}, and should be {target} or more"
    )
    return Check(text, not recall.falls_short(target), INDEX)


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
