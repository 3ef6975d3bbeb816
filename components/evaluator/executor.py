"""Measures the exported model and the baselines on the test split, and judges."""

import json
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
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
from models import exported_tables, features, postings, tripwires
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
from models.recommender_tables import RecommenderTables
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
        tables = exported_tables.read(_path(input_dict["model"]))
        models = {MODEL: ExportedModel(tables, star.user_ids, star.business_ids)}
        previous, note = _load_previous(exec_properties["serving_dir"], star, split.test)
        if previous:
            models[PREVIOUS] = previous
        baselines = BaselineOutputs(input_dict["baselines"])

        found: dict[str, _Found] = {}
        if objective["rating"]:
            found["rating"] = _rating(split, models, baselines, exec_properties["noise_floor_rmse"])
            found["rating"].told["test"] |= _write_sample(
                output_dict["rating_examples"],
                star,
                split.test,
                found["rating"].slices,
                baselines,
                exec_properties["max_native_rows"],
            )
        if objective["retrieval"]:
            scann = _path(input_dict["scann_model"])
            found["retrieval"] = _retrieval(split, models, baselines, scann, star.user_ids)

        fired = _leaks(split, tables) + [check for one in found.values() for check in one.checks]
        evidence = {task: one.evidence for task, one in found.items()}
        index = read_json(input_dict["index_evaluation"], METRICS_FILE)
        checks = [
            *judge(gate, evidence.get("rating"), evidence.get("retrieval"), note),
            _index_check(index, exec_properties["target_recall"]),
            *fired,
        ]
        for check in checks:
            if check.ok is False:
                _LOG.warning("%s", check)
        verdict = conclude(checks)
        measured = {
            **{task: one.told for task, one in found.items()},
            "tripwires": [str(check) for check in fired],
            "blessing": verdict.to_json(),
        }
        uri = artifact_utils.get_single_uri(output_dict["evaluation"])
        io_utils.write_string_file(
            os.path.join(uri, METRICS_FILE), json.dumps(measured, indent=2, allow_nan=False)
        )
        _write_blessing(
            artifact_utils.get_single_instance(output_dict["blessing"]),
            artifact_utils.get_single_instance(input_dict["model"]),
            verdict.blessed,
        )


def _path(model: list[types.Artifact]) -> str:
    """Returns the folder of an export's SavedModel."""
    return path_utils.serving_model_path(artifact_utils.get_single_uri(model))


class _Split:
    """The test split, and what the models had learnt from."""

    def __init__(self, star: examples.StarSchema, refit: bool):
        self.test = star.read(features.TEST)
        splits = star.read_splits(refit)
        self.train, self.fitted = splits.train, splits.fitted
        num_businesses = len(star.business_ids)
        self.known = Known.from_interactions(self.fitted, len(star.user_ids), num_businesses)
        keys = (features.BUSINESS_CITY, features.BUSINESS_CATEGORIES)
        labels = star.read_labels(*keys, features.BUSINESS_REVIEW_TERMS)
        self.terms = labels[features.BUSINESS_REVIEW_TERMS]
        rows = np.arange(num_businesses, dtype=np.int32)
        self.labels = Labels(*(postings.invert(labels[key], rows) for key in keys))


class _Found(NamedTuple):
    """What one task came to.

    Attributes:
      evidence: For the gate.
      told: For `metrics.json`.
      checks: Tripwires.
      slices: Of ratings: by name, a `[num_test]` bool array, which ones are in it.
    """

    evidence: Evidence
    told: dict[str, Any]
    checks: list[Check]
    slices: Mapping[str, np.ndarray] = {}


def _leaks(split: _Split, tables: RecommenderTables) -> list[Check]:
    learnt = tripwires.LearntState(tables.seen, tables.mean_stars)
    return [
        tripwires.no_test_rows_in_train(split.test, split.fitted),
        tripwires.learnt_from_fitted_only(learnt, split.fitted),
        tripwires.terms_from_train_only(split.terms, split.train),
    ]


def _rating(
    split: _Split, models: dict[str, ExportedModel], baselines: BaselineOutputs, floor_stars: float
) -> _Found:
    protocol = RatingEvaluation(split.test, split.known, split.labels)
    predictions = {name: model.rate(split.test) for name, model in models.items()}
    predictions |= baselines.ratings()
    undefined = ""
    if split.fitted.rated_alike:
        stars = split.fitted.stars[0]
        undefined = f"ratings, for all training stars are {stars:g}: nothing to predict"
    measured = protocol.measure(predictions)
    evidence = Evidence(
        measured, baselines.eval_losses("rating"), baselines.skipped["rating"], undefined
    )
    told = {
        name: {
            **measured.to_json(name, NUM_RATINGS),
            "reliability": protocol.reliability(predicted),
        }
        for name, predicted in predictions.items()
    }
    checks = []
    if floor_stars and not undefined:
        rmse = {name: measured.interval(name, "rmse") for name in measured.models}
        checks = [tripwires.not_below_the_noise_floor(rmse, floor_stars)]
    return _Found(evidence, _tell("rating", evidence, told), checks, protocol.slices)


def _retrieval(
    split: _Split,
    models: dict[str, ExportedModel],
    baselines: BaselineOutputs,
    scann: str,
    user_ids: np.ndarray,
) -> _Found:
    protocol = RetrievalEvaluation(split.test, split.fitted, split.known, split.labels)
    lists = {name: model.rank(protocol) for name, model in models.items()}
    lists |= baselines.lists()
    undefined = ""
    if not len(protocol.users):
        undefined = "lists, for no test user has a business that is new to them"
    measured = protocol.measure(lists)
    evidence = Evidence(
        measured, baselines.eval_losses("retrieval"), baselines.skipped["retrieval"], undefined
    )
    told = {
        name: {**measured.to_json(name, NUM_USERS), **protocol.describe(ranked)}
        for name, ranked in lists.items()
        if not undefined
    }
    pair = approximate.scores_of_both(scann, models[MODEL], user_ids, protocol)
    checks = [tripwires.approximate_not_above_exact(*pair)]
    return _Found(evidence, _tell("retrieval", evidence, told), checks)


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
    slices: Mapping[str, np.ndarray],
    baselines: BaselineOutputs,
    max_rows: int,
) -> dict[str, Any]:
    """Writes what TFX's Evaluator is to look at; tells what that is."""
    (artifact,) = output
    ids = star.user_ids, star.business_ids
    num_rows = native.write_sample(artifact, test, *ids, slices, max_rows)
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
