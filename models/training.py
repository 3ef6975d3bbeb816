"""Trains on the train split, chooses on the eval split, and then learns from both."""

import dataclasses
import logging

from models import checkpoints, replicas, tables
from models.bias import choose_shrinkages
from models.checkpoints import Checkpoints
from models.content import content_coordinates
from models.fit import Fit, Records, Star
from models.looks import EvalSplit
from models.options import ModelOptions, TrainingOptions
from models.rating_training import RatingLoop
from models.recipes import RATING, RETRIEVAL, leave_out_flat
from models.ridge import Covariates, choose_penalty
from models.sizing import Sizes, settle_sizes
from models.tables import EntityTable, Interactions
from models.trials import Choice, Trials, settle
from models.two_tower import TwoTowerModel
from models.warm_start import Learnt, WarmStart

_LOG = logging.getLogger("t2rec")

_CONTENT_DIM = 64


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
    tables.check(users, businesses, {"train": train_set, "eval": eval_set})
    key = checkpoints.digest(
        users, businesses, train_set, eval_set, dict(model_options), dict(options), refit, base
    )
    replicas.check_digest(key)
    records = Records((kept or Checkpoints()).within(key), logs)
    options = options.for_ratings(len(train_set))
    content, tokens = replicas.agreed(content_coordinates(businesses, _CONTENT_DIM, options.seed))
    warm = None
    if base is not None:
        warm, model_options, options = _warm_start(
            WarmStart(base, users, businesses, train_set), model_options, options
        )
    if warm is not None:
        content, tokens = warm.align_content(content, tokens)
    businesses = dataclasses.replace(businesses, content=content, content_tokens=tokens)
    model_options = leave_out_flat(model_options, users, businesses)
    shrinkages = choose_shrinkages(train_set, eval_set, users.num_rows, businesses.num_rows)
    model_options, sizes = settle_sizes(
        model_options, users, businesses, train_set, shrinkages, options.seed
    )
    penalty = choose_penalty(
        train_set, eval_set, Covariates.of(users, businesses), shrinkages, options.seed
    )
    shrinkages, model_options, penalty = replicas.agreed((shrinkages, model_options, penalty))
    star = Star(users, businesses, shrinkages, penalty, options, records, warm)
    look = EvalSplit(users.num_rows, train_set, eval_set, options.eval_users, options.seed)
    fit, fitted = Fit(star, train_set, model_options), train_set
    keep_weights = not refit or options.warm_start
    trials = {task: Trials(task, fit, look, keep_weights) for task in _tasks(model_options)}
    choices = _choose(trials, fit, refit)
    settled, settled_training = settle(choices, model_options, options)
    learnt = None
    if options.warm_start:
        learnt = Learnt(
            user_ids=users.ids,
            business_ids=businesses.ids,
            vocabularies=businesses.vocabularies,
            user_rows=train_set.user_rows,
            business_rows=train_set.business_rows,
            content=businesses.content,
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
        if choice.low_pass.dim:
            model.low_pass = fit.low_pass(choice.low_pass)
    return TrainingResult(model, choices, shrinkages, penalty, fitted, learnt, sizes)


def _choose(trials: dict[str, Trials], fit: Fit, refit: bool) -> dict[str, Choice]:
    """Chooses for one task after the other; without a refit, rating rows are needed once more."""
    choices = {}
    for task, of_task in trials.items():
        choices[task] = of_task.choose()
        if refit:
            fit.forget_rating_rows()
    return choices


def _warm_start(
    warm: WarmStart, model_options: ModelOptions, options: TrainingOptions
) -> tuple[WarmStart | None, ModelOptions, TrainingOptions]:
    """Decides whether there is one, and settles with it what the options leave open."""
    filled, filled_training = warm.fill(model_options, options)
    obstacle = warm.obstacle(filled)
    if obstacle:
        _LOG.warning("a cold start, not from the latest blessed model: %s", obstacle)
        return None, model_options, options
    _LOG.info("trying a start from the latest blessed model, with its settings where they are open")
    return warm, filled, filled_training


def _tasks(options: ModelOptions) -> list[str]:
    weights = {RATING: options.objective.rating, RETRIEVAL: options.objective.retrieval}
    return [task for task, weight in weights.items() if weight]
