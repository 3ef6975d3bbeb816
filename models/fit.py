"""Builds models and their training loops on one set of interactions."""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from models.aggregates import RatingSums
from models.candidate_prior import CandidatePrior
from models.checkpoints import Checkpoints
from models.curves import Curves
from models.low_pass import BUSINESS_EXPONENT, LowPass, LowPassRecipe
from models.options import AUTO, ModelOptions, TrainingOptions
from models.rating_training import RatingData, RatingLoop
from models.recipes import (
    LOW_PASS_DIMS,
    LOW_PASS_USER_EXPONENTS,
    MAX_EMBEDDING_DIM,
    RATING,
    RETRIEVAL,
    Recipe,
)
from models.retrieval_training import RetrievalLoop
from models.spectral import Spectrum
from models.tables import Bag, EntityTable, Interactions
from models.taste import Taste
from models.training_loop import TrainingLoop
from models.two_tower import TwoTowerModel
from models.warm_start import WarmStart

_LOG = logging.getLogger("t2rec")

# Of the low-pass coordinates of all users and businesses.
_MAX_LOW_PASS_BYTES = 2**28
# Of the users' own vectors; their moments and copies take five times as much again.
_MAX_USER_BYTES = 2**28
# In a recipe: whether the run starts from what was learnt before.
WARM = "warm_start"


@dataclasses.dataclass(frozen=True)
class Records:
    """What runs leave behind: checkpoints and curves."""

    kept: Checkpoints = dataclasses.field(default_factory=Checkpoints)
    logs: str = ""

    def curves(self, name: str) -> Curves:
        """Opens the curves of a run."""
        return Curves(os.path.join(self.logs, name) if self.logs else "")


@dataclasses.dataclass(frozen=True)
class Star:
    """What all runs have in common."""

    users: EntityTable
    businesses: EntityTable
    shrinkages: tuple[float, float]
    covariate_penalty: float
    options: TrainingOptions
    records: Records
    warm: WarmStart | None = None


