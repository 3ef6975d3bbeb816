"""Trains both tasks with one trunk a side, and with one of its own for each task."""

import json
import sys
import time
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from benchmarks import ingested
from models.fit import Fit
from models.hidden import hidden_layers
from models.looks import EvalSplit
from models.optimizers import DenseAdam
from models.options import ModelOptions, TrainingOptions
from models.preparation import prepare
from models.rating_model import RatingModel
from models.recipes import RATING, RETRIEVAL
from models.retrieval_model import RetrievalModel
from models.training_loop import TrainingLoop

# Of the mean squared error, beside the softmax's nats a visit.
WEIGHTS = (1.0, 10.0, 100.0)
_NUM_LOOKS = 8
# What every run of the table has in common: the first recipes, covariates counting for retrieval.
_MODEL = ModelOptions(
    embedding_dim=64,
    low_pass_dim=0,
    taste_dim=0,
    factor_dim=0,
    temperature=0.25,
    history_power=0.25,
    user_embedding=False,
    query_covariates=1.0,
    candidate_covariates=1.0,
)
_TRAINING = TrainingOptions(
    rating_learning_rate=2e-3, rating_epochs=8, retrieval_learning_rate=1.2e-2
)


def main(root: str, num_seeds: str, out: str) -> None:
    """Writes the scores and the cost of each run as JSON.

    Args:
      root: Where `benchmarks.ingest_pipeline` wrote.
      num_seeds: Runs of each arrangement, each with a seed of its own.
      out: The JSON file.
    """
    users, businesses, train_set, eval_set, _ = ingested.read(root)
    runs = []
    for seed in range(int(num_seeds)):
        training = _TRAINING.model_copy(update={"seed": seed})
        prepared = prepare(users, businesses, train_set, eval_set, _MODEL, training)
        fit = Fit(prepared.shared, train_set, prepared.options)
        for name, tasks, shared, weight in (
            ("each task alone", (RATING,), False, 1.0),
            ("each task alone", (RETRIEVAL,), False, 1.0),
            ("two trunks, mixed batches", (RATING, RETRIEVAL), False, 1.0),
            *(
                (f"one trunk, rating x {weight:g}", (RATING, RETRIEVAL), True, weight)
                for weight in WEIGHTS
            ),
        ):
            start = time.process_time()
            scores = _train(fit, prepared.look, tasks, shared, weight)
            cpu = time.process_time() - start
            runs.append({"name": name, "seed": seed, "cpu_seconds": cpu, **scores})
            print(f"  {runs[-1]}", flush=True)
    with open(out, "w", encoding="utf-8") as file:
        json.dump(runs, file)


def _train(
    fit: Fit,
    look: EvalSplit,
    tasks: tuple[str, ...],
    shared: bool,
    weight: float,
) -> dict[str, float]:
    """Trains on mixed batches, and returns each task's best look: `rmse`, `ndcg@20`, `ndcg@50`."""
    options, training = fit.options, fit.shared.options
    both = {task: fit.loop(task, options, training) for task in options.tasks}
    _give_trunks(both[RETRIEVAL].model, both[RATING].model, options, shared)
    # As many steps for each arrangement: the more, the better a task may get.
    num_steps = max(loop.num_steps for loop in both.values())
    loops = {task: both[task] for task in tasks}
    step = _Step(loops, training, weight, num_steps)
    best: dict[str, tuple[float, dict[str, float]]] = {}
    for number, batch in zip(range(1, num_steps + 1), step.batches(), strict=False):
        loss = float(step(batch))
        assert loss == loss, f"Expected a finite loss; got {loss} at step {number}"
        if number * _NUM_LOOKS // num_steps > (number - 1) * _NUM_LOOKS // num_steps:
            for task, measure in ((RATING, look.rate), (RETRIEVAL, look.rank)):
                if task in loops:
                    found = measure(loops[task].model)
                    best[task] = max(best.get(task, found), found, key=lambda one: one[0])
    return {key: value for _, metrics in best.values() for key, value in metrics.items()}


