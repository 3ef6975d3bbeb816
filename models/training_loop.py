"""The loop that trains one task: steps, looks at the eval split, the best weights."""

import abc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.errors import InputError
from models.looks import Look
from models.two_tower import TwoTowerModel

_LOG = logging.getLogger("t2rec")

# From a model to its score on the eval split and the metrics: `EvalSplit.rate` or `.rank`.
Measure = Callable[[TwoTowerModel], tuple[float, dict[str, float]]]


class TrainingLoop(abc.ABC):
    """Trains the variables of one task.

    Attributes:
      task: `rating` or `retrieval`.
      model: The model whose variables are trained.
      num_steps: How many steps the whole run has.
    """

    task: str

    def __init__(self, model: TwoTowerModel, num_steps: int):
        """Keeps what is to be trained, and for how long."""
        self.model = model
        self.num_steps = num_steps

    @abc.abstractmethod
    def batches(self) -> Iterator[dict]:
        """Yields batches without end."""

    @abc.abstractmethod
    def create(self, batch: dict) -> None:
        """Creates the variables, which need a batch to know their shapes."""

    @abc.abstractmethod
    def prepare(self, schedule_steps: int) -> None:
        """Creates optimizers whose rates reach 0 after so many steps; before the first step."""

    @abc.abstractmethod
    def step(self, batch: dict) -> tf.Tensor:
        """Trains on a batch and returns its loss."""

    @abc.abstractmethod
    def variables(self) -> list[tf.Variable]:
        """Lists all that the task trains."""

    @abc.abstractmethod
    def weights(self) -> list[np.ndarray]:
        """Copies what the variables would be if training ended here."""

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Sets the variables of a model that has not been trained."""
        self.create(next(self.batches()))
        self.assign(weights)

    def weights_now(self) -> list[np.ndarray]:
        """Copies the variables as they are."""
        return [variable.numpy() for variable in self.variables()]

    def assign(self, weights: Sequence[np.ndarray]) -> None:
        """Sets the variables."""
        for variable, value in zip(self.variables(), weights, strict=True):
            variable.assign(value)

    def fit(
        self,
        num_steps: int,
        schedule_steps: int,
        num_looks: int = 0,
        measure: Measure | None = None,
    ) -> list[Look]:
        """Trains, and ends with the weights of the best look, or the last without one.

        Args:
          num_steps: Steps to train.
          schedule_steps: Steps after which the learning rate is 0.
          num_looks: Looks at the eval split, evenly spaced, the last at the end.
          measure: How to look.

        Raises:
          InputError: If the loss diverges.
        """
        batches = self.batches()
        self.create(next(batches))
        self.prepare(schedule_steps)
        stops = {round(num_steps * (n + 1) / max(num_looks, 1)) for n in range(max(num_looks, 1))}
        looks: list[Look] = []
        best: Any = None
        for step in range(1, num_steps + 1):
            loss = self.step(next(batches))
            if step not in stops:
                continue
            self._check(step, loss)
            weights = self.weights()
            if measure is None:
                _LOG.info("%s: step %d of %d: loss %.4f", self.task, step, num_steps, loss)
                best = weights
                continue
            current = self.weights_now()
            self.assign(weights)
            score, metrics = measure(self.model)
            if best is None or score > max(look.score for look in looks):
                best = weights
            looks.append(Look(step, float(loss), score, metrics))
            told = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
            _LOG.info(
                "%s: step %d of %d: loss %.4f, eval %s", self.task, step, num_steps, loss, told
            )
            self.assign(current)
        self.assign(best)
        return looks

    def _check(self, step: int, loss: tf.Tensor) -> None:
        if not np.isfinite(loss.numpy()):
            raise InputError(
                f"Expected a finite training loss of the {self.task} task; got {loss.numpy()} at "
                f"step {step}. Lower training.{self.task}_learning_rate."
            )


def shuffled(num_rows: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields batches of shuffled row numbers, epoch after epoch, all of one size.

    What does not fill a batch at the end of an epoch waits for another one's shuffle, so that no
    row is in a batch twice.
    """
    size = min(batch_size, num_rows)
    while True:
        order = rng.permutation(num_rows)
        for start in range(0, num_rows - size + 1, size):
            yield order[start : start + size]
