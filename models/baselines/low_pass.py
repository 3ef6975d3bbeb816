"""A low-pass filter on the graph of visits, in closed form."""

import itertools

import numpy as np

from models.baselines.choosing import MissedShare, choose
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.lists import FactorModel, WithPopularity, visits
from models.spectral import incidence, right_singular_vectors
from models.tables import Interactions

# How many of the lowest frequencies pass, and how much a business's visits count on the way back;
# tried in this order.
RANKS, EXPONENTS = (256, 64, 128, 16, 4), (0.25, 0.5, 0.75)

_NUM_PASSES = 4
# Measured: of one product in the decomposition.
_SECONDS_PER_PRODUCT = 4e-10


class LowPass:
    """Smooths a user's visits over the graph of who visited what.

    With V the leading right singular vectors of D_u^-½ R D_i^-½, a user is R D_i^-½ V and a
    business d_i^a V.

    Source: Shen et al., "How powerful is graph convolution for recommendation?" (2021), equation
    10, where a is ½; ¼ favours popular businesses less.
    """

    def __init__(self, interactions: Interactions, num_users: int, num_businesses: int, seed: int):
        """Decomposes the incidence.

        Args:
          interactions: Who visited what.
          num_users: Rows of the users table.
          num_businesses: Rows of the businesses table.
          seed: Seed of the randomised decomposition.
        """
        self._visits = visits(interactions, num_users, num_businesses)
        # A user counts each business once, however often they came.
        counts = np.bincount(self._visits.indices, minlength=num_businesses)
        self._counts = np.maximum(counts, 1).astype(np.float32)[:, None]
        matrix = incidence(interactions, num_users, num_businesses)
        rank = min(max(RANKS), *matrix.shape)
        self._vectors, _ = right_singular_vectors(matrix, rank, seed, _NUM_PASSES)

    def cut(self, rank: int, exponent: float) -> FactorModel:
        """Lets only the lowest `rank` frequencies pass; `exponent` is the a above."""
        vectors = self._vectors[:, :rank]
        received = vectors / np.sqrt(self._counts)
        return FactorModel(
            lambda users: self._visits[users] @ received,
            np.ascontiguousarray(vectors * self._counts**exponent),
        )


def _cost(data: BaselineData) -> Cost:
    width = min(max(RANKS) + 16, data.num_users, data.num_businesses)
    rows = data.num_users + data.num_businesses
    products = _NUM_PASSES * width * (4 * width * rows + 2 * len(data.fitted))
    return Cost(num_bytes=16 * width * rows, seconds=_SECONDS_PER_PRODUCT * products)


def _fit(data: BaselineData) -> Fitted[WithPopularity]:
    sizes = (data.num_users, data.num_businesses)
    missed = MissedShare(data)
    of_train = LowPass(data.train, *sizes, data.seed)
    # A filter that lets everything pass gives back the visits: what was not visited would be
    # ordered by rounding alone.
    ranks = [rank for rank in RANKS if rank < min(sizes)] or [1]
    chosen = choose(
        list(itertools.product(ranks, EXPONENTS)),
        lambda choice: missed(WithPopularity(of_train.cut(*choice), data.train, data)),
        data.tuning_seconds,
    )
    model = LowPass(data.fitted, *sizes, data.seed).cut(*chosen.value)
    return Fitted(WithPopularity(model, data.fitted, data), chosen.loss)


LOW_PASS = Baseline(_cost, _fit)
