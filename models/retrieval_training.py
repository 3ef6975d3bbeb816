"""Trains the retrieval blocks: where users go, from where they have been."""

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from models import replicas
from models.optimizers import DenseAdam, RowAdam
from models.options import TrainingOptions
from models.retrieval_model import RetrievalModel
from models.tables import Bag
from models.training_loop import TrainingLoop, shuffled

# A user comes once an epoch: few, large and quickly forgotten steps.
_USER_RATE, _USER_BETAS = 3e-2, (0.5, 0.9)
_LEFT_OUT = np.float32(-np.inf)
# In nats: at the start, a million visits are worth 7.
_MAX_POPULARITY = 10.0
# What scoring a drawn candidate takes, beside one of the whole catalogue: it is gathered as well.
_SAMPLED = 2


class RetrievalLoop(TrainingLoop):
    """The user-grouped softmax over the catalogue, or over a sample of a large one."""

    task = "retrieval"
    model: RetrievalModel

    def __init__(self, model: RetrievalModel, histories: Bag, options: TrainingOptions):
        """Prepares a run over the users who have a history.

        Args:
          model: The model.
          histories: Each user's businesses, as rows, each once.
          options: Length and pace of training.
        """
        self._histories = histories
        self._users = np.flatnonzero(histories.lengths()).astype(np.int32)
        self._counts = np.bincount(histories.values, minlength=model.counts.shape[0])
        self._sampler = (
            CandidateSampler(self._counts, options.num_negatives)
            if len(self._counts) > options.max_full_softmax
            else None
        )
        candidates = _SAMPLED * options.num_negatives if self._sampler else len(self._counts)
        most = options.max_retrieval_cells / (len(self._users) * candidates)
        if model.options.user_embedding:
            most = max(1.0, most)  # Hardly anybody's vector is left as it was.
        epochs = min(options.retrieval_epochs, most)
        steps = math.ceil(epochs * len(self._users) / options.retrieval_batch_size)
        super().__init__(model, max(options.min_steps, steps))
        self._options = options

    @property
    def max_loss(self) -> float:
        """Worse than a guess by all that cosines and popularity can say, in nats."""
        widest = 2.0 / float(self.model.options.temperature)
        return math.log(len(self._counts)) + widest + _MAX_POPULARITY

    def batches(self) -> Iterator[dict]:
        """Yields retrieval batches: see `RetrievalModel.compute_loss`."""
        rng = np.random.default_rng(self._options.seed)
        everything = np.arange(len(self._counts), dtype=np.int32)
        offsets = np.where(self._counts > 0, np.float32(0), _LEFT_OUT)
        whole = bool(self.model.options.user_embedding)
        for places in shuffled(len(self._users), self._options.retrieval_batch_size, rng):
            users = self._users[places]
            given = self._histories.take(users)
            histories, positives = (given, given) if whole else split_histories(given, rng)
            rows = everything
            if self._sampler:
                rows, offsets = self._sampler.draw(given.values, rng)
                histories = Bag(_places(histories.values, rows), histories.row_splits)
                positives = Bag(_places(positives.values, rows), positives.row_splits)
            yield {
                "query_rows": tf.constant(users),
                "candidate_rows": tf.constant(rows),
                "candidate_offsets": tf.constant(offsets),
                "histories": _ragged(histories),
                "positives": _ragged(positives),
            }

    def create(self, batch: dict) -> None:
        """Creates the variables: see `TrainingLoop`."""
        self.model.compute_loss(batch)

    def prepare(self, schedule_steps: int) -> None:
        """Creates an optimizer each for the shared variables, the candidates and the users."""
        model = self.model
        rate = float(self._options.retrieval_learning_rate)

        def line(start: float):
            return tf.keras.optimizers.schedules.PolynomialDecay(start, schedule_steps, 0.0)

        # A sample touches a few rows of the catalogue, the whole softmax all.
        if self._sampler:
            self._optimizer = DenseAdam(model.shared_variables, line(rate))
            self._candidates = RowAdam(model.candidate_ids, line(rate))
        else:
            self._optimizer = DenseAdam([*model.shared_variables, model.candidate_ids], line(rate))
        if model.options.user_embedding:
            self._queries = RowAdam(model.user_vectors, line(_USER_RATE), *_USER_BETAS)

    @tf.function(reduce_retracing=True, autograph=False)
    def step(self, batch: dict) -> tf.Tensor:
        """Trains on a batch: see `TrainingLoop`."""
        return replicas.run(self._train, batch)

    def _train(self, batch: dict) -> tf.Tensor:
        model = self.model
        ids = tf.convert_to_tensor(model.candidate_ids)
        if self._sampler:
            ids = tf.gather(ids, batch["candidate_rows"])
        batch = {**batch, "candidate_ids": ids}
        sources = [ids]
        if model.options.user_embedding:
            batch["positives"] = batch["histories"]
            batch["user_vectors"] = tf.gather(model.user_vectors, batch["query_rows"])
            sources.append(batch["user_vectors"])
        with tf.GradientTape() as tape:
            tape.watch(sources)
            of_share = {**batch, **_share(batch)}
            mean = model.compute_loss(of_share, training=True)
            num_positives = tf.cast(tf.size(of_share["positives"].values), tf.float32)
            loss = replicas.weigh(mean, num_positives)
        variables = model.shared_variables
        gradients = tape.gradient(loss, [*variables, *sources])
        *gradients, loss = replicas.sums([*gradients, loss])
        shared, (of_ids, *of_users) = gradients[: len(variables)], gradients[len(variables) :]
        if self._sampler:
            self._optimizer.apply(shared)
            self._candidates.apply(batch["candidate_rows"], of_ids)
        else:
            self._optimizer.apply([*shared, of_ids])
        if of_users:
            self._queries.apply(batch["query_rows"], of_users[0])
        return loss

    def variables(self) -> list[tf.Variable]:
        """Lists all that the task trains."""
        model = self.model
        users = [model.user_vectors] if model.options.user_embedding else []
        return [*model.shared_variables, model.candidate_ids, *users]

    def optimizers(self) -> list[tf.Module]:
        """Lists what has a state of its own: see `TrainingLoop`."""
        of_candidates = [self._candidates] if self._sampler else []
        of_users = [self._queries] if self.model.options.user_embedding else []
        return [self._optimizer, *of_candidates, *of_users]

    def weights(self) -> list[np.ndarray]:
        """Copies the variables."""
        return self.weights_now()


