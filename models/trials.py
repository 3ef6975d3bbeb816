"""Runs of one task on one set of interactions: trials that eval judges, and the last training."""

import dataclasses
import logging
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models import checkpoints, tuning
from models.checkpoints import Checkpoints, RunCheckpoint
from models.curves import Curves
from models.errors import InputError
from models.factors import Factors
from models.looks import DEPTH, EvalSplit
from models.low_pass import LowPass, LowPassRecipe, choose_low_pass
from models.options import ModelOptions, TrainingOptions
from models.rating_training import RatingData, RatingLoop, distinct_epochs
from models.retrieval_training import RetrievalLoop
from models.spectral import Spectrum
from models.tables import EntityTable, Interactions
from models.taste import Taste
from models.training_loop import DivergenceError, Progress, TrainingLoop
from models.two_tower import TwoTowerModel
from models.warm_start import WarmStart

_LOG = logging.getLogger("t2rec")

RATING, RETRIEVAL = "rating", "retrieval"

# Of the users' own vectors in a recipe; their moments and copies take five times as much again.
_MAX_USER_BYTES = 2**28
# Of the low-pass coordinates of all users and businesses.
_MAX_LOW_PASS_BYTES = 2**28
# In a recipe: whether the run starts from what was learnt before.
_WARM = "warm_start"
_FACTOR_WEIGHTS = (1.0, 0.75, 0.5, 0.25)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What eval chose for one task.

    Attributes:
      recipe: Values of the fields that were open.
      trials: What was tried: recipes, shares of a whole run, scores and looks; the best last. One
        that diverged has `error` in place of them.
      best_step: Steps after which its run was best.
      num_steps: Steps of that run.
      factor_weight: What the rating factors count; 0 where they do not help.
      low_pass: The block beside the retrieval direction; of dimension 0 where none helps.
    """

    recipe: tuning.Recipe
    trials: tuple[dict[str, Any], ...]
    best_step: int
    num_steps: int
    factor_weight: float = 0.0
    low_pass: LowPassRecipe = LowPassRecipe()


def _recipes() -> dict[str, Sequence[tuning.Recipe]]:
    return {RATING: tuning.RATING_RECIPES, RETRIEVAL: tuning.RETRIEVAL_RECIPES}


_EPOCHS = "rating_epochs"
_GRIDS = {RATING: tuning.RATING_GRIDS, RETRIEVAL: tuning.RETRIEVAL_GRIDS}
_WHOLE_GRIDS = {RATING: {}, RETRIEVAL: tuning.RETRIEVAL_WHOLE_GRIDS}
_HANDICAPS = {RATING: tuning.RATING_HANDICAP, RETRIEVAL: tuning.RETRIEVAL_HANDICAP}


def settle(
    choices: dict[str, Choice], model_options: ModelOptions, options: TrainingOptions
) -> tuple[ModelOptions, TrainingOptions]:
    """Fills in all that was open; a task that is off takes the first recipe."""
    for task, recipes in _recipes().items():
        recipe = (
            choices[task].recipe
            if task in choices
            else tuning.open_recipes(recipes, model_options, options)[0]
        )
        model_options, options = tuning.apply_recipe(recipe, model_options, options)
    return model_options, options


@dataclasses.dataclass(frozen=True)
class Star:
    """What all runs have in common."""

    users: EntityTable
    businesses: EntityTable
    shrinkages: tuple[float, float]
    covariate_penalty: float
    options: TrainingOptions
    records: "Records"
    warm: WarmStart | None = None


@dataclasses.dataclass(frozen=True)
class Records:
    """What runs leave behind: checkpoints and curves."""

    kept: Checkpoints = dataclasses.field(default_factory=Checkpoints)
    logs: str = ""

    def curves(self, name: str) -> Curves:
        """Opens the curves of a run."""
        return Curves(os.path.join(self.logs, name) if self.logs else "")


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What a run said.

    Attributes:
      score: The score of its best look; -inf if it diverged.
      num_steps: Its steps.
      progress: Its looks and losses.
      factor_weight: What rating factors should count beside it.
      error: How it diverged; "" if it did not.
      handicap: What its recipe takes off the score, as a share: see `tuning.places_away`.
    """

    score: float
    num_steps: int
    progress: Progress = dataclasses.field(default_factory=Progress)
    factor_weight: float = 0.0
    error: str = ""
    handicap: float = 0.0

    @property
    def judged(self) -> float:
        """What it is compared by."""
        return self.score - self.handicap * abs(self.score) if self.handicap else self.score

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "_Outcome":
        """Reads what `dataclasses.asdict` wrote."""
        return cls(**{**told, "progress": Progress.from_dict(told["progress"])})


