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

import numpy as np

from models.options import ModelOptions, TrainingOptions
from models.tables import EntityTable

_LOG = logging.getLogger("t2rec")

AUTO = "auto"

# Values of the fields that may be `auto`, by field.
Recipe = Mapping[str, Any]

# What both have in common is left out below.
_COMMON: Recipe = {
    "embedding_dim": 64,
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
RETRIEVAL_RECIPES: tuple[Recipe, ...] = (
    _SPARSE,
    _DENSE,
    {**_SPARSE, "query_covariates": 0.3},
    {**_DENSE, "user_embedding": False},
)
# From the best of them, each field is moved up its grid as long as that helps, or else down.
# The rate stays: short runs flatter high ones.
RETRIEVAL_GRIDS: Mapping[str, Sequence[Any]] = {
    "temperature": (0.08, 0.12, 0.18, 0.25, 0.35),
    "query_covariates": (0.0, 0.3, 1.0),
    "history_power": (0.0, 0.25, 0.5),
    "candidate_covariates": (0.0, 0.3, 1.0),
}
# Likewise, but in whole runs: short ones flatter few coordinates.
RETRIEVAL_WHOLE_GRIDS: Mapping[str, Sequence[Any]] = {"embedding_dim": (32, 64, 128)}
MAX_EMBEDDING_DIM = max(RETRIEVAL_WHOLE_GRIDS["embedding_dim"])
# Of the block in closed form beside the direction, in ascending order.
LOW_PASS_DIMS = (16, 32, 64, 128, 256)
# Who visited what tells much where users rate much, and misleads where they do not.
RATING_RECIPES: tuple[Recipe, ...] = (
    {"taste_dim": 8, "rating_learning_rate": 2e-3, "rating_epochs": 8},
    {"taste_dim": 0, "rating_learning_rate": 2e-3, "rating_epochs": 8},
)
RATING_GRIDS: Mapping[str, Sequence[Any]] = {
    "rating_learning_rate": (1e-3, 2e-3, 4e-3, 8e-3),
    "rating_epochs": (8, 16, 32),
}

# Shares of a whole run that trials last, and how many recipes go on from each to the next.
_SHARES = (0.15, 0.4, 1.0)
_KEPT = (3, 2)
# What a place along a grid, away from the recipes above, takes off a score, as a share of it: so
# much it must gain. Less is noise, and moves by noise add up. (On two real sets, paired standard
# errors of lists are 0.7 and 1.4 %.)
RETRIEVAL_HANDICAP, RATING_HANDICAP = 0.005, 0.0005
# What is so far behind the best, of its score, does not go on to a whole run.
_FAR_BEHIND = 0.1
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


def leave_out_flat(
    model_options: ModelOptions, users: EntityTable, businesses: EntityTable
) -> ModelOptions:
    """Leaves covariates out of retrieval where they are the same for everybody.

    They would be tried in vain, and cost a quarter of each step over a large catalogue.

    Args:
      model_options: What is told here stays.
      users: All users.
      businesses: All businesses, with content coordinates.
    """
    flat = {
        "query_covariates": not _varies(users.numeric),
        "candidate_covariates": not _varies(businesses.numeric) and not _varies(businesses.content),
    }
    left_out = [
        key for key, is_flat in flat.items() if is_flat and getattr(model_options, key) == AUTO
    ]
    if left_out:
        _LOG.info("covariates are all the same: %s 0", ", ".join(left_out))
    return model_options.model_copy(update=dict.fromkeys(left_out, 0.0))


def _varies(columns: np.ndarray) -> bool:
    return bool(len(columns)) and bool((columns != columns[0]).any())


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
    grids: Mapping[str, Sequence[Any]],
    run: Callable[[Recipe, float], tuple[float, Any]],
    seconds: float,
    clock: Callable[[], float] | None = None,
    whole_grids: Mapping[str, Sequence[Any]] | None = None,
) -> list[Trial]:
    """Finds the best recipe: short runs of many, longer runs of the best.

    Each run, short or long, is complete: its learning rate ends at 0. Where a short one is best,
    longer ones would only overfit, and it is the answer.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (2016), for the rounds.

    Args:
      recipes: What to try, the likeliest first.
      grids: Values, in order, of fields that are then varied one by one.
      run: From a recipe and the share of a whole run to the score and the run's result; the score
        of a run that failed is -inf.
      seconds: Time after which no trial begins but a last one: of the best recipe so far, whole.
      clock: Tells the time in seconds; `time.monotonic` by default.
      whole_grids: As `grids`, of fields that are varied last, in whole runs.

    Returns:
      All trials in order, but the best one last; it has failed only if all have.
    """
    trials: list[Trial] = []
    clock = clock or time.monotonic
    deadline = clock() + seconds

    def attempt(recipe: Recipe, share: float) -> Trial | None:
        if trials and clock() > deadline:
            return None
        score, result = run(recipe, share)
        told = in_words(recipe, trials[0].recipe if trials else None)
        _LOG.info("tried %s: score %.4f after %d %% of a run", told, score, 100 * share)
        trials.append(Trial(recipe, share, score, result))
        return trials[-1]

    def vary(grids: Mapping[str, Sequence[Any]], share: float) -> None:
        for field, values in grids.items():
            if not climb(field, values, 1, share):
                climb(field, values, -1, share)

    def climb(field: str, values: Sequence[Any], by: int, share: float) -> bool:
        helped = False
        while moved := _move(_best(trials).recipe, field, values, by):
            if any((trial.recipe, trial.share) == (moved, share) for trial in trials):
                break
            trial = attempt(moved, share)
            if trial is None or trial is not _best(trials):
                break
            helped = True
        return helped

    short, longer, whole = _SHARES
    first = short if len(recipes) > _FEW else whole
    for recipe in recipes:
        attempt(recipe, first)
    vary(grids, first)
    if first < whole:
        for trial in _best_of_kinds(_ranked(trials, short), grids)[: _KEPT[0]]:
            attempt(trial.recipe, longer)
        if _best(trials).share > short:
            leader, *others = _ranked(trials, longer)[: _KEPT[1]]
            near = [t for t in others if leader.score - t.score <= _FAR_BEHIND * abs(leader.score)]
            for trial in (leader, *near):
                attempt(trial.recipe, whole)
    if _best(trials).share == whole:
        vary(whole_grids or {}, whole)
    if clock() > deadline:
        _LOG.info("training.tuning_seconds left no time for more trials")
        best = _best(trials)
        if best.share < _SHARES[-1] and best.score > -math.inf:
            recipe = best.recipe
            score, result = run(recipe, _SHARES[-1])
            trials.append(Trial(recipe, _SHARES[-1], score, result))
    best = _best(trials)
    return [*(trial for trial in trials if trial is not best), best]


