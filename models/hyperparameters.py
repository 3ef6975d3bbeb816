"""A longer search for what the options leave open, by KerasTuner.

Trials of `models.tuning` are few and most of them short, so that every training can afford them.
Here each is a whole run, and a Gaussian process of the scores so far says where to look next.
"""

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from typing import Any

import keras_tuner

from models.errors import InputError
from models.fit import Fit
from models.looks import EvalSplit
from models.options import AUTO, ModelOptions, TrainingOptions
from models.preparation import prepare
from models.recipes import (
    RATING,
    RETRIEVAL,
    SPACES,
    in_words,
    read_hyperparameters,
    write_hyperparameter,
)
from models.tables import EntityTable, Interactions
from models.training_loop import DivergenceError
from models.trials import score

_LOG = logging.getLogger("t2rec")


@dataclasses.dataclass(frozen=True)
class _Range:
    """Numbers from `low` to `high`."""

    low: float
    high: float
    sampling: str = "log"


# By task and option, where to search.
_WHERE: dict[str, dict[str, _Range | Sequence[Any]]] = {
    RATING: {
        "rating_learning_rate": _Range(5e-4, 8e-3),
        "rating_epochs": (4, 8, 16, 32),
        "taste_dim": (0, 8, 16),
        "rating_dim": (8, 16, 32),
        "tower_widths": ((32, 32), (64, 64), (128, 128)),
    },
    RETRIEVAL: {
        "temperature": _Range(0.05, 0.5),
        "history_power": _Range(0.0, 0.75, "linear"),
        "user_embedding": (False, True),
        "retrieval_learning_rate": _Range(2e-3, 3e-2),
        "embedding_dim": (32, 64, 128),
        "query_covariates": (0.0, 0.3, 1.0),
        "candidate_covariates": (0.0, 0.3, 1.0),
    },
}
# What `prepare` settles by the dimension of the data; a search may find better.
_SIZES = ("rating_dim", "tower_widths")
_OBJECTIVE = "score"
# Of the trials, how many are random before the Gaussian process takes over.
_RANDOM_SHARE = 1 / 3


def search(
    users: EntityTable,
    businesses: EntityTable,
    train_set: Interactions,
    eval_set: Interactions,
    model_options: ModelOptions,
    options: TrainingOptions,
    num_trials: int,
) -> tuple[keras_tuner.HyperParameters, list[dict[str, Any]]]:
    """Searches on the eval split for the best values of what is `auto`, one task after the other.

    Args:
      users: All users.
      businesses: All businesses.
      train_set: Interactions to learn from.
      eval_set: Interactions to choose on.
      model_options: Sizes and weights of the model.
      options: Length and pace of training.
      num_trials: Whole runs of each task; the first are `models.recipes`' own.

    Returns:
      The best values, by name of the option, none of a task that has nothing to search for; and
      all trials that did not diverge, the best first: `task`, `score` (minus the RMSE in stars, or
      the NDCG@50) and the values.

    Raises:
      InputError: If a split is empty, a value is not finite, or all trials diverge.
    """
    prepared = prepare(users, businesses, train_set, eval_set, model_options, options)
    fit = Fit(prepared.shared, train_set, prepared.options)
    best, told = keras_tuner.HyperParameters(), []
    for task in model_options.tasks:
        space = _declare(task, fit, model_options)
        if not space.space or (task == RATING and train_set.rated_alike):
            _LOG.info("%s: nothing to search for", task)
            continue
        with tempfile.TemporaryDirectory(prefix="keras-tuner-") as folder:
            oracle = _Oracle(
                task,
                objective=keras_tuner.Objective(_OBJECTIVE, "max"),
                max_trials=num_trials,
                num_initial_points=max(1, round(num_trials * _RANDOM_SHARE)),
                hyperparameters=space,
                tune_new_entries=False,
                max_consecutive_failed_trials=num_trials + 1,  # All of them: told below.
                seed=options.seed,
            )
            tuner = _Tuner(task, fit, prepared.look, oracle=oracle, directory=folder)
            tuner.search(verbose=0)
        fit.ratings.forget_rows()
        # Those that diverged are at the end.
        trials = [one for one in oracle.get_best_trials(num_trials) if one.score is not None]
        if not trials:
            raise InputError(
                f"Expected a trial of the {task} task that does not diverge; got none among "
                f"{num_trials}. Give training.{task}_learning_rate a lower value."
            )
        told += [
            {"task": task, "score": trial.score, **trial.hyperparameters.values} for trial in trials
        ]
        values = trials[0].hyperparameters.values
        best.merge(space)
        best.values.update(values)
        told_best = "%s: best of %d trials, score %.4f: %s"
        _LOG.info(told_best, task, len(trials), trials[0].score, in_words(values))
    return best, told


def _declare(task: str, fit: Fit, options: ModelOptions) -> keras_tuner.HyperParameters:
    """Lists where to search for what is open of a task.

    Args:
      task: `rating` or `retrieval`.
      fit: The train split, its options with sizes settled: the defaults.
      options: The options before.
    """
    space = keras_tuner.HyperParameters()
    defaults = {**dict(fit.options), **SPACES[task].recipes[0]}
    told = {**dict(fit.shared.options), **dict(fit.options)}
    told.update({name: getattr(options, name) for name in _SIZES})
    for name, where in _WHERE[task].items():
        if told[name] != AUTO or (name == "user_embedding" and not fit.user_vectors_fit()):
            continue
        if isinstance(where, _Range):
            low, high, sampling = dataclasses.astuple(where)
            space.Float(name, low, high, sampling=sampling, default=defaults[name])
        elif isinstance(defaults[name], bool):
            space.Boolean(name, default=defaults[name])
        else:
            default = write_hyperparameter(defaults[name])
            values = [*map(write_hyperparameter, where), default]
            space.Choice(name, list(dict.fromkeys(values)), default=default)
    return space


class _Oracle(keras_tuner.oracles.BayesianOptimizationOracle):
    """Begins with the recipes that every training tries, then goes on as KerasTuner does."""

    def __init__(self, task: str, **kwargs):
        super().__init__(**kwargs)
        defaults = self.hyperparameters.values
        recipes = [
            {**defaults, **{key: value for key, value in recipe.items() if key in defaults}}
            for recipe in SPACES[task].recipes
        ]
        self._given = [one for place, one in enumerate(recipes) if one not in recipes[:place]]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial: see KerasTuner."""
        if self._given:
            return {"status": "RUNNING", "values": self._given.pop(0)}
        found = super().populate_space(trial_id)
        # A process fitted to few scores may name what was tried; random values are new, or none.
        if found["values"] and self._duplicate(found["values"]):
            return self._random_populate_space()
        return found


class _Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs trials of one task."""

    def __init__(self, task: str, fit: Fit, look: EvalSplit, **kwargs):
        super().__init__(**kwargs)
        self._task, self._fit, self._look = task, fit, look

    def run_trial(self, trial: Any, *_, **__) -> dict[str, float]:
        """Trains with a trial's values: see KerasTuner."""
        values = trial.hyperparameters.values
        try:
            found = score(self._task, self._fit, self._look, read_hyperparameters(values))
        except DivergenceError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        _LOG.info("%s: tried %s: score %.4f", self._task, in_words(values), found)
        return {_OBJECTIVE: found}
