"""Trains on the train split, chooses on the eval split, and then learns from both."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models import tuning
from models.bias import choose_shrinkages
from models.content import content_coordinates
from models.factors import Factors
from models.looks import EvalSplit, Look
from models.options import ModelOptions, TrainingOptions
from models.rating_training import RatingData, RatingLoop
from models.retrieval_training import RetrievalLoop
from models.sizing import Sizes, settle_sizes
from models.spectral import initial_directions
from models.tables import EntityTable, Interactions
from models.training_loop import TrainingLoop
from models.two_tower import TwoTowerModel

_LOG = logging.getLogger("t2rec")

RATING, RETRIEVAL = "rating", "retrieval"

_CONTENT_DIM = 64
# Of the users' own vectors in a recipe; their moments and copies take five times as much again.
_MAX_USER_BYTES = 2**28
_FACTOR_WEIGHTS = (1.0, 0.75, 0.5, 0.25)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What eval chose for one task.

    Attributes:
      recipe: Values of the fields that were open.
      trials: What was tried: recipes, shares of a whole run, scores and looks; the best last.
      best_step: Steps after which its run was best.
      num_steps: Steps of that run.
      factor_weight: What the rating factors count; 0 where they do not help.
    """

    recipe: tuning.Recipe
    trials: tuple[dict[str, Any], ...]
    best_step: int
    num_steps: int
    factor_weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
      model: The model, each block with the recipe and the number of steps that eval chose.
      choices: By task, `rating` and `retrieval`, what eval chose.
      shrinkages: Pseudo-counts of users and businesses, chosen on eval.
      fitted: The interactions that the model learnt from.
      sizes: Sizes of the rating towers and their reasons; None if the options told them.
    """

    model: TwoTowerModel
    choices: dict[str, Choice]
    shrinkages: tuple[float, float]
    fitted: Interactions
    sizes: Sizes | None = None


def train(
    users: EntityTable,
    businesses: EntityTable,
    train_set: Interactions,
    eval_set: Interactions,
    model_options: ModelOptions,
    options: TrainingOptions,
    refit: bool,
) -> TrainingResult:
    """Trains both tasks with what eval chooses.

    Args:
      users: All users.
      businesses: All businesses.
      train_set: Interactions to learn from.
      eval_set: Interactions to choose on: shrinkages, steps and what the options leave open.
      model_options: Sizes and weights of the model.
      options: Length and pace of training.
      refit: Whether to train again on both splits with what was chosen.

    Raises:
      InputError: If the loss diverges.
    """
    businesses = dataclasses.replace(
        businesses, content=content_coordinates(businesses, _CONTENT_DIM, options.seed)
    )
    shrinkages = choose_shrinkages(train_set, eval_set, users.num_rows, businesses.num_rows)
    model_options, sizes = settle_sizes(
        model_options, users, businesses, train_set, shrinkages, options.seed
    )
    star = _Star(users, businesses, shrinkages, options)
    look = EvalSplit(users.num_rows, train_set, eval_set, options.eval_users, options.seed)
    on_train = _Fit(star, train_set, model_options)
    choices: dict[str, Choice] = {}
    best: dict[str, tuning.Trial] = {}
    for task in _tasks(model_options):
        best[task], choices[task] = on_train.choose(task, look)
    settled, settled_training = _settle(choices, model_options, options)
    if not refit:
        model = on_train.build(settled, settled_training)
        for task, trial in best.items():
            loop = on_train.loop(task, model, settled, settled_training)
            loop.load(trial.result.weights)
            if trial.result.factors is not None:
                model.factors = trial.result.factors
        return TrainingResult(model, choices, shrinkages, train_set, sizes)
    del on_train, best  # Gigabytes, on large data.
    fitted = train_set + eval_set
    _LOG.info("training again on train + eval with what was chosen")
    on_both = _Fit(star, fitted, model_options)
    model = on_both.build(settled, settled_training)
    for task, choice in choices.items():
        loop = on_both.loop(task, model, settled, settled_training)
        loop.fit(choice.best_step, choice.num_steps)
        if isinstance(loop, RatingLoop) and choice.factor_weight:
            factors = loop.fit_factors()
            if factors.factor_dim:
                model.factors = factors.weighted(choice.factor_weight)
    return TrainingResult(model, choices, shrinkages, fitted, sizes)


def _tasks(options: ModelOptions) -> list[str]:
    weights = {RATING: options.objective.rating, RETRIEVAL: options.objective.retrieval}
    return [task for task, weight in weights.items() if weight]


def _settle(
    choices: dict[str, Choice], model_options: ModelOptions, options: TrainingOptions
) -> tuple[ModelOptions, TrainingOptions]:
    """Fills in all that was open; a task that is off takes the first recipe."""
    for task, recipes in _RECIPES.items():
        recipe = (
            choices[task].recipe
            if task in choices
            else tuning.open_recipes(recipes, model_options, options)[0]
        )
        model_options, options = tuning.apply_recipe(recipe, model_options, options)
    return model_options, options


_RECIPES: dict[str, Sequence[tuning.Recipe]] = {
    RATING: tuning.RATING_RECIPES,
    RETRIEVAL: tuning.RETRIEVAL_RECIPES,
}
_GRIDS = {RATING: tuning.RATING_GRIDS, RETRIEVAL: tuning.RETRIEVAL_GRIDS}


@dataclasses.dataclass(frozen=True)
class _Star:
    """What all runs have in common."""

    users: EntityTable
    businesses: EntityTable
    shrinkages: tuple[float, float]
    options: TrainingOptions


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """A run's looks, its best weights and, of a rating run, its factors."""

    looks: list[Look]
    weights: list[np.ndarray]  # Empty where an earlier run was better.
    num_steps: int
    factors: Factors | None = None


