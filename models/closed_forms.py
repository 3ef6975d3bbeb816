"""Chooses, on the eval split, what stands in closed form beside trained towers."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from models.candidate_prior import CandidatePrior, PriorRecipe
from models.factors import FactorRecipe
from models.looks import EvalSplit
from models.low_pass import LowPass, LowPassRecipe
from models.rating_training import RatingLoop
from models.retrieval_model import RetrievalModel
from models.spectral import Spectrum

_LOG = logging.getLogger("t2rec")

_FACTOR_WEIGHTS = (1.0, 1.25, 0.75, 0.5, 0.25)
# Half and a quarter as many are tried, too.
_FACTOR_DIVISORS = (1, 2, 4)
# Of the user coordinates of a low-pass block, beside 1 / temperature of the direction.
_LOW_PASS_WEIGHTS = (0.5, 0.25, 1.0, 2.0, 4.0)
# Helped a little in fifteen of eighteen splits of three sets; in two of FilmTrust's it did harm.
_USUAL_LOW_PASS = LowPassRecipe(dim=64, user_exponent=0.25, weight=0.25)
# What covariates may be worth, in visits; and what may be taken off the popularity of newcomers.
_PRIOR_VISITS = (1.0, 4.0, 16.0)
_DISCOUNTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
# Scores of the lists that one try ranks, at most.
_MAX_CELLS = 100_000_000


def choose_factors(loop: RatingLoop, look: EvalSplit) -> tuple[FactorRecipe, float]:
    """Chooses how many factors there should be and what they count, on ratings that no tower saw.

    Args:
      loop: What has trained the model, which has no factors yet.
      look: The eval split.

    Returns:
      The recipe, of dimension 0 unless they help by more than a standard error, and the RMSE with
      it, in stars.
    """
    stars, ratings = look.predict(loop.model), look.ratings
    without = look.squared_errors(stars)
    best, errors = FactorRecipe(), without
    most = loop.model.options.factor_dim
    # On sparse data the priors of many factors may shrink to nothing where a few would have stayed.
    dims = [most // divisor for divisor in _FACTOR_DIVISORS if most >= divisor]
    for dim, factors in zip(dims, loop.fit_factors(dims), strict=True):
        if not factors.factor_dim:
            continue
        of_users = factors.users[ratings.user_rows]
        shift = (of_users * factors.businesses[ratings.business_rows]).sum(axis=1)
        for weight in _FACTOR_WEIGHTS:
            tried = look.squared_errors(stars + weight * shift)
            if tried.mean() < errors.mean():
                best, errors = FactorRecipe(dim, weight), tried
    if not _is_gain(without - errors):
        best, errors = FactorRecipe(), without
    least = float(np.sqrt(errors.mean()))
    told = "%d rating factors of weight %g: eval RMSE %.4f, %.4f without"
    _LOG.info(told, best.dim, best.weight, least, np.sqrt(without.mean()))
    return best, least


def choose_candidate_prior(
    prior: CandidatePrior,
    look: EvalSplit,
    model: RetrievalModel,
    max_cost: float,
) -> tuple[PriorRecipe, float, float]:
    """Chooses what covariates count where businesses have few visits, or none.

    Eval can't tell a business that has just opened from one that nobody likes: its lists lose by
    whoever was not visited in training, unless it was in eval. So newcomers get as much of the
    popularity that their covariates promise as costs those lists next to nothing.

    Args:
      prior: All that covariates promise.
      look: The eval split.
      model: The trained model; left with what was chosen.
      max_cost: Share of the NDCG that popularity of newcomers may cost.

    Returns:
      The recipe; and the mean of `EvalSplit.ndcgs` with it, and with no more than directions of
      newcomers, of at least some of the users of the eval split.
    """
    look = look.thinned(max(1, _MAX_CELLS // model.counts.shape[0]))

    def embed(recipe: PriorRecipe) -> tuple[np.ndarray, np.ndarray]:
        model.candidate_prior = prior.limited(recipe)
        return look.embed(model)

    best = PriorRecipe()
    queries, candidates = embed(best)
    reached = without = look.ndcgs(queries, candidates)
    for recipe in map(PriorRecipe, _PRIOR_VISITS):
        embedded = embed(recipe)
        ndcgs = look.ndcgs(*embedded)
        if _is_gain(ndcgs - without) and ndcgs.mean() > reached.mean():
            best, (queries, candidates), reached = recipe, embedded, ndcgs
    # Queries have no part in the rest: nobody has been where nobody was.
    is_new = model.counts.numpy() == 0
    promised = prior.businesses[is_new, -1]
    for discount in _DISCOUNTS:
        tried = candidates.copy()
        tried[is_new, -1] = np.maximum(promised - discount, 0.0)
        ndcgs = look.ndcgs(queries, tried)
        if ndcgs.mean() >= (1.0 - max_cost) * reached.mean():
            best, reached = dataclasses.replace(best, discount=discount), ndcgs
            break
    model.candidate_prior = prior.limited(best)
    return best, float(reached.mean()), float(without.mean())


def choose_low_pass(
    spectra: Mapping[float, Spectrum],
    look: EvalSplit,
    model: RetrievalModel,
    dims: Sequence[int],
    may_be_none: bool = True,
) -> tuple[LowPassRecipe, float, float]:
    """Chooses a block to stand beside towers, on visits that they never saw.

    The eval split holds few visits a user: the best of many recipes is so in part by chance. So a
    usual one is taken unless another is surely better, and none where it does not help.

    Args:
      spectra: By user exponent, those of the visits that the towers learnt from: `LowPass.of`.
      look: The eval split.
      model: The trained model, without a block.
      dims: Dimensions to try.
      may_be_none: Whether there may be no block.

    Returns:
      The recipe, of dimension 0 for no block; and the mean of `EvalSplit.ndcgs` with and without
      it, of at least some of the users of the eval split.
    """
    look = look.thinned(max(1, _MAX_CELLS // model.counts.shape[0]))
    queries, candidates = look.embed(model)

    def ndcgs(recipe: LowPassRecipe) -> np.ndarray:
        block = LowPass.of(spectra[recipe.user_exponent], recipe)
        return look.ndcgs(
            np.concatenate([queries, block.users(look.seen)], axis=1),
            np.concatenate([candidates, block.businesses], axis=1),
        )

    nearest = min(dims, key=lambda dim: abs(dim - _USUAL_LOW_PASS.dim))
    usual = dataclasses.replace(_USUAL_LOW_PASS, dim=nearest)
    tried = {usual: ndcgs(usual)}
    for dim in dims:
        of_dim = [LowPassRecipe(dim, exponent, _LOW_PASS_WEIGHTS[0]) for exponent in spectra]
        tried.update({recipe: ndcgs(recipe) for recipe in of_dim})
        likeliest = max(of_dim, key=lambda recipe: tried[recipe].mean())
        for weight in _LOW_PASS_WEIGHTS[1:]:
            recipe = dataclasses.replace(likeliest, weight=weight)
            if recipe not in tried:
                tried[recipe] = ndcgs(recipe)
    best = max(tried, key=lambda recipe: _least_gain(tried[recipe] - tried[usual]))
    with_block, without = tried[best].mean(), look.ndcgs(queries, candidates).mean()
    # Every coordinate is searched at every request: one that does not help goes.
    if may_be_none and with_block <= without:
        best, with_block = LowPassRecipe(), without
    return best, float(with_block), float(without)


def _least_gain(gains: np.ndarray) -> float:
    """Returns what paired gains surely are on average: two standard errors below their mean."""
    return float(gains.mean() - 2.0 * _standard_error(gains))


def _is_gain(gains: np.ndarray) -> bool:
    """Tells whether paired gains are more, on average, than their standard error: than chance."""
    return bool(gains.mean() > _standard_error(gains))


def _standard_error(gains: np.ndarray) -> float:
    return float(gains.std() / np.sqrt(len(gains)))
