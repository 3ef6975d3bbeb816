"""Options of the model and its training: validated, frozen, read from the pipeline's config."""

from collections.abc import Iterable
from typing import Annotated, Literal

import pydantic

Share = Annotated[float, pydantic.Field(ge=0.0, lt=1.0)]
Weight = Annotated[float, pydantic.Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, pydantic.Field(ge=1)]
Natural = Annotated[int, pydantic.Field(ge=0)]
Rate = Annotated[float, pydantic.Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
AUTO = "auto"
# What `TrainingOptions.for_ratings` settles.
_OF_RATINGS = {"rating_batch_size": 1_024, "num_folds": 20, "tuning_seconds": 300.0}
_MANY_RATINGS = 2_000_000
_OF_MANY_RATINGS = {"rating_batch_size": 4_096, "num_folds": 10, "tuning_seconds": 220.0}
# Of `TrainingOptions.distribute`.
MIRRORED = "mirrored"
MULTI_WORKER = "multi_worker"
Auto = Literal["auto"]
# What NumPy, TensorFlow and the libraries of the baselines all take.
Seed = Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**31)]


def one_of(known: Iterable[str], what: str) -> pydantic.AfterValidator:
    """Makes a validator of names.

    Args:
      known: Names there are.
      what: What they are names of, for the message.
    """
    names = list(known)

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"there is no {what} {name!r}; there are {', '.join(names)}")
        return name

    return pydantic.AfterValidator(check)


