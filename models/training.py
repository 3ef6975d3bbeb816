"""The training loop: mixed batches of both tasks, averaged weights, the best step on eval."""

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from models import features, metrics, tuning
from models.aggregates import cross_fit, sum_ratings
from models.bias import choose_shrinkages, fit_bias
from models.errors import InputError
from models.options import ModelOptions, TrainingOptions
from models.spectral import initial_directions
from models.tables import Bag, EntityTable, Interactions
from models.taste import taste_coordinates
from models.two_tower import TwoTowerModel

_LOG = logging.getLogger("t2rec")

RATING, RETRIEVAL = "rating", "retrieval"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One look at the eval split.

    Attributes:
      step: Steps trained so far.
      rmse: Root mean squared error of the ratings, in stars.
      recall_at_20: Mean recall of the users' 20 best candidates, those seen in training left out.
    """

    step: int
    rmse: float
    recall_at_20: float


@dataclasses.dataclass(frozen=True)
class Trial:
    """A training run on the train split with one set of options.

    Attributes:
      model_options: The options.
      evaluations: The looks at the eval split, in order.
      best_steps: By block, `rating` and `retrieval`, the step that was best on eval.
      best_scores: By block, how good it was then: minus the RMSE, or the recall@20.
    """

    model_options: ModelOptions
    evaluations: tuple[Evaluation, ...]
    best_steps: dict[str, int]
    best_scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
      model: The model, each block with the options and the number of steps of its best trial.
      trials: What was tried.
      chosen: By block, the place of its best trial in `trials`.
      shrinkages: Pseudo-counts of users and businesses, chosen on eval.
      fitted: The interactions that the model learnt from.
    """

    model: TwoTowerModel
    trials: tuple[Trial, ...]
    chosen: dict[str, int]
    shrinkages: tuple[float, float]
    fitted: Interactions

    @property
    def best_steps(self) -> dict[str, int]:
        """The steps that each block was trained for."""
        return {name: self.trials[place].best_steps[name] for name, place in self.chosen.items()}