def in_words(recipe: Recipe, first: Recipe | None = None) -> str:
    """Writes a recipe, or in what it differs from the one that was tried first."""
    parts = [f"{k} {v}" for k, v in recipe.items() if first is None or first.get(k) != v]
    if parts:
        return ", ".join(parts)
    return "the first recipe again" if first else "what the options say"


def places_away(
    recipe: Recipe, recipes: Sequence[Recipe], grids: Mapping[str, Sequence[Any]]
) -> int:
    """Counts the places along grids between a recipe and the nearest that it may come from.

    Args:
      recipe: What `search` tries.
      recipes: What it began with.
      grids: All that it varies.
    """

    def places(start: Recipe) -> int:
        return sum(
            abs(values.index(recipe[field]) - values.index(start[field]))
            for field, values in grids.items()
            if field in recipe
        )

    kind = _kind(recipe, grids)
    return min((places(start) for start in recipes if _kind(start, grids) == kind), default=0)


def _kind(recipe: Recipe, grids: Mapping[str, Sequence[Any]]) -> frozenset[tuple[str, Any]]:
    """Returns what recipes have in common that differ in fields with a grid only."""
    return frozenset((key, value) for key, value in recipe.items() if key not in grids)


def _best(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: trial.score)


def _ranked(trials: Sequence[Trial], share: float) -> list[Trial]:
    """Lists the trials of one length that did not fail, the best first."""
    good = [t for t in trials if t.share == share and t.score > -math.inf]
    return sorted(good, key=lambda trial: -trial.score)


def _best_of_kinds(ranked: Sequence[Trial], grids: Mapping[str, Sequence[Any]]) -> list[Trial]:
    """Puts the best trial of each kind of recipe before the others.

    Short runs flatter the kinds that learn fast, and the best of them has many neighbours: alone
    they would fill all places.
    """
    leaders: dict[frozenset[tuple[str, Any]], Trial] = {}
    for trial in ranked:
        leaders.setdefault(_kind(trial.recipe, grids), trial)
    first = list(leaders.values())
    return [*first, *(trial for trial in ranked if trial not in first)]


def _move(recipe: Recipe, field: str, values: Sequence[Any], by: int) -> Recipe | None:
    """Moves a field of a recipe along its grid, if it is open and the grid goes on."""
    if field not in recipe or not 0 <= values.index(recipe[field]) + by < len(values):
        return None
    return {**recipe, field: values[values.index(recipe[field]) + by]}
