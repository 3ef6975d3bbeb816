"""Tuner on the tables of a run, and what Trainer makes of what it wrote."""

import json

import keras_tuner
import pytest
from tfx.types import standard_artifacts

from benchmarks import ingested
from components.trainer import work
from components.tuner.executor import Executor
from models.options import ModelOptions, TrainingOptions

_MODEL = ModelOptions(temperature=0.2, factor_dim=0, low_pass_dim=0)
_TRAINING = TrainingOptions(
    min_steps=2,
    rating_epochs=1,
    retrieval_epochs=1,
    max_rating_examples=2_000,
    max_retrieval_cells=1,
    num_evaluations=1,
    num_folds=2,
    retrieval_learning_rate=1e-2,
)


def _artifact(kind, folder):
    artifact = kind()
    artifact.uri = str(folder)
    return [artifact]


def test_training_takes_what_tuner_wrote(run, tmp_path, monkeypatch):
    inputs = ingested.inputs(run.root)
    outputs = {
        "best_hyperparameters": _artifact(standard_artifacts.HyperParameters, tmp_path / "best"),
        "tuner_results": _artifact(standard_artifacts.TunerResults, tmp_path / "results"),
    }
    options = {
        "model_options": _MODEL.model_dump_json(),
        "training_options": _TRAINING.model_dump_json(),
    }
    Executor().Do(inputs, outputs, {**options, "num_trials": 2})
    # Under the names, and in the form, that TFX's own Tuner gives them.
    best = json.loads((tmp_path / "best" / "best_hyperparameters.txt").read_text())
    values = keras_tuner.HyperParameters.from_config(best).values
    assert {"rating_learning_rate", "embedding_dim"} < set(values)
    assert not {"temperature", "rating_epochs", "retrieval_learning_rate"} & set(values)
    trials = json.loads((tmp_path / "results" / "tuner_results.json").read_text())
    assert [trial["task"] for trial in trials] == ["rating"] * 2 + ["retrieval"] * 2

    told = {}

    def train(*args, **kwargs):
        told["model"], told["training"] = args[4:6]
        raise KeyboardInterrupt

    monkeypatch.setattr(work.training, "train", train)
    model_run = {"model_run": _artifact(standard_artifacts.ModelRun, tmp_path / "run")}
    inputs["hyperparameters"] = outputs["best_hyperparameters"]
    with pytest.raises(KeyboardInterrupt):
        work.train_and_export(inputs, model_run, {**options, "refit": 0})
    assert told["model"].embedding_dim == values["embedding_dim"]
    assert told["model"].temperature == 0.2
    assert "-".join(map(str, told["model"].tower_widths)) == values["tower_widths"]
    assert told["training"].rating_learning_rate == values["rating_learning_rate"]
    assert told["training"].retrieval_learning_rate == 1e-2
