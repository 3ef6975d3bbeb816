"""How the best of the recipes is found: short runs of many, longer runs of the best."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.recipes import Recipe, Space, in_words

_LOG = logging.getLogger("t2rec")

# Shares of a whole run that trials last, and how many recipes go on from each to the next. Of long
# runs, in steps, less tells as much.
_SHARES, _SHARES_OF_LONG = (0.15, 0.4, 1.0), (0.05, 0.2, 1.0)
_LONG = 2_000
_KEPT = (3, 2)
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
      score: How good its best look was; -inf if it failed.
      judged: What it is compared by.
      result: What the run returned.
    """

    recipe: Recipe
    share: float
    score: float
    judged: float
    result: Any


def search(
    space: Space,
    run: Callable[[Recipe, float], tuple[float, Any]],
    seconds: float,
    clock: Callable[[], float] | None = None,
    num_steps: int = 0,
) -> list[Trial]:
    """Finds the best recipe of a space.

    From the best of the first ones, each field is moved up its grid as long as that helps, or else
    down. Each run, short or long, is complete: its learning rate ends at 0. Where a short one is
    best, longer ones would only overfit, and it is the answer.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (2016), for the rounds.

    Args:
      space: What to try.
      run: From a recipe and the share of a whole run to the score and the run's result; the score
        of a run that failed is -inf.
      seconds: How long all trials may take. The first is run in any case; another begins only if
        it should end in time, and so should, after a shorter one, a last one: of the best recipe so
        far, whole.
      clock: Tells the time in seconds; `time.monotonic` by default.
      num_steps: Steps of a whole run.

    Returns:
      All trials in order, but the best one last; it has failed only if all have.
    """
    trials: list[Trial] = []
    clock = clock or time.monotonic
    deadline = clock() + seconds
    whole_seconds, late = 0.0, False

    def attempt(recipe: Recipe, share: float) -> Trial | None:
        nonlocal late
        if trials and ends_late(share):
            late = True
            return None
        return carry_out(recipe, share)

    def ends_late(share: float) -> bool:
        follows = max(share, _best(trials).share) < whole  # A last run, whole.
        return clock() + (share + follows) * whole_seconds > deadline

    def carry_out(recipe: Recipe, share: float) -> Trial:
        nonlocal whole_seconds
        begun = clock()
        score, result = run(recipe, share)
        whole_seconds = (clock() - begun) / share
        told = in_words(recipe, trials[0].recipe if trials else None)
        _LOG.info("tried %s: score %.4f after %d %% of a run", told, score, 100 * share)
        trials.append(Trial(recipe, share, score, space.judge(recipe, score), result))
        return trials[-1]

    def vary(field: str, share: float) -> None:
        if not climb(field, 1, share):
            climb(field, -1, share)

    def climb(field: str, by: int, share: float) -> bool:
        helped = False
        while moved := space.move(_best(trials).recipe, field, by):
            if any((trial.recipe, trial.share) == (moved, share) for trial in trials):
                break
            trial = attempt(moved, share)
            if trial is None or trial is not _best(trials):
                break
            helped = True
        return helped

    short, longer, whole = _SHARES_OF_LONG if num_steps > _LONG else _SHARES
    first = short if len(space.recipes) > _FEW else whole
    for recipe in space.recipes:
        attempt(recipe, first)
    for field in space.grids:
        vary(field, first)
    if first < whole:
        for trial in _best_of_kinds(_ranked(trials, short), space)[: _KEPT[0]]:
            attempt(trial.recipe, longer)
        if _best(trials).share > short:
            leader, *others = _ranked(trials, longer)[: _KEPT[1]]
            margin = _FAR_BEHIND * abs(leader.judged)
            for trial in (leader, *(t for t in others if leader.judged - t.judged <= margin)):
                attempt(trial.recipe, whole)
    if _best(trials).share == whole:
        for field in space.whole_grids:
            vary(field, whole)
    if late:
        _LOG.info("training.tuning_seconds left no time for more trials")
        best = _best(trials)
        if best.share < whole and best.score > -math.inf:
            carry_out(best.recipe, whole)
    best = _best(trials)
    return [*(trial for trial in trials if trial is not best), best]


def _best(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: trial.judged)


def _ranked(trials: Sequence[Trial], share: float) -> list[Trial]:
    """Lists the trials of one length that did not fail, the best first."""
    good = [t for t in trials if t.share == share and t.score > -math.inf]
    return sorted(good, key=lambda trial: -trial.judged)


def _best_of_kinds(ranked: Sequence[Trial], space: Space) -> list[Trial]:
    """Puts the best trial of each kind of recipe before the others.

    Short runs flatter the kinds that learn fast, and the best of them has many neighbours: alone
    they would fill all places.
    """
    leaders: dict[frozenset[tuple[str, Any]], Trial] = {}
    for trial in ranked:
        leaders.setdefault(space.kind(trial.recipe), trial)
    first = list(leaders.values())
    return [*first, *(trial for trial in ranked if trial not in first)]
