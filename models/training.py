"""Trains on the train split, chooses on the eval split, and then learns from both."""

import dataclasses
import logging

import numpy as np
import tensorflow_recommenders as tfrs

from models import checkpoints, replicas
from models.checkpoints import Checkpoints
from models.fit import Fit, Records
from models.options import ModelOptions, TrainingOptions
from models.preparation import prepare
from models.rating_training import RatingLoop
from models.recipes import RATING, RETRIEVAL
from models.sizing import Sizes
from models.tables import EntityTable, Interactions
from models.trials import Choice, Trials, settle
from models.two_tower import TwoTowerModel
from models.warm_start import Learnt

_LOG = logging.getLogger("t2rec")


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
      model: The model, each block with the recipe and the number of steps that eval chose.
      choices: By task, `rating` and `retrieval`, what eval chose.
      shrinkages: Pseudo-counts of users and businesses, chosen on eval.
      covariate_penalty: Of covariates in the priors of biases, chosen on eval.
      fitted: The interactions that the model learnt from.
      learnt: What a later training may start from, if the options ask for it.
      sizes: Sizes of the rating towers and their reasons; None if the options told them.
    """

    model: TwoTowerModel
    choices: dict[str, Choice]
    shrinkages: tuple[float, float]
    covariate_penalty: float
    fitted: Interactions
    learnt: Learnt | None = None
    sizes: Sizes | None = None


def train(
    users: EntityTable,
    businesses: EntityTable,
    train_set: Interactions,
    eval_set: Interactions,
    model_options: ModelOptions,
    options: TrainingOptions,
    refit: bool,
    kept: Checkpoints | None = None,
    logs: str = "",
    base: Learnt | None = None,
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
      kept: What an earlier process did of the same training, and where to keep what this one does;
        nowhere by default.
      logs: Folder of TensorBoard's event files, one of its own a run; "" for none.
      base: What an earlier model learnt, to start from if that can be.

    Raises:
      InputError: If a split is empty, a value is not finite, or the loss diverges, whatever is
        tried.
    """
    key = checkpoints.digest(
        users, businesses, train_set, eval_set, dict(model_options), dict(options), refit, base
    )
    replicas.check_digest(key)
    records = Records((kept or Checkpoints()).within(key), logs)
    prepared = prepare(
        users, businesses, train_set, eval_set, model_options, options, records, base
    )
    shared, model_options = prepared.shared, prepared.options
    fit = Fit(shared, train_set, model_options)
    keep_weights = not refit or shared.options.warm_start
    trials = {task: Trials(task, fit, prepared.look, keep_weights) for task in model_options.tasks}
    choices = _choose(trials, fit, refit)
    settled = settle(choices, model_options, shared.options)
    weights = {task: of_task.best_weights() for task, of_task in trials.items() if keep_weights}
    learnt = _record(fit, *settled, weights) if shared.options.warm_start else None
    if refit:
        del fit, trials  # Gigabytes, on large data.
        _LOG.info("training again on train + eval with what was chosen")
        fit = Fit(shared, train_set + eval_set, model_options)
    trained = {}
    for task, choice in choices.items():
        best_weights = None if refit else weights[task]
        trained[task] = _finish_task(task, fit, choice, *settled, best_weights)
        fit.ratings.forget_rows()
    # The whole model can be exported, whichever task is off.
    for task in {RATING, RETRIEVAL} - set(trained):
        trained[task] = fit.model(task, *settled)
    return TrainingResult(
        model=TwoTowerModel(trained[RETRIEVAL], trained[RATING]),
        choices=choices,
        shrinkages=shared.shrinkages,
        covariate_penalty=shared.covariate_penalty,
        fitted=fit.interactions,
        learnt=learnt,
        sizes=prepared.sizes,
    )


def _choose(trials: dict[str, Trials], fit: Fit, refit: bool) -> dict[str, Choice]:
    """Chooses for one task after the other."""
    choices = {}
    for task, of_task in trials.items():
        choices[task] = of_task.choose()
        if refit:  # Without one, factors are fitted to these rows once more.
            fit.ratings.forget_rows()
    return choices


def _record(
    fit: Fit,
    model_options: ModelOptions,
    options: TrainingOptions,
    weights: dict[str, list[np.ndarray]],
) -> Learnt:
    """Says what a later training may start from: what the train split taught."""
    users, businesses = fit.shared.users, fit.shared.businesses
    return Learnt(
        user_ids=users.ids,
        business_ids=businesses.ids,
        vocabularies=businesses.vocabularies,
        user_rows=fit.interactions.user_rows,
        business_rows=fit.interactions.business_rows,
        content=businesses.content,
        taste=fit.ratings.sums(int(model_options.taste_dim)).taste,
        options={**options.model_dump(mode="json"), **model_options.model_dump(mode="json")},
        weights=weights,
    )


def _finish_task(
    task: str,
    fit: Fit,
    choice: Choice,
    model_options: ModelOptions,
    options: TrainingOptions,
    weights: list[np.ndarray] | None,
) -> tfrs.Model:
    """Makes the model of a task as eval chose it.

    Args:
      task: `rating` or `retrieval`.
      fit: What it learns from.
      choice: What eval chose.
      model_options: Options with nothing left open.
      options: Likewise.
      weights: Those of the best trial; None to train anew.
    """
    loop, records = fit.loop(task, model_options, options), fit.shared.records
    if weights is None:
        loop.fit(
            choice.best_step,
            choice.num_steps,
            checkpoint=records.kept.run(f"{task}-final-steps"),
            curves=records.curves(f"{task}/final"),
            start=fit.start(choice.recipe),
        )
    else:
        loop.load(weights)
    if isinstance(loop, RatingLoop):
        if choice.factors.dim:
            (factors,) = loop.fit_factors([choice.factors.dim])
            if factors.factor_dim:
                loop.model.factors = factors.weighted(choice.factors.weight)
        return loop.model
    model = loop.model
    if model_options.candidate_prior:
        model.candidate_prior = fit.candidate_prior(model).limited(choice.candidate_prior)
    if choice.low_pass.dim:
        model.low_pass = fit.low_pass(choice.low_pass)
    return model