class _Fit:
    """All that is learnt from one set of interactions."""

    def __init__(self, star: _Star, interactions: Interactions, model_options: ModelOptions):
        self._star = star
        self._interactions = interactions
        self._model_options = model_options
        self._histories = interactions.histories(star.users.num_rows)
        self._ratings: dict[int, RatingData] = {}
        self._directions: dict[int, np.ndarray] = {}
        self._best_scores: dict[str, float] = {}

    def choose(self, task: str, look: EvalSplit) -> tuple[tuning.Trial, Choice]:
        """Tries the task's recipes and returns the best whole run and the choice."""
        options = self._star.options
        recipes = tuning.open_recipes(
            [recipe for recipe in _RECIPES[task] if self._fits(recipe)],
            self._model_options,
            options,
        )
        trials = tuning.search(
            recipes,
            _GRIDS[task],
            lambda recipe, share: self._run(task, recipe, share, look),
            options.tuning_seconds,
        )
        best = trials[-1]
        outcome: _Outcome = best.result
        told = tuple(
            {
                "recipe": dict(trial.recipe),
                "share": trial.share,
                "score": trial.score,
                "looks": [dataclasses.asdict(one) for one in trial.result.looks],
            }
            for trial in trials
        )
        _LOG.info("%s: chose %s", task, dict(best.recipe) or "what the options say")
        return best, Choice(
            best.recipe,
            told,
            max(outcome.looks, key=lambda one: one.score).step,
            outcome.num_steps,
            outcome.factors.weight if outcome.factors else 0.0,
        )

    def _fits(self, recipe: tuning.Recipe) -> bool:
        """Tells whether the vectors of all users, where a recipe has them, are small enough."""
        if not recipe.get("user_embedding"):
            return True
        return self._star.users.num_rows * recipe["embedding_dim"] * 4 <= _MAX_USER_BYTES

    def _run(
        self, task: str, recipe: tuning.Recipe, share: float, look: EvalSplit
    ) -> tuple[float, _Outcome]:
        """Trains one task with one recipe for a share of a whole run."""
        settled, training = _settle({}, self._model_options, self._star.options)
        settled, training = tuning.apply_recipe(recipe, settled, training)
        model = self.build(settled, training, task)
        loop = self.loop(task, model, settled, training)
        steps = max(1, round(share * loop.num_steps))
        measure = look.rate if task == RATING else look.rank
        looks = loop.fit(steps, steps, training.num_evaluations if share == 1.0 else 1, measure)
        score = max(one.score for one in looks)
        factors = None
        if isinstance(loop, RatingLoop):
            factors, rmse = _weigh_factors(loop.fit_factors(), look, model)
            score = max(score, -rmse)
        # Weights are large: only the best so far are kept.
        weights: list[np.ndarray] = []
        if score > self._best_scores.get(task, -math.inf):
            self._best_scores[task], weights = score, loop.weights_now()
        return score, _Outcome(looks, weights, steps, factors)

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
            else self._initial_directions(dim)
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
            data = RatingData.prepare(
                self._interactions,
                self._star.users.num_rows,
                self._star.businesses,
                self._star.shrinkages,
                taste_dim,
                self._star.options,
            )
            # Only the latest, as the sums of millions of rows take gigabytes.
            self._ratings = {taste_dim: data}
        return self._ratings[taste_dim]

    def _initial_directions(self, dim: int) -> np.ndarray:
        if dim not in self._directions:
            self._directions[dim] = initial_directions(
                self._interactions,
                self._star.users.num_rows,
                self._star.businesses.num_rows,
                dim,
                self._star.options.seed,
            )
        return self._directions[dim]


def _weigh_factors(
    factors: Factors, look: EvalSplit, model: TwoTowerModel
) -> tuple[Factors | None, float]:
    """Chooses what the factors should count, on ratings that no tower saw.

    Args:
      factors: What the towers left over, with weight 1.
      look: The eval split.
      model: The towers, without factors.

    Returns:
      The weighted factors, None where they do not help, and the RMSE with them, in stars.
    """
    stars = look.predict(model)
    without = look.rmse(stars)
    if not factors.factor_dim:
        return None, without
    ratings = look.ratings
    shift = (factors.users[ratings.user_rows] * factors.businesses[ratings.business_rows]).sum(1)
    errors = {weight: look.rmse(stars + weight * shift) for weight in _FACTOR_WEIGHTS}
    best = min(errors, key=lambda weight: errors[weight])
    told = "rating factors of weight %g: eval RMSE %.4f, %.4f without"
    _LOG.info(told, best, errors[best], without)
    if errors[best] >= without:
        return None, without
    return factors.weighted(best), errors[best]