class Fit:
    """All that is learnt from one set of interactions."""

    def __init__(
        self,
        star: Star,
        interactions: Interactions,
        model_options: ModelOptions,
        keep_weights: bool = False,
    ):
        self._star = star
        self._interactions = interactions
        self._model_options = model_options
        self._keep_weights = keep_weights
        self._histories = interactions.histories(star.users.num_rows)
        self._ratings: dict[int, RatingData] = {}
        self._kept_spectrum: Spectrum | None = None
        # Of each task, the best score; and its weights, unless an earlier process has kept them.
        self._best_scores: dict[str, float] = {}
        self._best_weights: dict[str, list[np.ndarray]] = {}

    def choose(self, task: str, look: EvalSplit) -> Choice:
        """Tries the task's recipes on the eval split.

        Raises:
          InputError: If each of them diverges.
        """
        options, kept = self._star.options, self._star.records.kept
        recipes = tuning.open_recipes(
            [recipe for recipe in _recipes()[task] if self._fits(recipe)],
            self._model_options,
            options,
        )

        grids = _GRIDS[task]
        if task == RATING:
            epochs = distinct_epochs(self._interactions, grids[_EPOCHS], options)
            grids = {**grids, _EPOCHS: epochs}
            if self._interactions.rated_alike:
                _LOG.info("all training stars are the same: there is one recipe to predict them")
                recipes, grids = recipes[-1:], {}
        if self._star.warm:
            # What was learnt before may mislead: eval decides on that, too.
            recipes = [{**recipe, _WARM: warm} for recipe in recipes for warm in (True, False)]

        whole_grids = _WHOLE_GRIDS[task]

        def run(recipe: tuning.Recipe, share: float) -> tuple[float, _Outcome]:
            places = tuning.places_away(recipe, recipes, {**grids, **whole_grids})
            outcome = self._recalled(task, recipe, share, look, _HANDICAPS[task] * places)
            return outcome.judged, outcome

        whole_grids = tuning.RETRIEVAL_WHOLE_GRIDS if task == RETRIEVAL else {}
        trials = tuning.search(recipes, grids, run, options.tuning_seconds, kept.clock, whole_grids)
        best = trials[-1]
        outcome: _Outcome = best.result
        if outcome.error:
            tried = f" The {len(trials)} recipes tried all diverged." if len(trials) > 1 else ""
            raise InputError(outcome.error + tried)
        _LOG.info("%s: chose %s", task, tuning.in_words(best.recipe))
        return Choice(
            best.recipe,
            tuple(_tell(trial) for trial in trials),
            max(outcome.progress.looks, key=lambda one: one.score).step,
            outcome.num_steps,
            outcome.factor_weight,
            self._choose_low_pass(best.recipe, look) if task == RETRIEVAL else LowPassRecipe(),
        )

    def best_weights(self, task: str) -> list[np.ndarray]:
        """Returns the weights of the task's best trial at its best look."""
        weights = self._best_weights.get(task)
        if weights is None:
            found = self._star.records.kept.read(f"{task}-best")
            assert found is not None  # Written before the trial that they are of was.
            weights = list(found[1].values())
        return weights

    def start(self, recipe: tuning.Recipe) -> Callable[[TrainingLoop], None] | None:
        """Returns what sets the variables of a loop to what was learnt before, if that is to be."""
        warm = self._star.warm
        if warm is None or not recipe[_WARM]:
            return None

        def start(loop: TrainingLoop) -> None:
            obstacle = warm.assign(loop.task, loop.model, loop.variables())
            if obstacle:
                _LOG.warning("%s starts cold: %s", loop.task, obstacle)

        return start

    def taste(self, options: ModelOptions) -> Taste:
        """Returns the taste coordinates that a model with these options reads."""
        return self._rating_data(int(options.taste_dim)).sums.taste

    def _fits(self, recipe: tuning.Recipe) -> bool:
        """Tells whether the vectors of all users, where a recipe has them, are small enough.

        They must be so at every dimension that is tried.
        """
        if not recipe.get("user_embedding"):
            return True
        return self._star.users.num_rows * tuning.MAX_EMBEDDING_DIM * 4 <= _MAX_USER_BYTES

    def _recalled(
        self, task: str, recipe: tuning.Recipe, share: float, look: EvalSplit, handicap: float
    ) -> _Outcome:
        """Runs a trial, unless an earlier process has finished it."""
        records = self._star.records
        name = f"{task}-{checkpoints.digest(recipe, share)}"
        curves = records.curves(f"{task}/{_name(recipe, share)}")
        found = records.kept.read(name)
        if found is not None:
            outcome = _Outcome.from_dict(found[0]["outcome"])
            records.kept.credit(found[0]["seconds"])
            curves.draw(outcome.progress.curve, outcome.progress.looks)
            if self._is_best(task, outcome.judged):
                self._best_weights.pop(task, None)
            return outcome
        checkpoint = records.kept.run(f"{name}-steps")
        try:
            outcome = self._run(task, recipe, share, look, handicap, checkpoint, curves)
        except DivergenceError as error:
            _LOG.warning("%s failed: %s", _name(recipe, share), error)
            outcome = _Outcome(-math.inf, 0, error=str(error))
        told = {"seconds": checkpoint.seconds, "outcome": dataclasses.asdict(outcome)}
        records.kept.write(name, told)
        checkpoint.remove()
        return outcome

    def _run(
        self,
        task: str,
        recipe: tuning.Recipe,
        share: float,
        look: EvalSplit,
        handicap: float,
        checkpoint: RunCheckpoint,
        curves: Curves,
    ) -> _Outcome:
        """Trains one task with one recipe for a share of a whole run."""
        model, loop, training = self._prepare(task, recipe)
        steps = max(1, round(share * loop.num_steps))
        progress = loop.fit(
            steps,
            steps,
            training.num_evaluations if share == 1.0 else 1,
            look.rate if task == RATING else look.rank,
            checkpoint,
            curves,
            self.start(recipe),
        )
        score = max(one.score for one in progress.looks)
        factor_weight = 0.0
        if isinstance(loop, RatingLoop):
            factor_weight, rmse = _weigh_factors(loop.fit_factors(), look, model)
            score = max(score, -rmse)
        outcome = _Outcome(score, steps, progress, factor_weight, handicap=handicap)
        if self._is_best(task, outcome.judged) and self._keeps_weights(task):
            self._best_weights[task] = loop.weights_now()
            tensors = {str(place): value for place, value in enumerate(loop.variables())}
            self._star.records.kept.write(f"{task}-best", {}, tensors)
        return outcome

    def _prepare(
        self, task: str, recipe: tuning.Recipe
    ) -> tuple[TwoTowerModel, TrainingLoop, TrainingOptions]:
        settled, training = settle({}, self._model_options, self._star.options)
        settled, training = tuning.apply_recipe(recipe, settled, training)
        model = self.build(settled, training, task)
        return model, self.loop(task, model, settled, training), training

    def _keeps_weights(self, task: str) -> bool:
        return self._keep_weights or (task == RETRIEVAL and bool(self._low_pass_dims()))

    def _is_best(self, task: str, score: float) -> bool:
        """Tells whether a run is the best so far, and remembers its score if it is."""
        is_best = score > self._best_scores.get(task, -math.inf)
        if is_best:
            self._best_scores[task] = score
        return is_best

    def _choose_low_pass(self, recipe: tuning.Recipe, look: EvalSplit) -> LowPassRecipe:
        """Chooses what stands beside the best trial, as it was at its best look."""
        dims = self._low_pass_dims()
        if not dims:
            return LowPassRecipe()
        model, loop, _ = self._prepare(RETRIEVAL, recipe)
        loop.load(self.best_weights(RETRIEVAL))
        is_open = self._model_options.low_pass_dim == tuning.AUTO
        chosen, ndcg, without = choose_low_pass(self._spectrum(), look, model, dims, is_open)
        told = "low-pass block of %d coordinates, weight %g: eval NDCG@%d %.4f, %.4f without"
        _LOG.info(told, chosen.dim, chosen.weight, DEPTH, ndcg, without)
        return chosen

    def _low_pass_dims(self) -> list[int]:
        """Lists the dimensions of a low-pass block that may be tried."""
        wanted, star = self._model_options.low_pass_dim, self._star
        num_rows = star.users.num_rows + star.businesses.num_rows
        # A filter that lets everything pass gives back the visits.
        max_rank = min(star.users.num_rows, star.businesses.num_rows)
        most = min(_MAX_LOW_PASS_BYTES // (4 * num_rows), max_rank - 1)
        if wanted == tuning.AUTO:
            return [dim for dim in tuning.LOW_PASS_DIMS if dim <= most]
        return [min(int(wanted), most)] if wanted and most > 0 else []

    def low_pass(self, recipe: LowPassRecipe) -> LowPass:
        """Makes the low-pass block of these interactions."""
        return LowPass.of(self._spectrum(), recipe)

    def build(
        self, options: ModelOptions, training: TrainingOptions, task: str | None = None
    ) -> TwoTowerModel:
        """Builds a model, ready for one task or for all."""
        star = self._star
        tf.keras.utils.set_random_seed(training.seed)
        taste_dim = int(options.taste_dim)
        if task == RETRIEVAL and self._ratings:
            taste_dim = next(iter(self._ratings))  # Any will do.
        dim = int(options.embedding_dim)
        directions = (
            np.zeros([star.businesses.num_rows, dim], np.float32)
            if task == RATING
            else self._spectrum(dim).directions(dim)
        )
        return TwoTowerModel(
            options,
            star.users,
            star.businesses,
            self._rating_data(taste_dim).sums,
            self._histories,
            directions,
        )

    def loop(
        self, task: str, model: TwoTowerModel, options: ModelOptions, training: TrainingOptions
    ) -> TrainingLoop:
        """Makes the training loop of a task."""
        if task == RATING:
            return RatingLoop(model, self._rating_data(int(options.taste_dim)), training)
        return RetrievalLoop(model, self._histories, training)

    def _rating_data(self, taste_dim: int) -> RatingData:
        if taste_dim not in self._ratings:
            if not taste_dim and self._ratings:
                return next(iter(self._ratings.values())).without_taste()
            data = RatingData.prepare(
                self._interactions,
                self._star.users,
                self._star.businesses,
                self._star.shrinkages,
                self._star.covariate_penalty,
                taste_dim,
                self._star.options,
                self._star.warm.align_taste if self._star.warm else None,
            )
            # Only the latest, as the sums of millions of rows take gigabytes.
            self._ratings = {taste_dim: data}
        return self._ratings[taste_dim]

    def _spectrum(self, rank: int = 0) -> Spectrum:
        """Decomposes the visits, into all that a run or a low-pass block may ask for."""
        if self._kept_spectrum is None or self._kept_spectrum.rank < rank:
            wanted = self._model_options.embedding_dim
            if wanted == tuning.AUTO:
                wanted = tuning.MAX_EMBEDDING_DIM
            self._kept_spectrum = Spectrum.of(
                self._interactions,
                self._star.users.num_rows,
                self._star.businesses.num_rows,
                max(rank, int(wanted), *self._low_pass_dims()),
                self._star.options.seed,
            )
        return self._kept_spectrum


def _name(recipe: tuning.Recipe, share: float) -> str:
    """Names a trial for people."""
    told = [f"{key}={value}" for key, value in recipe.items()]
    return ",".join([f"{share:g} of a run", *told])


def _tell(trial: tuning.Trial) -> dict[str, Any]:
    """Says what a trial was and what came of it, for JSON."""
    told = {"recipe": dict(trial.recipe), "share": trial.share}
    outcome: _Outcome = trial.result
    if outcome.error:
        return {**told, "error": outcome.error}
    looks = [dataclasses.asdict(look) for look in outcome.progress.looks]
    return {**told, "score": outcome.score, "looks": looks}


def _weigh_factors(factors: Factors, look: EvalSplit, model: TwoTowerModel) -> tuple[float, float]:
    """Chooses what the factors should count, on ratings that no tower saw.

    Args:
      factors: What the towers left over, with weight 1.
      look: The eval split.
      model: The towers, without factors.

    Returns:
      Their weight, 0 where they do not help, and the RMSE with them, in stars.
    """
    stars = look.predict(model)
    without = look.rmse(stars)
    if not factors.factor_dim:
        return 0.0, without
    ratings = look.ratings
    shift = (factors.users[ratings.user_rows] * factors.businesses[ratings.business_rows]).sum(1)
    errors = {weight: look.rmse(stars + weight * shift) for weight in _FACTOR_WEIGHTS}
    best = min(errors, key=lambda weight: errors[weight])
    told = "rating factors of weight %g: eval RMSE %.4f, %.4f without"
    _LOG.info(told, best, errors[best], without)
    if errors[best] >= without:
        return 0.0, without
    return best, errors[best]
