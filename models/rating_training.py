"""Trains the rating blocks: stars from covariates and cross-fitted rating sums."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from models import features, replicas
from models.factors import Factors, fit_factors
from models.optimizers import DenseAdam, WeightAverage
from models.options import TrainingOptions
from models.rating_data import RatingData
from models.rating_model import RatingModel
from models.tables import Interactions
from models.training_loop import TrainingLoop, shuffled

_BLOCK_ROWS = 8_192


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