class Fit:
    """All that is learnt from one set of interactions.

    Attributes:
      star: What it has in common with others.
      interactions: What is learnt from.
      options: Sizes and weights of the model, some of them open.
    """

    def __init__(self, star: Star, interactions: Interactions, options: ModelOptions):
        """Keeps what is learnt from; data is prepared when a run first asks for it."""
        self.star = star
        self.interactions = interactions
        self.options = options
        self._histories = interactions.histories(star.users.num_rows)
        # By taste dimension, the latest only, as the sums of millions of rows take gigabytes.
        self._ratings: dict[int, RatingData] = {}
        self._sums: dict[int, RatingSums] = {}
        self._kept_spectrum: Spectrum | None = None

    def build(
        self, options: ModelOptions, training: TrainingOptions, task: str | None = None
    ) -> TwoTowerModel:
        """Builds a model, ready for one task or for all."""
        star = self.star
        tf.keras.utils.set_random_seed(training.seed)
        taste_dim = int(options.taste_dim)
        if task == RETRIEVAL and self._sums:
            taste_dim = next(iter(self._sums))  # Any will do.
        dim = int(options.embedding_dim)
        directions = (
            np.zeros([star.businesses.num_rows, dim], np.float32)
            if task == RATING
            else self._spectrum(dim).directions(dim)
        )
        return TwoTowerModel(
            options,
            star.users,
            star.businesses,
            self._rating_sums(taste_dim),
            self._histories,
            directions,
        )

    def loop(
        self, task: str, model: TwoTowerModel, options: ModelOptions, training: TrainingOptions
    ) -> TrainingLoop:
        """Makes the training loop of a task."""
        if task == RATING:
            return RatingLoop(model, self._rating_data(int(options.taste_dim)), training)
        return RetrievalLoop(model, self._visited, training)

    @functools.cached_property
    def _visited(self) -> Bag:
        """What lists learn from: a visit in a history can't be asked for as well, if made again."""
        return self.interactions.visited(self.star.users.num_rows)

    def start(self, recipe: Recipe) -> Callable[[TrainingLoop], None] | None:
        """Returns what sets the variables of a loop to what was learnt before, if that is to be."""
        warm = self.star.warm
        if warm is None or not recipe.get(WARM):
            return None

        def start(loop: TrainingLoop) -> None:
            obstacle = warm.assign(loop.task, loop.model, loop.variables())
            if obstacle:
                _LOG.warning("%s starts cold: %s", loop.task, obstacle)

        return start

    def taste(self, options: ModelOptions) -> Taste:
        """Returns the taste coordinates that a model with these options reads."""
        return self._rating_sums(int(options.taste_dim)).taste

    def forget_rating_rows(self) -> None:
        """Drops what each rating is shown of the others: no loop over ratings will follow."""
        self._ratings = {}

    def candidate_prior(self, model: TwoTowerModel) -> CandidatePrior:
        """Makes what covariates say of businesses in retrieval, of a model without it."""
        blocks = model.embed_candidates()[:, : model.options.retrieval_block_dim]
        return CandidatePrior.fit(self.star.businesses, blocks, model.counts.numpy())

    def low_pass(self, recipe: LowPassRecipe) -> LowPass:
        """Makes the low-pass block of these interactions, cut out of what eval chose from."""
        return LowPass.of(self._low_pass_spectrum(recipe.user_exponent), recipe)

    def low_pass_spectra(self) -> dict[float, Spectrum]:
        """Decomposes the visits, by user exponent, into all that a low-pass block may be of."""
        return {one: self._low_pass_spectrum(one) for one in LOW_PASS_USER_EXPONENTS}

    def low_pass_dims(self) -> list[int]:
        """Lists the dimensions of a low-pass block that may be tried."""
        wanted, star = self.options.low_pass_dim, self.star
        num_rows = star.users.num_rows + star.businesses.num_rows
        # A filter that lets everything pass gives back the visits.
        max_rank = min(star.users.num_rows, star.businesses.num_rows)
        most = min(_MAX_LOW_PASS_BYTES // (4 * num_rows), max_rank - 1)
        if wanted == AUTO:
            return [dim for dim in LOW_PASS_DIMS if dim <= most]
        return [min(int(wanted), most)] if wanted and most > 0 else []

    def user_vectors_fit(self) -> bool:
        """Tells whether a vector of each user is small enough, at every dimension that is tried."""
        return self.star.users.num_rows * MAX_EMBEDDING_DIM * 4 <= _MAX_USER_BYTES

    def _low_pass_spectrum(self, user_exponent: float) -> Spectrum:
        # The last few vectors of a decomposition are rough: a narrow one is no cut of a wide one.
        return self._decompose(max(self.low_pass_dims()), user_exponent, BUSINESS_EXPONENT)

    def _spectrum(self, rank: int) -> Spectrum:
        """Decomposes the visits, into all that a run may ask for."""
        if self._kept_spectrum is None or self._kept_spectrum.rank < rank:
            wanted = self.options.embedding_dim
            if wanted == AUTO:
                wanted = MAX_EMBEDDING_DIM
            self._kept_spectrum = self._decompose(max(rank, int(wanted)))
        return self._kept_spectrum

    def _decompose(self, rank: int, *exponents: float) -> Spectrum:
        star = self.star
        sizes = (star.users.num_rows, star.businesses.num_rows)
        return Spectrum.of(self.interactions, *sizes, rank, star.options.seed, *exponents)

    def _rating_sums(self, taste_dim: int) -> RatingSums:
        if taste_dim not in self._sums:
            self._rating_data(taste_dim)
        return self._sums[taste_dim]

    def _rating_data(self, taste_dim: int) -> RatingData:
        if taste_dim not in self._ratings:
            if not taste_dim and self._ratings:
                data = next(iter(self._ratings.values())).without_taste()
                self._sums[taste_dim] = data.sums
                return data
            data = RatingData.prepare(
                self.interactions,
                self.star.users,
                self.star.businesses,
                self.star.shrinkages,
                self.star.covariate_penalty,
                taste_dim,
                self.star.options,
                self.star.warm.align_taste if self.star.warm else None,
            )
            self._ratings, self._sums = {taste_dim: data}, {taste_dim: data.sums}
        return self._ratings[taste_dim]
