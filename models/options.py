"""Options of the model and its training: validated, frozen, read from the pipeline's config."""

from typing import Annotated, Literal

import pydantic

Share = Annotated[float, pydantic.Field(ge=0.0, lt=1.0)]
Weight = Annotated[float, pydantic.Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, pydantic.Field(ge=1)]
Natural = Annotated[int, pydantic.Field(ge=0)]
Rate = Annotated[float, pydantic.Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
Auto = Literal["auto"]
Seed = Annotated[int, pydantic.Field(strict=True)]


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
    seed: Seed = 0

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

    Attributes:
      objective: What the two tasks weigh.
      embedding_dim: Coordinates of the retrieval direction; the block has one more.
      rating_dim: Interaction coordinates of the rating block; the block has two more.
      taste_dim: Coordinates of who visited what that ratings are summed along; those of the tags
        are twice as many; 0 for none of either; `auto` leaves it to the eval split.
      tower_widths: Widths of the hidden layers.
      temperature: Of the retrieval softmax; `auto` leaves it to the eval split.
      dropout: Share of hidden units dropped in training.
      cold_dropout: Share of rating rows, a side each, whose history is hidden in training.
      id_dropout: Share of businesses whose id is hidden from a training step.
    """

    objective: Objective = Objective()
    embedding_dim: Count = 64
    rating_dim: Count = 16
    taste_dim: Natural | Auto = "auto"
    tower_widths: tuple[Count, ...] = (64, 64)
    temperature: Rate | Auto = "auto"
    dropout: Share = 0.1
    cold_dropout: Share = 0.05
    id_dropout: Share = 0.1

    @property
    def retrieval_block_dim(self) -> int:
        """Coordinates of the retrieval block: the direction and one for popularity."""
        return self.embedding_dim + 1

    @property
    def rating_block_dim(self) -> int:
        """Coordinates of the rating block: the interaction and one for each side's bias."""
        return self.rating_dim + 2

    @property
    def total_dim(self) -> int:
        """Coordinates of a whole query or candidate embedding."""
        return self.retrieval_block_dim + self.rating_block_dim


class TrainingOptions(Options):
    """How long and how fast to train.

    Attributes:
      rating_batch_size: Ratings a step.
      retrieval_batch_size: Users a step.
      epochs: Passes over the ratings, and over the users, that a run makes at least.
      min_steps: Steps that a run makes at least, for small data.
      rating_learning_rate: Of Adam on the rating blocks, at the start of a cosine to 0.
      retrieval_learning_rate: Likewise on the retrieval blocks.
      ema_decay: Of the averaged weights that are evaluated and exported.
      num_folds: Folds of the cross-fitted aggregates.
      tuning_seconds: How long trials of what is `auto` may take; the first always runs.
      num_evaluations: How often a run looks at the eval split.
      eval_users: Users of the eval split whose lists are ranked at each look, at most.
      seed: Seed of initial weights, folds, batches and dropout.
    """

    rating_batch_size: Count = 2_048
    retrieval_batch_size: Count = 256
    epochs: Count = 8
    min_steps: Count = 320
    rating_learning_rate: Rate = 2e-3
    retrieval_learning_rate: Rate = 6e-3
    ema_decay: Share = 0.98
    num_folds: Annotated[int, pydantic.Field(ge=2)] = 20
    tuning_seconds: Weight = 300.0
    num_evaluations: Count = 8
    eval_users: Count = 5_000
    seed: Seed = 0
