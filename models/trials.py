"""Trials of one task: runs on the train split that the eval split judges."""

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from models import checkpoints, gradients, replicas
from models.candidate_prior import PriorRecipe
from models.checkpoints import RunCheckpoint
from models.closed_forms import choose_candidate_prior, choose_factors, choose_low_pass
from models.curves import Curves
from models.errors import InputError
from models.factors import FactorRecipe
from models.fit import WARM, Fit
from models.looks import DEPTH, EvalSplit
from models.low_pass import LowPassRecipe
from models.options import AUTO, ModelOptions, TrainingOptions
from models.rating_training import RatingLoop, distinct_epochs
from models.recipes import (
    RATING,
    RETRIEVAL,
    SPACES,
    Recipe,
    Space,
    apply_recipe,
    in_words,
)
from models.training_loop import DivergenceError, Progress, TrainingLoop
from models.tuning import Trial, search

_LOG = logging.getLogger("t2rec")

_EPOCHS = "rating_epochs"


@dataclasses.dataclass(frozen=True)
class Choice:
    """What eval chose for one task.

    Attributes:
      recipe: Values of the fields that were open.
      trials: What was tried: recipes, shares of a whole run, scores and looks; the best last. One
        that diverged has `error` in place of them.
      best_step: Steps after which its run was best.
      num_steps: Steps of that run.
      factors: The rating factors; of dimension 0 where none help.
      low_pass: The block beside the retrieval direction; of dimension 0 where none helps.
      candidate_prior: What covariates count where businesses have few visits, or none.
    """

    recipe: Recipe
    trials: tuple[dict[str, Any], ...]
    best_step: int
    num_steps: int
    factors: FactorRecipe = FactorRecipe()
    low_pass: LowPassRecipe = LowPassRecipe()
    candidate_prior: PriorRecipe = PriorRecipe()