class Options(pydantic.BaseModel):
    """A group of options: frozen, and strict about names."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class SplitOptions(Options):
    """How interactions are divided.

    Attributes:
      method: `temporal` puts the newest interactions into test and the next into eval; `random`
        goes by a hash of the review id; `leave_last` puts each user's newest interaction into test
        and the second newest into eval, if the user has at least three; `given` takes the
        splits of the input files.
      eval: Fraction of the interactions in eval; under `given` the fraction of train + eval that
        is carved, by a hash of the review id, from a train file without an eval file.
      test: Fraction of the interactions in test.
      seed: Varies the hash.
    """

    method: Literal["temporal", "random", "leave_last", "given"] = "temporal"
    eval: Fraction = 0.1
    test: Fraction = 0.1
    seed: pydantic.StrictInt = 0

    @pydantic.model_validator(mode="after")
    def _leaves_train(self) -> "SplitOptions":
        if self.eval + self.test >= 1:
            raise ValueError("eval + test must be below 1, so that some data is left for train")
        return self


class Objective(Options):
    """What the two tasks weigh.

    Attributes:
      retrieval: Weight of the retrieval loss; 0 switches the task off.
      rating: Weight of the rating loss; 0 switches the task off.
    """

    retrieval: Weight = 1.0
    rating: Weight = 1.0

    @pydantic.model_validator(mode="after")
    def _one_task(self) -> "Objective":
        if not self.retrieval and not self.rating:
            raise ValueError("at least one of retrieval and rating must be over 0")
        return self


class ModelOptions(Options):
    """Sizes of the towers and what training hides from them.

    What is `auto` is left to the eval split: see `models.recipes`; sizes of the rating towers to
    the data's dimension: see `models.sizing`.

    Attributes:
      objective: What the two tasks weigh.
      embedding_dim: Coordinates of the retrieval direction; the block has one more.
      low_pass_dim: Coordinates in closed form that stand beside the retrieval direction; 0 for
        none. What they weigh is chosen on eval, and for `auto` how many there are: see
        `models.low_pass`.
      rating_dim: Interaction coordinates of the rating block; the block has two more.
      taste_dim: Coordinates of who visited what that ratings are summed along; those of the tags
        are twice as many; 0 for none of either.
      factor_dim: Factors of what the towers leave over of the ratings, at most: half and a quarter
        as many are tried, too, and none where they are worth nothing; 0 for none.
      tower_widths: Widths of the hidden layers.
      smoothness: How many derivatives the maps from covariates to embeddings are believed to have:
        β of `models.sizing`. The smoother, the slower sizes grow with the data.
      temperature: Of the retrieval softmax.
      history_power: A business weighs count^-power in a user's history, count being its ratings.
      user_embedding: Whether the retrieval block learns a vector of each user beside their
        history; if so, the history that it sees in training is whole.
      query_covariates: What the users' covariates weigh in the retrieval direction; 0 leaves them
        out.
      candidate_covariates: What the businesses' covariates weigh there, likewise.
      candidate_prior: Whether they say where a business that nobody has visited should stand.
      max_newcomer_cost: Share of the eval split's NDCG that lists may lose to businesses without
        visits: they get so much of the popularity that their covariates promise.
      dropout: Share of hidden units dropped in training.
      user_profile_dropout: Share of training rows whose user's covariates are hidden, as in a
        request that tells a history alone.
      user_cold_dropout: Share of rating rows whose user's history is hidden in training.
      business_cold_dropout: Share of rating rows whose business's history is hidden in training.
      id_dropout: Share of businesses whose id is hidden from a training step.
    """

    objective: Objective = Objective()
    embedding_dim: Count | Auto = "auto"
    low_pass_dim: Natural | Auto = "auto"
    rating_dim: Count | Auto = "auto"
    taste_dim: Natural | Auto = "auto"
    factor_dim: Natural = 32
    tower_widths: tuple[Count, ...] | Auto = "auto"
    smoothness: Rate = 2.0
    temperature: Rate | Auto = "auto"
    history_power: Share | Auto = "auto"
    user_embedding: bool | Auto = "auto"
    query_covariates: Weight | Auto = "auto"
    candidate_covariates: Weight | Auto = "auto"
    candidate_prior: bool = True
    max_newcomer_cost: Share = 0.005
    dropout: Share = 0.1
    user_profile_dropout: Share = 0.05
    user_cold_dropout: Share = 0.05
    business_cold_dropout: Share = 0.05
    id_dropout: Share = 0.0

    @property
    def tasks(self) -> list[str]:
        """The tasks that are on, in the order in which they are trained."""
        return [task for task in ("rating", "retrieval") if getattr(self.objective, task)]

    @property
    def retrieval_block_dim(self) -> int:
        """Coordinates that the retrieval towers make: the direction and one for popularity."""
        return int(self.embedding_dim) + 1

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """The tower widths, once they are settled."""
        return tuple(int(width) for width in self.tower_widths)


class TrainingOptions(Options):
    """How long and how fast to train.

    Attributes:
      rating_batch_size: Ratings a step; `auto` is 1,024, of over two million ratings 4,096.
      retrieval_batch_size: Users a step.
      rating_epochs: Passes over the ratings.
      retrieval_epochs: Passes over the users.
      min_steps: Steps that a run of either task makes at least, for small data.
      max_rating_examples: Ratings that a run sees at most, for large data: passes become fewer,
        but are no less than one.
      max_retrieval_cells: Pairs of users and candidates that a run scores at most, likewise; drawn
        candidates count twice. Each user who has a vector is seen once in any case.
      max_full_softmax: Up to so many businesses the softmax takes all of them; beyond, a sample.
      num_negatives: Size of that sample.
      rating_learning_rate: Of Adam on the rating blocks, at the start of a cosine to 0.
      retrieval_learning_rate: Of Adam on the retrieval blocks, at the start of a line to 0.
      ema_decay: Of the averaged weights of the rating blocks.
      num_folds: Folds of the cross-fitted aggregates; `auto` is 20, of over two million ratings 10.
      tuning_seconds: How long trials of what is open may take, a task; the first always runs,
        and whole. `auto` is 300, of over two million ratings 220.
      num_evaluations: How often a run looks at the eval split.
      eval_users: Users of the eval split whose lists are ranked at each look, at most.
      max_memory_gb: What the rating sums of all training rows may take of memory, in 10⁹ bytes;
        more lie in a temporary file.
      warm_start: Whether training starts from the latest blessed model, and leaves behind what
        a later one needs to start from this.
      distribute: Who shares a training step, each with a part of the batch's rows: `none`;
        `mirrored`, the accelerators of one machine; `multi_worker`, the workers of the cluster that
        `TF_CONFIG` names (`models.replicas`).
      checkpoint_seconds: How often a run is saved, for the case that it is killed.
      seed: Seed of initial weights, folds, batches and dropout.
    """

    rating_batch_size: Count | Auto = "auto"
    retrieval_batch_size: Count = 256
    rating_epochs: Count | Auto = "auto"
    retrieval_epochs: Count = 20
    min_steps: Count = 640
    max_rating_examples: Count = 8_000_000
    max_retrieval_cells: Count = 12_000_000_000
    max_full_softmax: Count = 50_000
    num_negatives: Annotated[int, pydantic.Field(ge=32)] = 8_192
    rating_learning_rate: Rate | Auto = "auto"
    retrieval_learning_rate: Rate | Auto = "auto"
    ema_decay: Share = 0.98
    num_folds: Annotated[int, pydantic.Field(ge=2)] | Auto = "auto"
    tuning_seconds: Weight | Auto = "auto"
    num_evaluations: Count = 8
    eval_users: Count = 5_000
    max_memory_gb: Weight = 4.0
    warm_start: Annotated[bool, pydantic.Field(strict=True)] = False
    distribute: Literal["none", "mirrored", "multi_worker"] = "none"
    checkpoint_seconds: Weight = 60.0
    seed: Seed = 0

    def for_ratings(self, num_ratings: int) -> "TrainingOptions":
        """Settles what depends on how many ratings there are to learn from.

        Of very many, larger batches cost half as much an example; half the folds do, as each sees
        nearly all ratings; and whole runs are too long for many trials.

        Args:
          num_ratings: Those of the train split.
        """
        settled = _OF_MANY_RATINGS if num_ratings > _MANY_RATINGS else _OF_RATINGS
        open_ = {name: value for name, value in settled.items() if getattr(self, name) == AUTO}
        return self.model_copy(update=open_)
