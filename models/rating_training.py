"""Trains the rating blocks: stars from covariates and cross-fitted rating sums."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from models import features, replicas
from models.aggregates import CrossFitted, RatingSums, cross_fit, sum_ratings
from models.bias import fit_bias
from models.factors import Factors, fit_factors
from models.optimizers import DenseAdam, WeightAverage
from models.options import TrainingOptions
from models.rating_model import RatingModel
from models.ridge import Covariates, Priors, fit_priors
from models.tables import EntityTable, Interactions
from models.taste import Taste, taste_coordinates
from models.training_loop import TrainingLoop, shuffled

_BLOCK_ROWS = 8_192


@dataclasses.dataclass(frozen=True)
class RatingData:
    """Ratings to learn from, with the sums that each row is shown.

    Attributes:
      interactions: The ratings.
      known: What each row is shown of its user and business, from the other folds.
      sums: Sums over all of the ratings, as at serving time.
    """

    interactions: Interactions
    known: CrossFitted
    sums: RatingSums


class RatingSource:
    """Makes of some ratings what rating models and their training ask for, when they ask.

    Sums are a few numbers a user and business, and stay. What single rows are shown takes minutes
    and gigabytes of millions of ratings: there is that of one taste dimension at a time, until
    `forget_rows`.
    """

    def __init__(
        self,
        interactions: Interactions,
        users: EntityTable,
        businesses: EntityTable,
        shrinkages: tuple[float, float],
        penalty: float,
        options: TrainingOptions,
        align: Callable[[Taste], Taste] | None = None,
    ):
        """Keeps what is to be summed.

        Args:
          interactions: The ratings.
          users: All users.
          businesses: All businesses.
          shrinkages: Pseudo-counts of users and businesses.
          penalty: Of covariates in the priors of biases.
          options: Folds, seed and memory.
          align: Turns the coordinates onto those of an earlier model (`models.warm_start`).
        """
        self._interactions = interactions
        self._users = users
        self._businesses = businesses
        self._sizes = (users.num_rows, businesses.num_rows)
        self._shrinkages = shrinkages
        self._penalty = penalty
        self._options = options
        self._align = align
        self._sums: dict[int, RatingSums] = {}
        self._rows: dict[int, CrossFitted] = {}

    def sums(self, taste_dim: int) -> RatingSums:
        """Sums all of the ratings, along so many coordinates of visits."""
        if taste_dim not in self._sums:
            others = next(iter(self._sums.values()), None)
            if not taste_dim and others is not None:
                self._sums[taste_dim] = others.without_taste()
            else:
                self._sums[taste_dim] = self._sum(taste_dim)
        return self._sums[taste_dim]

    def rows(self, taste_dim: int) -> RatingData:
        """Sums, for each rating, those of the other folds, along so many coordinates of visits."""
        if taste_dim not in self._rows:
            others = next(iter(self._rows.values()), None)
            if not taste_dim and others is not None:
                return RatingData(self._interactions, others.without_taste(), self.sums(taste_dim))
            self._rows = {}
            self._rows[taste_dim] = self._cross_fit(self.sums(taste_dim).taste)
        return RatingData(self._interactions, self._rows[taste_dim], self.sums(taste_dim))

    def forget_rows(self) -> None:
        """Drops what rows are shown: no loop over ratings will follow."""
        self._rows = {}

    def _sum(self, taste_dim: int) -> RatingSums:
        ratings, seed = self._interactions, self._options.seed
        taste = taste_coordinates(ratings, self._sizes[0], self._businesses, taste_dim, seed)
        if self._align is not None:
            taste = self._align(taste)
        priors = self._priors()(ratings)
        bias = fit_bias(ratings, *self._sizes, *self._shrinkages, priors=priors)
        return sum_ratings(ratings, bias, taste=taste)

    def _cross_fit(self, taste: Taste) -> CrossFitted:
        options = self._options
        return cross_fit(
            self._interactions,
            *self._sizes,
            self._shrinkages,
            int(options.num_folds),
            options.seed,
            taste,
            self._priors(),
            options.max_memory_gb * 1e9,
        )

    def _priors(self) -> Callable[[Interactions], Priors]:
        """Returns what fits, on some of the ratings, what covariates say of biases."""
        return functools.partial(
            fit_priors,
            covariates=Covariates.of(self._users, self._businesses),
            shrinkages=self._shrinkages,
            penalty=self._penalty,
            seed=self._options.seed,
        )


def num_steps(ratings: Interactions, epochs: int, options: TrainingOptions) -> int:
    """Returns how many steps a whole run has.

    Args:
      ratings: What it learns from.
      epochs: Passes over them, as far as the limits permit.
      options: The limits.
    """
    most = max(1.0, options.max_rating_examples / len(ratings))
    passes = 0.0 if ratings.rated_alike else min(epochs, most)
    steps = math.ceil(passes * len(ratings) / int(options.rating_batch_size))
    return max(options.min_steps, steps)


def distinct_epochs(
    ratings: Interactions, values: Sequence[int], options: TrainingOptions
) -> list[int]:
    """Lists the passes that the limits leave apart, the fewest of those that they make equal.

    Args:
      ratings: What a run learns from.
      values: Passes, in ascending order.
      options: The limits.
    """
    lengths = {num_steps(ratings, epochs, options): epochs for epochs in reversed(values)}
    return sorted(lengths.values())


class RatingLoop(TrainingLoop):
    """Mean squared error; Adam on a cosine, averaged weights."""

    task = "rating"
    model: RatingModel

    def __init__(self, model: RatingModel, data: RatingData, options: TrainingOptions):
        """Prepares a run over the ratings."""
        super().__init__(model, num_steps(data.interactions, int(options.rating_epochs), options))
        self._data = data
        self._options = options

    @property
    def max_loss(self) -> float:
        """Every prediction off by the whole range, in squared stars."""
        return (features.MAX_STARS - features.MIN_STARS) ** 2

    def batches(self) -> Iterator[dict]:
        """Yields rating batches: see `RatingModel.compute_loss`."""
        ratings = self._data.interactions
        rng = np.random.default_rng(self._options.seed)
        for rows in shuffled(len(ratings), int(self._options.rating_batch_size), rng):
            yield self._batch(rows)

    def _batch(self, rows) -> dict:
        data = self._data
        return {
            "user_rows": tf.constant(data.interactions.user_rows[rows]),
            "business_rows": tf.constant(data.interactions.business_rows[rows]),
            "stars": tf.constant(data.interactions.stars[rows]),
            "user_sums": tf.constant(data.known.user_sums[rows]),
            "business_sums": tf.constant(data.known.business_sums[rows]),
            "business_priors": tf.constant(data.known.business_priors[rows]),
        }

    def create(self, batch: dict) -> None:
        """Creates the variables: see `TrainingLoop`."""
        self.model.compute_loss(batch)

    def prepare(self, schedule_steps: int) -> None:
        """Creates Adam and the averages."""
        options = self._options
        schedule = tf.keras.optimizers.schedules.CosineDecay(
            float(options.rating_learning_rate), schedule_steps
        )
        self._optimizer = DenseAdam(self.variables(), schedule, epsilon=1e-7)
        self._average = WeightAverage(self.variables(), options.ema_decay)

    @tf.function(reduce_retracing=True, autograph=False)
    def step(self, batch: dict) -> tf.Tensor:
        """Trains on a batch: see `TrainingLoop`."""
        return replicas.run(self._train, batch)

    def _train(self, batch: dict) -> tf.Tensor:
        variables = self.variables()
        batch = dict(zip(batch, replicas.share(*batch.values()), strict=True))
        with tf.GradientTape() as tape:
            mean = self.model.compute_loss(batch, training=True)
            loss = replicas.weigh(mean, tf.cast(tf.size(batch["stars"]), tf.float32))
        *gradients, loss = replicas.sums([*tape.gradient(loss, variables), loss])
        self._optimizer.apply(gradients)
        self._average.update(self._optimizer.steps)
        return loss

    def variables(self) -> list[tf.Variable]:
        """Lists all that the task trains."""
        return self.model.trainable_variables

    def optimizers(self) -> list[tf.Module]:
        """Lists what has a state of its own: see `TrainingLoop`."""
        return [self._optimizer, self._average]

    def weights(self) -> list[np.ndarray]:
        """Copies the averages."""
        return self._average.values()

    def fit_factors(self, dims: Sequence[int]) -> list[Factors]:
        """Factorises what the trained towers leave over of the ratings they learnt from.

        A row's prediction is made from its cross-fitted sums; from sums with its own rating in
        them, nothing would be left over.

        Args:
          dims: Numbers of factors.

        Returns:
          Factors of each number; of dimension 0 where they are worth nothing.
        """
        ratings = self._data.interactions
        bias = self._data.sums.bias
        sizes = len(bias.user_bias), len(bias.business_bias)
        if ratings.rated_alike or not dims:
            return [Factors.none(*sizes) for _ in dims]
        predicted = [
            self._predict(self._batch(slice(start, start + _BLOCK_ROWS))).numpy()
            for start in range(0, len(ratings), _BLOCK_ROWS)
        ]
        stars = np.clip(np.concatenate(predicted), features.MIN_STARS, features.MAX_STARS)
        residuals = ratings.stars - stars
        return [fit_factors(ratings, residuals, *sizes, dim, self._options.seed) for dim in dims]

    @tf.function(reduce_retracing=True, autograph=False)
    def _predict(self, batch: dict) -> tf.Tensor:
        return self.model.predict_stars(batch)