def settle(
    choices: Mapping[str, Choice], model_options: ModelOptions, options: TrainingOptions
) -> tuple[ModelOptions, TrainingOptions]:
    """Fills in all that was open; a task that is off takes the first recipe."""
    for task, space in SPACES.items():
        recipe = (
            choices[task].recipe
            if task in choices
            else space.narrowed(model_options, options).recipes[0]
        )
        model_options, options = apply_recipe(recipe, model_options, options)
    return model_options, options


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What a run said.

    Attributes:
      score: The score of its best look; -inf if it diverged.
      num_steps: Its steps.
      progress: Its looks and losses.
      factors: The rating factors that should stand beside it.
      error: How it diverged; "" if it did not.
    """

    score: float
    num_steps: int
    progress: Progress = dataclasses.field(default_factory=Progress)
    factors: FactorRecipe = FactorRecipe()
    error: str = ""

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "_Outcome":
        """Reads what `dataclasses.asdict` wrote."""
        progress, factors = Progress.from_dict(told["progress"]), FactorRecipe(**told["factors"])
        return cls(**{**told, "progress": progress, "factors": factors})


class Trials:
    """The trials of one task, and the weights of the best of them."""

    def __init__(self, task: str, fit: Fit, look: EvalSplit, keep_weights: bool = False):
        """Lists what may be tried.

        Args:
          task: `rating` or `retrieval`.
          fit: The train split.
          look: The eval split.
          keep_weights: Whether `best_weights` will be asked for.
        """
        self._task = task
        self._fit = fit
        self._look = look
        self._space = self._list_recipes()
        self._has_low_pass = task == RETRIEVAL and bool(fit.low_pass_dims())
        self._has_prior = task == RETRIEVAL and fit.options.candidate_prior
        self._keeps_weights = keep_weights or self._has_low_pass or self._has_prior
        self._best = -math.inf
        # None where an earlier process has kept them.
        self._best_weights: list[np.ndarray] | None = None

    def choose(self) -> Choice:
        """Tries the recipes on the eval split.

        Raises:
          InputError: If each of them diverges.
        """
        shared = self._fit.shared

        def run(recipe: Recipe, share: float) -> tuple[float, _Outcome]:
            outcome = self._recalled(recipe, share)
            return outcome.score, outcome

        def clock() -> float:
            return replicas.agreed(shared.records.kept.clock())

        begun = clock()
        # Prepares what all share, lest the first trial seem slow.
        num_steps = _make_loop(self._task, self._fit, self._space.recipes[0]).num_steps
        seconds = float(shared.options.tuning_seconds) - (clock() - begun)
        trials = search(self._space, run, seconds, clock, num_steps)
        best = trials[-1]
        outcome: _Outcome = best.result
        if outcome.error:
            tried = f" The {len(trials)} recipes tried all diverged." if len(trials) > 1 else ""
            raise InputError(outcome.error + tried)
        _LOG.info("%s: chose %s", self._task, in_words(best.recipe))
        low_pass, candidate_prior = self._choose_closed_forms(best.recipe)
        return Choice(
            recipe=best.recipe,
            trials=tuple(_tell(trial) for trial in trials),
            best_step=max(outcome.progress.looks, key=lambda one: one.score).step,
            num_steps=outcome.num_steps,
            factors=outcome.factors,
            low_pass=low_pass,
            candidate_prior=candidate_prior,
        )

    def best_weights(self) -> list[np.ndarray]:
        """Returns the weights of the best trial at its best look."""
        if self._best_weights is None:
            found = replicas.agreed(self._fit.shared.records.kept.read(f"{self._task}-best"))
            assert found is not None  # Written before the trial that they are of was.
            self._best_weights = list(found[1].values())
        return self._best_weights

    def _list_recipes(self) -> Space:
        """Narrows what may be tried to what is open, fits in memory and differs on this data."""
        fit, task = self._fit, self._task
        space = SPACES[task]
        if not fit.user_vectors_fit():
            recipes = [recipe for recipe in space.recipes if not recipe.get("user_embedding")]
            space = dataclasses.replace(space, recipes=recipes)
        space = space.narrowed(fit.options, fit.shared.options)
        if task == RATING:
            epochs = distinct_epochs(fit.interactions, space.grids[_EPOCHS], fit.shared.options)
            space = dataclasses.replace(space, grids={**space.grids, _EPOCHS: epochs})
            if fit.interactions.rated_alike:
                _LOG.info("all training stars are the same: there is one recipe to predict them")
                space = Space(space.recipes[-1:])
        if fit.shared.warm:
            # What was learnt before may mislead: eval decides on that, too.
            both = [{**recipe, WARM: warm} for recipe in space.recipes for warm in (True, False)]
            space = dataclasses.replace(space, recipes=both)
        return space

    def _recalled(self, recipe: Recipe, share: float) -> _Outcome:
        """Runs a trial, unless an earlier process has finished it."""
        records = self._fit.shared.records
        name = f"{self._task}-{checkpoints.digest(recipe, share)}"
        curves = records.curves(f"{self._task}/{_name(recipe, share)}")
        found = replicas.agreed(records.kept.read(name))
        if found is not None:
            outcome = _Outcome.from_dict(found[0]["outcome"])
            records.kept.credit(found[0]["seconds"])
            curves.draw(outcome.progress.curve, outcome.progress.looks)
            if self._is_best(recipe, outcome):
                self._best_weights = None
            return outcome
        checkpoint = records.kept.run(f"{name}-steps")
        try:
            outcome = self._run(recipe, share, checkpoint, curves)
        except DivergenceError as error:
            _LOG.warning("%s failed: %s", _name(recipe, share), error)
            outcome = _Outcome(-math.inf, 0, error=str(error))
        told = {"seconds": checkpoint.seconds, "outcome": dataclasses.asdict(outcome)}
        records.kept.write(name, told)
        checkpoint.remove()
        return outcome

    @gradients.forgotten()
    def _run(
        self, recipe: Recipe, share: float, checkpoint: RunCheckpoint, curves: Curves
    ) -> _Outcome:
        """Trains with one recipe for a share of a whole run."""
        loop = _make_loop(self._task, self._fit, recipe)
        outcome = _train(loop, self._fit, self._look, recipe, share, checkpoint, curves)
        if self._is_best(recipe, outcome) and self._keeps_weights:
            self._best_weights = loop.weights_now()
            tensors = {str(place): value for place, value in enumerate(loop.variables())}
            self._fit.shared.records.kept.write(f"{self._task}-best", {}, tensors)
        return outcome

    def _is_best(self, recipe: Recipe, outcome: _Outcome) -> bool:
        """Tells whether a run is the best so far, and remembers how good it is."""
        judged = self._space.judge(recipe, outcome.score)
        is_best = judged > self._best
        if is_best:
            self._best = judged
        return is_best

    @gradients.forgotten()
    def _choose_closed_forms(self, recipe: Recipe) -> tuple[LowPassRecipe, PriorRecipe]:
        """Chooses what stands beside the best trial of retrieval, as it was at its best look."""
        low_pass, prior, fit = LowPassRecipe(), PriorRecipe(), self._fit
        if not (self._has_low_pass or self._has_prior):
            return low_pass, prior
        loop = _make_loop(self._task, fit, recipe)
        loop.load(self.best_weights())
        model = loop.model
        if self._has_prior:
            promised, most = fit.candidate_prior(model), fit.options.max_newcomer_cost
            prior, ndcg, without = choose_candidate_prior(promised, self._look, model, most)
            told = "covariates are worth %g visits, %s: eval NDCG@%d %.4f, %.4f without"
            popularity = (
                "and no popularity to newcomers"
                if prior.discount is None
                else f"and newcomers their popularity less {prior.discount:g} nats"
            )
            _LOG.info(told, prior.visits, popularity, DEPTH, ndcg, without)
        if self._has_low_pass:
            is_open, dims = fit.options.low_pass_dim == AUTO, fit.low_pass_dims()
            spectra = fit.low_pass_spectra()
            low_pass, ndcg, without = choose_low_pass(spectra, self._look, model, dims, is_open)
            told = "low-pass block of %d coordinates, weight %g: eval NDCG@%d %.4f, %.4f without"
            _LOG.info(told, low_pass.dim, low_pass.weight, DEPTH, ndcg, without)
        return replicas.agreed((low_pass, prior))


@gradients.forgotten()
def score(task: str, fit: Fit, look: EvalSplit, recipe: Recipe) -> float:
    """Trains with one recipe, whole, and says how good its best look at the eval split was.

    Args:
      task: `rating` or `retrieval`.
      fit: The train split.
      look: The eval split.
      recipe: Values of any options; what it leaves open is as in the first of the task's recipes.

    Returns:
      Minus the RMSE, or the NDCG of lists of `DEPTH`.

    Raises:
      DivergenceError: If the loss or the weights diverge.
    """
    return _train(_make_loop(task, fit, recipe), fit, look, recipe).score


def _make_loop(task: str, fit: Fit, recipe: Recipe) -> TrainingLoop:
    """Builds the model of a recipe, and the task's loop around it."""
    return fit.loop(task, *apply_recipe(recipe, *settle({}, fit.options, fit.shared.options)))


