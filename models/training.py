"""Trains on the train split, chooses on the eval split, and then learns from both."""

import dataclasses
import logging

from models import checkpoints, replicas
from models.checkpoints import Checkpoints
from models.fit import Fit, Records
from models.options import ModelOptions, TrainingOptions
from models.preparation import prepare
from models.rating_training import RatingLoop
from models.recipes import RETRIEVAL
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
    star, look, model_options = prepared.star, prepared.look, prepared.options
    fit, fitted = Fit(star, train_set, model_options), train_set
    keep_weights = not refit or star.options.warm_start
    trials = {task: Trials(task, fit, look, keep_weights) for task in model_options.tasks}
    choices = _choose(trials, fit, refit)
    settled, settled_training = settle(choices, model_options, star.options)
    learnt = None
    if star.options.warm_start:
        learnt = Learnt(
            user_ids=users.ids,
            business_ids=businesses.ids,
            vocabularies=businesses.vocabularies,
            user_rows=train_set.user_rows,
            business_rows=train_set.business_rows,
            content=star.businesses.content,
            taste=fit.taste(settled),
            options={
                **settled_training.model_dump(mode="json"),
                **settled.model_dump(mode="json"),
            },
            weights={task: of_task.best_weights() for task, of_task in trials.items()},
        )
    if refit:
        del fit, trials  # Gigabytes, on large data.
        _LOG.info("training again on train + eval with what was chosen")
        fitted = train_set + eval_set
        fit = Fit(star, fitted, model_options)
    model = fit.build(settled, settled_training)
    for task, choice in choices.items():
        loop = fit.loop(task, model, settled, settled_training)
        if refit:
            checkpoint = records.kept.run(f"{task}-final-steps")
            curves = records.curves(f"{task}/final")
            loop.fit(
                choice.best_step,
                choice.num_steps,
                checkpoint=checkpoint,
                curves=curves,
                start=fit.start(choice.recipe),
            )
        else:
            loop.load(trials[task].best_weights())
        if isinstance(loop, RatingLoop) and choice.factors.dim:
            (factors,) = loop.fit_factors([choice.factors.dim])
            if factors.factor_dim:
                model.factors = factors.weighted(choice.factors.weight)
        del loop  # It holds what rating rows are shown, too.
        fit.forget_rating_rows()
        if task == RETRIEVAL and fit.options.candidate_prior:
            model.candidate_prior = fit.candidate_prior(model).limited(choice.candidate_prior)
        if choice.low_pass.dim:
            model.low_pass = fit.low_pass(choice.low_pass)
    return TrainingResult(
        model,
        choices,
        star.shrinkages,
        star.covariate_penalty,
        fitted,
        learnt,
        prepared.sizes,
    )


def _choose(trials: dict[str, Trials], fit: Fit, refit: bool) -> dict[str, Choice]:
    """Chooses for one task after the other; without a refit, rating rows are needed once more."""
    choices = {}
    for task, of_task in trials.items():
        choices[task] = of_task.choose()
        if refit:
            fit.forget_rating_rows()
    return choices
