"""Builds models and their training loops on one set of interactions."""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.candidate_prior import CandidatePrior
from models.checkpoints import Checkpoints
from models.curves import Curves
from models.low_pass import BUSINESS_EXPONENT, LowPass, LowPassRecipe
from models.options import AUTO, ModelOptions, TrainingOptions
from models.rating_data import RatingSource
from models.rating_model import RatingModel
from models.rating_training import RatingLoop
from models.recipes import (
    LOW_PASS_DIMS,
    LOW_PASS_USER_EXPONENTS,
    MAX_EMBEDDING_DIM,
    RATING,
    Recipe,
)
from models.retrieval_model import RetrievalModel
from models.retrieval_training import RetrievalLoop
from models.spectral import Spectrum
from models.tables import Bag, EntityTable, Interactions
from models.training_loop import TrainingLoop
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
class Shared:
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
      shared: What it has in common with others.
      interactions: What is learnt from.
      options: Sizes and weights of the model, some of them open.
      ratings: What rating models and their training ask for.
    """

    def __init__(self, shared: Shared, interactions: Interactions, options: ModelOptions):
        """Keeps what is learnt from; data is prepared when a run first asks for it."""
        self.shared = shared
        self.interactions = interactions
        self.options = options
        self.ratings = RatingSource(
            interactions,
            shared.users,
            shared.businesses,
            shared.shrinkages,
            shared.covariate_penalty,
            shared.options,
            shared.warm.align_taste if shared.warm else None,
        )
        self._kept_spectrum: Spectrum | None = None

    @functools.cached_property
    def _histories(self) -> Bag:
        return self.interactions.histories(self.shared.users.num_rows)

    @functools.cached_property
    def _visited(self) -> Bag:
        """What lists learn from: a visit in a history can't be asked for as well, if made again."""
        return self.interactions.visited(self.shared.users.num_rows)

    def model(self, task: str, options: ModelOptions, training: TrainingOptions) -> tfrs.Model:
        """Builds the model of a task, a `RatingModel` or a `RetrievalModel`."""
        users, businesses = self.shared.users, self.shared.businesses
        tf.keras.utils.set_random_seed(training.seed)
        if task == RATING:
            sums = self.ratings.sums(int(options.taste_dim))
            return RatingModel(options, users, businesses, sums)
        dim = int(options.embedding_dim)
        directions = self._spectrum(dim).directions(dim)
        return RetrievalModel(options, users, businesses, self._histories, directions)

    def loop(self, task: str, options: ModelOptions, training: TrainingOptions) -> TrainingLoop:
        """Makes the training loop of a task, around a new model."""
        model = self.model(task, options, training)
        if task == RATING:
            return RatingLoop(model, self.ratings.rows(int(options.taste_dim)), training)
        return RetrievalLoop(model, self._visited, training)

    def start(self, recipe: Recipe) -> Callable[[TrainingLoop], None] | None:
        """Returns what sets the variables of a loop to what was learnt before, if that is to be."""
        warm = self.shared.warm
        if warm is None or not recipe.get(WARM):
            return None

        def start(loop: TrainingLoop) -> None:
            obstacle = warm.assign(loop.task, loop.model, loop.variables())
            if obstacle:
                _LOG.warning("%s starts cold: %s", loop.task, obstacle)

        return start

    def candidate_prior(self, model: RetrievalModel) -> CandidatePrior:
        """Makes what covariates say of businesses in retrieval, of a model without closed forms."""
        return CandidatePrior.fit(
            self.shared.businesses, model.embed_candidates(), model.counts.numpy()
        )

    def low_pass(self, recipe: LowPassRecipe) -> LowPass:
        """Makes the low-pass block of these interactions, by one of `low_pass_spectra`."""
        return LowPass.of(self._low_pass_spectrum(recipe.user_exponent), recipe)

    def low_pass_spectra(self) -> dict[float, Spectrum]:
        """Decomposes the visits, by user exponent, into all that a low-pass block may be of."""
        return {one: self._low_pass_spectrum(one) for one in LOW_PASS_USER_EXPONENTS}

    def low_pass_dims(self) -> list[int]:
        """Lists the dimensions of a low-pass block that may be tried."""
        wanted, shared = self.options.low_pass_dim, self.shared
        num_rows = shared.users.num_rows + shared.businesses.num_rows
        # A filter that lets everything pass gives back the visits.
        max_rank = min(shared.users.num_rows, shared.businesses.num_rows)
        most = min(_MAX_LOW_PASS_BYTES // (4 * num_rows), max_rank - 1)
        if wanted == AUTO:
            return [dim for dim in LOW_PASS_DIMS if dim <= most]
        return [min(int(wanted), most)] if wanted and most > 0 else []

    def user_vectors_fit(self) -> bool:
        """Tells whether a vector of each user is small enough, at every dimension that is tried."""
        return self.shared.users.num_rows * MAX_EMBEDDING_DIM * 4 <= _MAX_USER_BYTES

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
        shared = self.shared
        sizes = (shared.users.num_rows, shared.businesses.num_rows)
        return Spectrum.of(self.interactions, *sizes, rank, shared.options.seed, *exponents)