def _train(
    loop: TrainingLoop,
    fit: Fit,
    look: EvalSplit,
    recipe: Recipe,
    share: float = 1.0,
    checkpoint: RunCheckpoint | None = None,
    curves: Curves | None = None,
) -> _Outcome:
    """Trains for a share of a whole run, which is looked at once if it is less than all."""
    steps = max(1, round(share * loop.num_steps))
    progress = loop.fit(
        steps,
        steps,
        fit.shared.options.num_evaluations if share == 1.0 else 1,
        look.rate if loop.task == RATING else look.rank,
        checkpoint,
        curves,
        fit.start(recipe),
    )
    best = max(one.score for one in progress.looks)
    factors = FactorRecipe()
    if isinstance(loop, RatingLoop):
        factors, rmse = choose_factors(loop, look)
        best = max(best, -rmse)
    return replicas.agreed(_Outcome(best, steps, progress, factors))


def _name(recipe: Recipe, share: float) -> str:
    """Names a trial for people."""
    told = [f"{key}={value}" for key, value in recipe.items()]
    return ",".join([f"{share:g} of a run", *told])


def _tell(trial: Trial) -> dict[str, Any]:
    """Says what a trial was and what came of it, for JSON."""
    told = {"recipe": dict(trial.recipe), "share": trial.share}
    outcome: _Outcome = trial.result
    if outcome.error:
        return {**told, "error": outcome.error}
    looks = [dataclasses.asdict(look) for look in outcome.progress.looks]
    return {**told, "score": outcome.score, "looks": looks}
