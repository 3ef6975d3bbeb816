import dataclasses
import json

import keras_tuner
import numpy as np
import pytest

from models import hyperparameters
from models.errors import InputError
from models.options import ModelOptions, Objective, TrainingOptions
from models.recipes import SPACES, apply_recipe, read_hyperparameters

_OPTIONS = TrainingOptions(
    rating_batch_size=128,
    retrieval_batch_size=16,
    rating_learning_rate=2e-3,
    rating_epochs=1,
    retrieval_epochs=1,
    min_steps=2,
    num_evaluations=1,
    num_folds=2,
    seed=5,
)
# Two fields of each task are open, and none else.
_MODEL = ModelOptions(
    embedding_dim=3,
    rating_dim=2,
    factor_dim=0,
    history_power=0.5,
    user_embedding=False,
    query_covariates=0.3,
    candidate_covariates=0.3,
)


def _search(planted, num_trials, model_options=_MODEL, options=_OPTIONS):
    sets = planted.train[:600], planted.eval[:100]
    return hyperparameters.search(
        planted.users, planted.businesses, *sets, model_options, options, num_trials
    )


def test_a_switch_stays_one_whoever_proposes_it(planted):
    told = _MODEL.model_copy(update={"objective": Objective(rating=0.0), "user_embedding": "auto"})
    _, trials = _search(planted, 6, told)
    assert {type(trial["user_embedding"]) for trial in trials} == {bool}


def test_what_is_open_of_both_tasks_is_found_on_eval(planted):
    best, trials = _search(planted, 3)
    assert set(best.values) == {
        "tower_widths",
        "taste_dim",
        "temperature",
        "retrieval_learning_rate",
    }
    for task, open_ in (
        ("rating", {"tower_widths", "taste_dim"}),
        ("retrieval", {"temperature", "retrieval_learning_rate"}),
    ):
        of_task = [trial for trial in trials if trial["task"] == task]
        assert len(of_task) == 3
        assert of_task[0]["score"] == max(trial["score"] for trial in of_task)
        assert {key: of_task[0][key] for key in open_} == {key: best.values[key] for key in open_}
        assert len({str({**trial, "score": 0}) for trial in of_task}) == 3
        # What every training tries first is among them.
        first = {key: SPACES[task].recipes[0][key] for key in open_ - {"tower_widths"}}
        assert any(first.items() <= trial.items() for trial in of_task)


def test_the_same_seed_finds_the_same(planted):
    told = _MODEL.model_copy(update={"objective": Objective(retrieval=0.0)})
    first, again = (_search(planted, 4, told)[1] for _ in range(2))
    assert len(first) == 4
    assert first == again


def test_training_goes_on_with_what_was_written(planted):
    best, _ = _search(planted, 1)
    written = json.loads(json.dumps(best.get_config()))
    assert keras_tuner.HyperParameters.from_config(written).values == best.values
    model_options, options = apply_recipe(read_hyperparameters(written["values"]), _MODEL, _OPTIONS)
    # Nothing is left open, and all of it is what options may be.
    assert ModelOptions(**model_options.model_dump()).tower_widths == (16, 16)
    assert "auto" not in (model_options.taste_dim, model_options.temperature)
    assert TrainingOptions(**options.model_dump()).retrieval_learning_rate != "auto"


def test_a_task_without_anything_open_takes_no_trial(planted):
    told = _MODEL.model_copy(update={"temperature": 0.2})
    options = _OPTIONS.model_copy(update={"retrieval_learning_rate": 1e-2})
    best, trials = _search(planted, 1, told, options)
    assert {trial["task"] for trial in trials} == {"rating"}
    assert set(best.values) == {"tower_widths", "taste_dim"}


def test_a_task_that_is_off_takes_no_trial(planted):
    told = _MODEL.model_copy(update={"objective": Objective(rating=0.0)})
    assert {trial["task"] for trial in _search(planted, 1, told)[1]} == {"retrieval"}


def test_stars_that_are_all_the_same_take_no_trial(planted):
    alike = planted.train[:600]
    alike = dataclasses.replace(alike, stars=np.full_like(alike.stars, 5.0))
    told = _MODEL.model_copy(update={"objective": Objective(retrieval=0.0)})
    best, trials = hyperparameters.search(
        planted.users, planted.businesses, alike, planted.eval[:100], told, _OPTIONS, 1
    )
    assert not best.values
    assert not trials


def test_trials_that_all_diverge_are_an_error(planted):
    told = _MODEL.model_copy(update={"objective": Objective(retrieval=0.0)})
    options = _OPTIONS.model_copy(update={"rating_learning_rate": 1e30, "min_steps": 20})
    with pytest.raises(InputError, match="got none among 2. Give training.rating_learning_rate"):
        _search(planted, 2, told, options)