def train(
    users: EntityTable,
    businesses: EntityTable,
    train_set: Interactions,
    eval_set: Interactions,
    model_options: ModelOptions,
    options: TrainingOptions,
    refit: bool,
) -> TrainingResult:
    """Trains on the train split, chooses on the eval split, and then learns from both.

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
    shrinkages = choose_shrinkages(train_set, eval_set, users.num_rows, businesses.num_rows)
    look = _EvalSplit(users.num_rows, train_set, eval_set, options)
    started = time.monotonic()
    trials: list[Trial] = []
    for tried in tuning.list_trials(model_options):
        seconds_each = (time.monotonic() - started) / max(len(trials), 1)
        if trials and seconds_each * (len(trials) + 1) > options.tuning_seconds:
            _LOG.info("training.tuning_seconds leaves no time for more trials")
            break
        _LOG.info("trying taste_dim %s, temperature %s", tried.taste_dim, tried.temperature)
        run = _Run(users, businesses, train_set, shrinkages, tried, options)
        trials.append(run.fit_and_look(look))
    chosen = _choose(trials)
    final_options = _join_options(model_options, trials, chosen)
    steps = {name: trials[place].best_steps[name] for name, place in chosen.items()}
    for name, place in chosen.items():
        tried = trials[place].model_options
        _LOG.info("%s: taste_dim %s, temperature %s", name, tried.taste_dim, tried.temperature)
    if not refit and len(trials) == 1:
        return TrainingResult(run.model, tuple(trials), chosen, shrinkages, train_set)
    fitted = train_set + eval_set if refit else train_set
    _LOG.info("training again on %s with what was chosen", "train + eval" if refit else "train")
    again = _Run(users, businesses, fitted, shrinkages, final_options, options)
    again.fit(steps, schedule_steps=run.num_steps)
    return TrainingResult(again.model, tuple(trials), chosen, shrinkages, fitted)


def _choose(trials: Sequence[Trial]) -> dict[str, int]:
    """Chooses the best trial of each block, the first of equal ones."""
    names = trials[0].best_scores
    places = range(len(trials))
    return {
        name: max(places, key=lambda place: trials[place].best_scores.get(name, -math.inf))
        for name in names
    }


def _join_options(
    model_options: ModelOptions, trials: Sequence[Trial], chosen: dict[str, int]
) -> ModelOptions:
    """Joins what the blocks chose; a block without a task keeps what was tried first."""
    by_block = {RATING: tuning.RATING_VALUES, RETRIEVAL: tuning.RETRIEVAL_VALUES}
    return model_options.model_copy(
        update={
            key: getattr(trials[chosen.get(name, 0)].model_options, key)
            for name, values in by_block.items()
            for key in values
        }
    )


class _EvalSplit:
    """Measures a model on the eval split."""

    def __init__(
        self,
        num_users: int,
        train_set: Interactions,
        eval_set: Interactions,
        options: TrainingOptions,
    ):
        self._ratings = eval_set
        relevant = eval_set.histories(num_users)
        users = np.flatnonzero(relevant.lengths())
        if len(users) > options.eval_users:
            rng = np.random.default_rng(options.seed)
            users = np.sort(rng.choice(users, options.eval_users, replace=False))
        self._users = users
        self._relevant = relevant.take(users)
        self._seen = train_set.histories(num_users).take(users)

    def evaluate(self, step: int, model: TwoTowerModel) -> Evaluation:
        candidates = model.embed_candidates()
        return Evaluation(
            step,
            self._rmse(model, candidates) if model.options.objective.rating else math.nan,
            self._recall(model, candidates) if model.options.objective.retrieval else math.nan,
        )

    def _rmse(self, model: TwoTowerModel, candidates: np.ndarray) -> float:
        users, places = np.unique(self._ratings.user_rows, return_inverse=True)
        block = model.options.rating_block_dim
        queries = model.embed_queries(candidates, users)[places, -block:]
        stars = (queries * candidates[self._ratings.business_rows, -block:]).sum(axis=1)
        stars = np.clip(stars, features.MIN_STARS, features.MAX_STARS)
        return float(np.sqrt(np.mean((stars - self._ratings.stars) ** 2)))

    def _recall(self, model: TwoTowerModel, candidates: np.ndarray) -> float:
        block = model.options.retrieval_block_dim
        queries = model.embed_queries(candidates, self._users)[:, :block]
        ranked = metrics.top_k(queries, candidates[:, :block], 20, self._seen)
        hit = metrics.hits(ranked, self._relevant)
        return float(metrics.recall_at(hit, self._relevant.lengths(), 20).mean())


class _Block:
    """The variables of one task: their optimizer, their average, their best values so far."""

    def __init__(self, variables: list[tf.Variable], learning_rate: float, decay: float):
        self.variables = variables
        self._learning_rate = learning_rate
        self._decay = decay
        self._best: list[np.ndarray] = []
        self.best_score = -math.inf
        self.best_step = 0

    def prepare(self, schedule_steps: int) -> None:
        """Creates the optimizer and the averages; after the variables exist, before tracing."""
        schedule = tf.keras.optimizers.schedules.CosineDecay(self._learning_rate, schedule_steps)
        self.optimizer = tf.keras.optimizers.Adam(schedule)
        self.optimizer.build(self.variables)
        self._average = tf.train.ExponentialMovingAverage(
            self._decay, num_updates=self.optimizer.iterations
        )
        self._average.apply(self.variables)

    def apply(self, gradients: list[tf.Tensor]) -> None:
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
        self._average.apply(self.variables)

    def averages(self) -> list[np.ndarray]:
        return [self._average.average(variable).numpy() for variable in self.variables]

    def keep_if_best(self, step: int, score: float) -> None:
        if score > self.best_score:
            self.best_step, self.best_score, self._best = step, score, self.averages()

    def keep(self, step: int) -> None:
        self.best_step, self._best = step, self.averages()

    def restore_best(self) -> None:
        self.assign(self._best)

    def assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)


class _Run:
    """One training run on one set of interactions."""

    def __init__(
        self,
        users: EntityTable,
        businesses: EntityTable,
        interactions: Interactions,
        shrinkages: tuple[float, float],
        model_options: ModelOptions,
        options: TrainingOptions,
    ):
        tf.keras.utils.set_random_seed(options.seed)
        self._options = options
        self._interactions = interactions
        num_users, num_businesses = users.num_rows, businesses.num_rows
        taste = taste_coordinates(
            interactions, num_users, businesses, int(model_options.taste_dim), options.seed
        )
        self._user_sums, self._business_sums = cross_fit(
            interactions,
            num_users,
            num_businesses,
            shrinkages,
            options.num_folds,
            options.seed,
            taste,
        )
        bias = fit_bias(interactions, num_users, num_businesses, *shrinkages)
        self._histories = interactions.histories(num_users)
        self._active_users = np.flatnonzero(self._histories.lengths()).astype(np.int32)
        directions = initial_directions(
            interactions,
            num_users,
            num_businesses,
            model_options.embedding_dim,
            options.seed,
        )
        self.model = TwoTowerModel(
            model_options,
            users,
            businesses,
            sum_ratings(interactions, bias, taste=taste),
            self._histories,
            directions,
        )
        longest = max(
            math.ceil(len(interactions) / options.rating_batch_size),
            math.ceil(len(self._active_users) / options.retrieval_batch_size),
        )
        self.num_steps = max(options.min_steps, options.epochs * longest)
        self._rng = np.random.default_rng(options.seed)
        self._batches = zip(self._rating_batches(), self._retrieval_batches(), strict=True)
        self._blocks: dict[str, _Block] = {}

    def fit_and_look(self, eval_split: _EvalSplit) -> Trial:
        """Trains to the end; each block keeps the weights that were best on the eval split."""
        self._prepare(self.num_steps)
        every = max(1, self.num_steps // self._options.num_evaluations)
        evaluations = []
        for step in range(1, self.num_steps + 1):
            loss = self._step(self._next_batch())
            if step % every and step != self.num_steps:
                continue
            self._check(step, loss)
            current = {name: [v.numpy() for v in b.variables] for name, b in self._blocks.items()}
            for block in self._blocks.values():
                block.assign(block.averages())
            look = eval_split.evaluate(step, self.model)
            for name, block in self._blocks.items():
                block.keep_if_best(step, -look.rmse if name == RATING else look.recall_at_20)
                block.assign(current[name])
            evaluations.append(look)
            _LOG.info(
                "step %d of %d: loss %.4f, eval RMSE %.4f, eval recall@20 %.4f",
                step,
                self.num_steps,
                loss,
                look.rmse,
                look.recall_at_20,
            )
        for block in self._blocks.values():
            block.restore_best()
        return Trial(
            self.model.options,
            tuple(evaluations),
            {name: block.best_step for name, block in self._blocks.items()},
            {name: block.best_score for name, block in self._blocks.items()},
        )

    def fit(self, steps: dict[str, int], schedule_steps: int) -> None:
        """Trains each block for its own number of steps, on the schedule of a longer run."""
        self._prepare(schedule_steps)
        last = max(steps.values())
        for step in range(1, last + 1):
            loss = self._step(self._next_batch())
            for name, block in self._blocks.items():
                if step == steps[name]:
                    block.keep(step)
            if step % max(1, last // 4) == 0 or step == last:
                self._check(step, loss)
                _LOG.info("step %d of %d: loss %.4f", step, last, loss)
        for block in self._blocks.values():
            block.restore_best()

    def _prepare(self, schedule_steps: int) -> None:
        self.model.compute_loss(self._next_batch())  # Creates the variables.
        self.model.embed_queries(self.model.embed_candidates(), self._active_users[:1])
        options, objective = self._options, self.model.options.objective
        if objective.rating:
            self._blocks[RATING] = _Block(
                self.model.rating_variables, options.rating_learning_rate, options.ema_decay
            )
        if objective.retrieval:
            self._blocks[RETRIEVAL] = _Block(
                self.model.retrieval_variables, options.retrieval_learning_rate, options.ema_decay
            )
        for block in self._blocks.values():
            block.prepare(schedule_steps)

    @tf.function(reduce_retracing=True, autograph=False)
    def _step(self, batch: dict) -> tf.Tensor:
        blocks = list(self._blocks.values())
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(batch, training=True)
        gradients = tape.gradient(loss, [block.variables for block in blocks])
        for block, block_gradients in zip(blocks, gradients, strict=True):
            block.apply(block_gradients)
        return loss

    @staticmethod
    def _check(step: int, loss: tf.Tensor) -> None:
        if not np.isfinite(loss.numpy()):
            raise InputError(
                f"Expected a finite training loss; got {loss.numpy()} at step {step}. Lower "
                "training.rating_learning_rate and training.retrieval_learning_rate."
            )

    def _next_batch(self) -> dict:
        rating, retrieval = next(self._batches)
        return {**rating, **retrieval}

    def _rating_batches(self) -> Iterator[dict]:
        ratings = self._interactions
        for rows in _endless(len(ratings), self._options.rating_batch_size, self._rng):
            yield {
                "user_rows": tf.constant(ratings.user_rows[rows]),
                "business_rows": tf.constant(ratings.business_rows[rows]),
                "stars": tf.constant(ratings.stars[rows]),
                "user_sums": tf.constant(self._user_sums[rows]),
                "business_sums": tf.constant(self._business_sums[rows]),
            }

    def _retrieval_batches(self) -> Iterator[dict]:
        users = self._active_users
        for rows in _endless(len(users), self._options.retrieval_batch_size, self._rng):
            histories, positives = split_histories(self._histories.take(users[rows]), self._rng)
            yield {
                "query_rows": tf.constant(users[rows]),
                "histories": _ragged(histories),
                "positives": _ragged(positives),
            }


def split_histories(histories: Bag, rng: np.random.Generator) -> tuple[Bag, Bag]:
    """Divides each user's businesses into a history and the positives to predict from it.

    A user who is embedded from the very businesses that they are asked for learns to repeat them.
    Each user keeps a share of their history that is drawn anew at every step, from nothing, as
    for a new user, to all but one.

    Args:
      histories: Businesses of each user, at least one a user.
      rng: Source of the draw.

    Returns:
      The kept histories, maybe empty, and the positives, at least one a user.
    """
    lengths = histories.lengths()
    rows = np.repeat(np.arange(histories.num_rows), lengths)
    keep = rng.random(len(rows)) < rng.random(histories.num_rows)[rows]
    keep[histories.row_splits[:-1] + (rng.random(histories.num_rows) * lengths).astype(int)] = False
    return (
        Bag.from_pairs(rows[keep], histories.values[keep], histories.num_rows),
        Bag.from_pairs(rows[~keep], histories.values[~keep], histories.num_rows),
    )


def _endless(num_rows: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields batches of shuffled row numbers, epoch after epoch, all of one size."""
    size = min(batch_size, num_rows)
    pool = np.zeros(0, np.int64)
    while True:
        if len(pool) < size:
            pool = np.concatenate([pool, rng.permutation(num_rows)])
        yield pool[:size]
        pool = pool[size:]


def _ragged(bag: Bag) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_splits(bag.values, bag.row_splits, validate=False)
