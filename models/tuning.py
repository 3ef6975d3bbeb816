"""What is tried to settle on eval what the options leave open, and how the best is found.

A recipe that is best on one data set fails on the next: how sharp the softmax should be, whether
users are more than their history, and whether covariates help, depends on how dense the data is.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.options import ModelOptions, TrainingOptions

_LOG = logging.getLogger("t2rec")

AUTO = "auto"

# Values of the fields that may be `auto`, by field.
Recipe = Mapping[str, Any]

# What both have in common is left out below.
_COMMON: Recipe = {
    "embedding_dim": 128,
    "candidate_covariates": 0.3,
    "query_covariates": 0.0,
}
# Users with few visits: their history is all there is, and a soft softmax generalises.
_SPARSE: Recipe = {
    **_COMMON,
    "temperature": 0.25,
    "history_power": 0.25,
    "user_embedding": False,
    "retrieval_learning_rate": 1.2e-2,
}
# Users with many visits deserve a vector of their own.
_DENSE: Recipe = {
    **_COMMON,
    "temperature": 0.12,
    "history_power": 0.5,
    "user_embedding": True,
    "retrieval_learning_rate": 6e-3,
}
# The likeliest first: where time is short, the rest is not tried.
RETRIEVAL_RECIPES: tuple[Recipe, ...] = (
    _SPARSE,
    _DENSE,
    {**_SPARSE, "temperature": 0.15},
    {**_SPARSE, "query_covariates": 0.3},
    {**_DENSE, "temperature": 0.18},
    {**_SPARSE, "history_power": 0.0},
    {**_DENSE, "user_embedding": False},
    {**_SPARSE, "candidate_covariates": 0.0},
)
# Who visited what tells much where users rate much, and misleads where they do not.
RATING_RECIPES: tuple[Recipe, ...] = ({"taste_dim": 8}, {"taste_dim": 0})

# Shares of a whole run that the rounds of trials last, and of the recipes that go on after each.
_ROUNDS = ((0.1, 0.4), (0.35, 0.34), (1.0, 1.0))
# So few recipes are all run whole: short runs tell less.
_FEW = 2


@dataclasses.dataclass(frozen=True)
class Trial:
    """A run on the train split with one recipe.

    Attributes:
      recipe: The fields that were open, with the values tried.
      share: Share of a whole run's steps.
      score: How good its best look was.
      result: What the run returned.
    """

    recipe: Recipe
    share: float
    score: float
    result: Any


def open_recipes(
    recipes: Sequence[Recipe], model_options: ModelOptions, options: TrainingOptions
) -> list[Recipe]:
    """Narrows recipes to the fields that are `auto`; equal ones count once.

    Returns:
      At least one recipe; an empty one if nothing is open.
    """
    told = {**dict(options), **dict(model_options)}
    narrowed: list[Recipe] = []
    for recipe in recipes:
        free = {key: value for key, value in recipe.items() if told[key] == AUTO}
        if free not in narrowed:
            narrowed.append(free)
    return narrowed


def apply_recipe(
    recipe: Recipe, model_options: ModelOptions, options: TrainingOptions
) -> tuple[ModelOptions, TrainingOptions]:
    """Fills the open fields in."""
    of_model = {key: value for key, value in recipe.items() if key in ModelOptions.model_fields}
    of_training = {key: value for key, value in recipe.items() if key not in of_model}
    return (
        model_options.model_copy(update=of_model),
        options.model_copy(update=of_training),
    )


def search(
    recipes: Sequence[Recipe],
    run: Callable[[Recipe, float], tuple[float, Any]],
    seconds: float,
) -> list[Trial]:
    """Finds the best recipe by successive halving: short runs of many, long runs of the best.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (2016).

    Args:
      recipes: What to try.
      run: From a recipe and the share of a whole run to the score and the run's result.
      seconds: Time after which no trial begins but a last one: of the best recipe so far, whole.

    Returns:
      All trials, a round's best last. The very last is whole.
    """
    started = time.monotonic()
    going = list(recipes)
    trials: list[Trial] = []
    for share, keep in _ROUNDS:
        if len(going) <= _FEW and share < 1.0:
            continue
        tried: list[Trial] = []
        for recipe in going:
            if (trials or tried) and time.monotonic() - started > seconds:
                _LOG.info("training.tuning_seconds leaves no time for more trials")
                break
            score, result = run(recipe, share)
            _LOG.info("tried %s: score %.4f after %d %% of a run", recipe, score, 100 * share)
            tried.append(Trial(recipe, share, score, result))
        tried.sort(key=lambda trial: -trial.score)
        trials += reversed(tried)
        if tried:
            going = [trial.recipe for trial in tried[: math.ceil(keep * len(tried))]]
    if trials[-1].share < 1.0:
        score, result = run(going[0], 1.0)
        trials.append(Trial(going[0], 1.0, score, result))
    return trials
