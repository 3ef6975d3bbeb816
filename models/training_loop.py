"""The loop that trains one task: steps, looks at the eval split, the best weights."""

import abc
import dataclasses
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models import replicas
from models.checkpoints import Checkpoints, RunCheckpoint
from models.curves import Curves
from models.errors import InputError
from models.hidden import Dropout
from models.looks import Look

_LOG = logging.getLogger("t2rec")

# From a task's model to its score on the eval split and the metrics: `EvalSplit.rate` or `.rank`.
Measure = Callable[[Any], tuple[float, dict[str, float]]]

# Decay of the mean loss, so that one odd batch stops nothing.
_LOSS_DECAY = 0.9
# Points of a loss curve, at most.
_CURVE_POINTS = 100


class DivergenceError(InputError):
    """Reports a run whose loss or weights are no longer of any use."""


@dataclasses.dataclass
class Progress:
    """Where a run stands.

    Attributes:
      step: Steps trained so far.
      mean_loss: Training loss, averaged over the last few steps; None before the first one.
      curve: Steps and mean losses, about a hundred in a run.
      looks: Looks at the eval split.
    """

    step: int = 0
    mean_loss: float | None = None
    curve: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    looks: list[Look] = dataclasses.field(default_factory=list)

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "Progress":
        """Reads what `dataclasses.asdict` wrote."""
        looks = [Look(**look) for look in told["looks"]]
        curve = [(step, loss) for step, loss in told["curve"]]
        return cls(**{**told, "curve": curve, "looks": looks})


class TrainingLoop(abc.ABC):
    """Trains the model of one task.

    Attributes:
      task: `rating` or `retrieval`.
      model: The model that is trained.
      num_steps: How many steps the whole run has.
    """

    task: str

    def __init__(self, model: tfrs.Model, num_steps: int):
        """Keeps what is to be trained, and for how long."""
        self.model = model
        self.num_steps = num_steps

    @property
    @abc.abstractmethod
    def max_loss(self) -> float:
        """A mean loss that no run reaches but one that diverges."""

    @abc.abstractmethod
    def batches(self) -> Iterator[dict]:
        """Yields batches without end; the same ones at every call."""

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
    def optimizers(self) -> list[tf.Module]:
        """Lists what has a state of its own beside the variables, once it is prepared."""

    def state(self) -> list[tf.Variable]:
        """Lists all that a step changes."""
        found = self.variables()
        for optimizer in self.optimizers():
            found = [*found, *optimizer.variables]
        for layer in self.model.submodules:
            if isinstance(layer, Dropout):
                found = [*found, layer.random_state]
        # An optimizer also lists what it updates.
        return list({id(variable): variable for variable in found}.values())

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
        checkpoint: RunCheckpoint | None = None,
        curves: Curves | None = None,
        start: Callable[["TrainingLoop"], None] | None = None,
    ) -> Progress:
        """Trains, and ends with the weights of the best look, or the last without one.

        Args:
          num_steps: Steps to train.
          schedule_steps: Steps after which the learning rate is 0.
          num_looks: Looks at the eval split, evenly spaced, the last at the end.
          measure: How to look.
          checkpoint: Where the run is kept, and found again if it was killed.
          curves: Where its losses and looks are drawn.
          start: Sets the variables before the first step; they stay as they are by default.

        Returns:
          The looks and the losses.

        Raises:
          DivergenceError: If the loss or the weights diverge.
        """
        checkpoint, curves = checkpoint or Checkpoints().run(self.task), curves or Curves()
        batches = self.batches()
        first = next(batches)
        batches = itertools.chain([first], batches)
        replicas.check_batch(first, f"the first {self.task} batch")
        self.create(first)
        if start is not None:
            start(self)
        self.prepare(schedule_steps)
        # The weights of the best look: variables, so that checkpoints hold them.
        best = [tf.Variable(variable) for variable in self.variables()] if measure else []
        state = [*self.state(), *best]
        told = replicas.agreed(checkpoint.restore(state))
        replicas.broadcast(state)
        progress = Progress.from_dict(told) if told else Progress()
        curves.draw(progress.curve, progress.looks)
        for _ in range(progress.step):
            next(batches)
        every = math.ceil(num_steps / _CURVE_POINTS)
        stops = {round(num_steps * (n + 1) / max(num_looks, 1)) for n in range(max(num_looks, 1))}
        while progress.step < num_steps:
            loss = float(self.step(next(batches)))
            progress.step += 1
            self._check(progress, loss)
            if progress.step % every == 0:
                progress.curve.append((progress.step, progress.mean_loss or 0.0))
                curves.draw(progress.curve[-1:], [])
            if progress.step in stops:
                self._stop(progress, num_steps, loss, measure, best)
                curves.draw([], progress.looks[-1:])
            if checkpoint.is_due or progress.step == num_steps:
                checkpoint.save(state, dataclasses.asdict(progress))
        if measure:
            self.assign([variable.numpy() for variable in best])
        return progress

    def _stop(
        self,
        progress: Progress,
        num_steps: int,
        loss: float,
        measure: Measure | None,
        best: list[tf.Variable],
    ) -> None:
        """Looks at the eval split, or takes the last weights where there is no eval split."""
        weights = self.weights()
        if not all(np.isfinite(value).all() for value in weights):
            raise self._diverged("finite weights", "some that are not", progress.step)
        where = f"{self.task}: step {progress.step} of {num_steps}: loss {loss:.4f}"
        if measure is None:
            _LOG.info(where)
            self.assign(weights)
            return
        current = self.weights_now()
        self.assign(weights)
        score, metrics = measure(self.model)
        if not math.isfinite(score):
            raise self._diverged("a finite score on eval", f"{score}", progress.step)
        if score > max((look.score for look in progress.looks), default=-math.inf):
            for variable, value in zip(best, weights, strict=True):
                variable.assign(value)
        progress.looks.append(Look(progress.step, loss, score, metrics))
        told = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
        _LOG.info("%s, eval %s", where, told)
        self.assign(current)

    def _check(self, progress: Progress, loss: float) -> None:
        """Averages the loss and raises if it diverges: a number a step costs nothing."""
        if not math.isfinite(loss):
            raise self._diverged("a finite training loss", f"{loss}", progress.step)
        mean = progress.mean_loss
        mean = loss if mean is None else _LOSS_DECAY * mean + (1.0 - _LOSS_DECAY) * loss
        progress.mean_loss = mean
        if mean > self.max_loss:
            expected = f"a training loss of at most {self.max_loss:.1f}"
            raise self._diverged(expected, f"{mean:.1f}", progress.step)

    def _diverged(self, expected: str, got: str, step: int) -> DivergenceError:
        return DivergenceError(
            f"Expected {expected} of the {self.task} task; got {got} at step {step}. Lower "
            f"training.{self.task}_learning_rate."
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