class CandidateSampler:
    """Draws candidates for the softmax over a catalogue too large to score at every step.

    Each candidate is drawn on its own with chance π_j, the more visited the likelier, and then
    stands for 1 / π_j others: E Σ_drawn exp(s_j) / π_j = Σ_all exp(s_j).

    Source: Horvitz and Thompson, "A generalization of sampling without replacement from a finite
    universe" (1952); Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
    recommendations" (2019), for the logarithm of the chance in the logit.
    """

    def __init__(self, counts: np.ndarray, num_negatives: int):
        """Computes the chances.

        Args:
          counts: `[num_candidates]` array: training visits of each; what has none is never drawn.
          num_negatives: Candidates to draw, about.
        """
        draw = np.sqrt(counts.astype(np.float64))
        chances = np.minimum(1.0, num_negatives * draw / max(draw.sum(), 1.0))
        # What the cap at certainty takes away goes to the others, until none is capped anew.
        while True:
            free = chances < 1.0
            left, total = num_negatives - np.count_nonzero(~free), chances[free].sum()
            if left <= 0 or not total:
                break
            chances[free] = np.minimum(1.0, chances[free] * left / total)
            if (chances[free] < 1.0).all():
                break
        self.chances = chances

    def draw(self, needed: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws candidates and adds those that the batch needs in any case.

        Args:
          needed: Integer array of candidates: histories and positives.
          rng: Source of the draw.

        Returns:
          `[num_drawn]` int32 array of sorted candidate rows, and `[num_drawn]` float32 array of
          offsets: -log π of what was drawn, -inf for what is only needed.
        """
        drawn = np.flatnonzero(rng.random(len(self.chances)) < self.chances)
        rows = np.union1d(drawn, needed).astype(np.int32)
        offsets = np.full(len(rows), _LEFT_OUT, np.float32)
        offsets[np.searchsorted(rows, drawn)] = -np.log(self.chances[drawn])
        return rows, offsets


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


def _share(batch: dict) -> dict:
    """Takes the users of this replica."""
    keys = [key for key in ("query_rows", "histories", "positives", "user_vectors") if key in batch]
    found = dict(zip(keys, replicas.share(*(batch[key] for key in keys)), strict=True))
    if batch["positives"] is batch["histories"]:
        found["positives"] = found["histories"]
    return found


def _places(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.searchsorted(rows, values).astype(np.int32)


def _ragged(bag: Bag) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_splits(bag.values, bag.row_splits, validate=False)