class _Step:
    """A step on a rating batch, a retrieval batch or both."""

    def __init__(
        self,
        loops: dict[str, TrainingLoop],
        training: TrainingOptions,
        weight: float,
        num_steps: int,
    ):
        """Creates the variables and their optimizers: what is shared goes at the rating's pace."""
        self._loops, self._weight = loops, weight
        for loop in loops.values():
            loop.create(next(loop.batches()))
        schedules = {
            RATING: tf.keras.optimizers.schedules.CosineDecay(
                float(training.rating_learning_rate), num_steps
            ),
            RETRIEVAL: tf.keras.optimizers.schedules.PolynomialDecay(
                float(training.retrieval_learning_rate), num_steps, 0.0
            ),
        }
        self._variables: dict[str, list[tf.Variable]] = {}
        taken: set[int] = set()
        for task, loop in loops.items():
            own = [variable for variable in loop.variables() if id(variable) not in taken]
            taken.update(map(id, own))
            self._variables[task] = own
        self._optimizers = {
            task: DenseAdam(of_task, schedules[task]) for task, of_task in self._variables.items()
        }

    def batches(self) -> Iterable[dict]:
        """Yields the union of each task's batches; they have no key in common."""
        for batches in zip(*(loop.batches() for loop in self._loops.values()), strict=True):
            yield {key: value for batch in batches for key, value in batch.items()}

    @tf.function(reduce_retracing=True, autograph=False)
    def __call__(self, batch: dict) -> tf.Tensor:
        """Trains on a batch and returns the weighted loss."""
        with tf.GradientTape() as tape:
            loss = tf.zeros([])
            for task, loop in self._loops.items():
                weight = self._weight if task == RATING else 1.0
                loss += weight * loop.model.compute_loss(batch, training=True)
        gradients = tape.gradient(loss, self._variables)
        for task, optimizer in self._optimizers.items():
            optimizer.apply([tf.convert_to_tensor(one) for one in gradients[task]])
        return loss


class _OnTrunk(tf.keras.layers.Layer):
    """What a task makes of a trunk over the covariates, of these and of what only it knows."""

    def __init__(self, trunk: tf.keras.layers.Layer, num_covariates: int, head=None):
        """Joins a trunk, which others may share, and the task's own layers; none by default."""
        super().__init__()
        self._trunk, self._head, self._num_covariates = trunk, head, num_covariates

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps `[batch, covariates and others]` to `[batch, any]`, both float32."""
        embedded = self._trunk(inputs[:, : self._num_covariates], training=training)
        joined = tf.concat([inputs, embedded], axis=1)
        return joined if self._head is None else self._head(joined, training=training)


def _give_trunks(
    retrieval: RetrievalModel, rating: RatingModel, options: ModelOptions, shared: bool
) -> None:
    """Puts a trunk below both blocks of each tower, of models that have no variables yet."""

    def trunk() -> tf.keras.Sequential:
        return hidden_layers(options.hidden_widths, options.dropout)

    of_users, of_businesses = trunk(), trunk()
    width = rating._user_numeric.shape[1]
    retrieval.query._hidden = _OnTrunk(of_users, width)
    rating.query._hidden = _OnTrunk(of_users if shared else trunk(), width, trunk())
    businesses = retrieval.businesses
    # Content is among the covariates here, as the retrieval block has it.
    covariates = np.concatenate([businesses.numeric, businesses.content], axis=1)
    rating._business_numeric = tf.constant(covariates)
    width = covariates.shape[1]
    linear = _Linear(options.embedding_dim)
    retrieval.candidate._direction = _OnTrunk(of_businesses, width, linear)
    rating.candidate._hidden = _OnTrunk(of_businesses if shared else trunk(), width, trunk())


class _Linear(tf.keras.layers.Dense):
    """A map without bias that starts at zero."""

    def __init__(self, width):
        """Builds the layer."""
        super().__init__(width, use_bias=False, kernel_initializer="zeros")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """See `Dense`."""
        del training
        return super().call(inputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
