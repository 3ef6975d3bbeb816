"""Factorisations of who visited what: alternating least squares, and pairwise ranking."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import threadpoolctl
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking

from models.baselines.choosing import MissedShare, choose
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.lists import FactorModel, WithPopularity, visits
from models.tables import Interactions

# Measured, in one sweep of ALS: of one factor of a visit; of a squared factor of a row. And in one
# epoch of BPR: of a visit; of one factor of it.
_ALS_SECONDS_PER_VISIT, _ALS_SECONDS_PER_ROW = 1.5e-8, 1e-9
_BPR_SECONDS_PER_VISIT, _BPR_SECONDS_PER_FACTOR = 2e-7, 3e-9


@dataclasses.dataclass(frozen=True)
class AlsOptions:
    """What alternating least squares is tried with.

    Attributes:
      num_factors: Length of the embeddings.
      alpha: Weight of a visit against that of a business not visited.
      penalty: Of squared embeddings.
      num_sweeps: Alternations.
    """

    num_factors: int
    alpha: float
    penalty: float
    num_sweeps: int = 15


@dataclasses.dataclass(frozen=True)
class BprOptions:
    """What Bayesian personalised ranking is tried with.

    Attributes:
      num_factors: Length of the embeddings; one more holds the bias of a business.
      learning_rate: Of stochastic gradient descent.
      penalty: Of squared embeddings.
      num_epochs: Passes over the visits.
    """

    num_factors: int
    learning_rate: float
    penalty: float
    num_epochs: int


# Tried in this order. Strong penalties serve sparse and dense data.
ALS_OPTIONS = (
    AlsOptions(128, 10.0, 100.0),
    AlsOptions(64, 3.0, 30.0),
    AlsOptions(16, 10.0, 30.0),
    AlsOptions(32, 10.0, 10.0),
    AlsOptions(64, 1.0, 10.0),
    AlsOptions(128, 1.0, 10.0),
)
BPR_OPTIONS = (
    BprOptions(32, 0.005, 0.01, 300),
    BprOptions(32, 0.05, 0.01, 30),
    BprOptions(64, 0.01, 0.01, 100),
)

_Options = TypeVar("_Options", AlsOptions, BprOptions)


def fit_als(
    interactions: Interactions, num_users: int, num_businesses: int, options: AlsOptions, seed: int
) -> FactorModel:
    """Fits by alternating least squares on visits and on what was not visited.

    Source: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets"
    (2008), with conjugate gradients (Takács, Pilászy and Tikk, 2011).

    Args:
      interactions: Who visited what.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      options: Size and pace.
      seed: Seed of the initial embeddings.
    """
    model = AlternatingLeastSquares(
        factors=options.num_factors,
        alpha=options.alpha,
        regularization=options.penalty,
        iterations=options.num_sweeps,
        random_state=seed,
    )
    return _fit(model, interactions, num_users, num_businesses)


def fit_bpr(
    interactions: Interactions, num_users: int, num_businesses: int, options: BprOptions, seed: int
) -> FactorModel:
    """Fits so that what was visited ranks above what was not.

    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (2009).

    Args:
      interactions: Who visited what.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      options: Size and pace.
      seed: Seed of the initial embeddings and of the pairs.
    """
    model = BayesianPersonalizedRanking(
        factors=options.num_factors,
        learning_rate=options.learning_rate,
        regularization=options.penalty,
        iterations=options.num_epochs,
        # Several threads would write over each other's steps, never twice alike.
        num_threads=1,
        random_state=seed,
    )
    return _fit(model, interactions, num_users, num_businesses)


def _fit(model, interactions: Interactions, num_users: int, num_businesses: int) -> FactorModel:
    matrix = visits(interactions, num_users, num_businesses)
    model.fit(matrix, show_progress=False)
    return FactorModel(model.user_factors.__getitem__, model.item_factors)


def _baseline(
    fit_with: Callable[[Interactions, int, int, _Options, int], FactorModel],
    choices: Callable[[BaselineData], Sequence[_Options]],
    cost: Callable[[BaselineData], Cost],
) -> Baseline:
    def fit(data: BaselineData) -> Fitted[WithPopularity]:
        def fit_on(interactions: Interactions, options: _Options) -> WithPopularity:
            sizes = (data.num_users, data.num_businesses)
            model = fit_with(interactions, *sizes, options, data.seed)
            return WithPopularity(model, interactions, data)

        missed = MissedShare(data)
        # The library brings threads of its own, which those of BLAS would only disturb.
        with threadpoolctl.threadpool_limits(1, "blas"):
            chosen = choose(
                choices(data),
                lambda options: missed(fit_on(data.train, options)),
                data.tuning_seconds,
            )
            return Fitted(fit_on(data.fitted, chosen.value), chosen.loss)

    return Baseline(cost, fit)


def _als_cost(data: BaselineData) -> Cost:
    factors = max(options.num_factors for options in ALS_OPTIONS)
    rows = data.num_users + data.num_businesses
    sweep = _ALS_SECONDS_PER_VISIT * factors * len(data.fitted)
    sweep += _ALS_SECONDS_PER_ROW * factors**2 * rows
    sweeps = max(options.num_sweeps for options in ALS_OPTIONS)
    return Cost(num_bytes=8.0 * factors * rows + 24 * len(data.fitted), seconds=sweeps * sweep)


def _bpr_choices(data: BaselineData) -> Sequence[BprOptions]:
    """Orders what is tried: the likeliest first, unless it alone would take longer than all may."""
    if _bpr_seconds(BPR_OPTIONS[0], data) <= data.tuning_seconds:
        return BPR_OPTIONS
    return sorted(BPR_OPTIONS, key=lambda options: _bpr_seconds(options, data))


def _bpr_seconds(options: BprOptions, data: BaselineData) -> float:
    of_visit = _BPR_SECONDS_PER_VISIT + _BPR_SECONDS_PER_FACTOR * options.num_factors
    return options.num_epochs * len(data.fitted) * of_visit


def _bpr_cost(data: BaselineData) -> Cost:
    factors = max(options.num_factors for options in BPR_OPTIONS) + 1
    rows = data.num_users + data.num_businesses
    seconds = max(_bpr_seconds(options, data) for options in BPR_OPTIONS)
    return Cost(num_bytes=8.0 * factors * rows + 24 * len(data.fitted), seconds=seconds)


ALS = _baseline(fit_als, lambda _: ALS_OPTIONS, _als_cost)
BPR = _baseline(fit_bpr, _bpr_choices, _bpr_cost)
