"""Chooses, on the eval split, what stands in closed form beside trained towers."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from models.factors import FactorRecipe
from models.looks import EvalSplit
from models.low_pass import LowPass, LowPassRecipe
from models.rating_training import RatingLoop
from models.spectral import Spectrum
from models.two_tower import TwoTowerModel

_LOG = logging.getLogger("t2rec")

_FACTOR_WEIGHTS = (1.0, 1.25, 0.75, 0.5, 0.25)
# Half and a quarter as many are tried, too.
_FACTOR_DIVISORS = (1, 2, 4)
# Of the user coordinates of a low-pass block, beside 1 / temperature of the direction.
_LOW_PASS_WEIGHTS = (1.0, 0.5, 2.0, 4.0)
# Scores of the lists that one try ranks, at most.
_MAX_CELLS = 100_000_000


def choose_factors(
    loop: RatingLoop, look: EvalSplit, model: TwoTowerModel
) -> tuple[FactorRecipe, float]:
    """Chooses how many factors there should be and what they count, on ratings that no tower saw.

    Args:
      loop: What has trained the towers.
      look: The eval split.
      model: The towers, without factors.

    Returns:
      The recipe, of dimension 0 unless they help by more than a standard error, and the RMSE with
      it, in stars.
    """
    stars, ratings = look.predict(model), look.ratings
    without = look.squared_errors(stars)
    best, errors = FactorRecipe(), without
    most = model.options.factor_dim
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


def choose_low_pass(
    spectra: Mapping[float, Spectrum],
    look: EvalSplit,
    model: TwoTowerModel,
    dims: Sequence[int],
    may_be_none: bool = True,
) -> tuple[LowPassRecipe, float, float]:
    """Chooses a block to stand beside towers, on visits that they never saw.

    Args:
      spectra: By user exponent, those of the visits that the towers learnt from: `LowPass.of`.
      look: The eval split.
      model: The towers, without a block.
      dims: Dimensions to try, in ascending order; a larger one must be better than the best so far
        by more than a standard error.
      may_be_none: Whether the first of them must be better than no block likewise.

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

    best, without = LowPassRecipe(), look.ndcgs(queries, candidates)
    best_ndcgs = without
    for dim in dims:
        tried = {
            recipe: ndcgs(recipe)
            for recipe in (
                LowPassRecipe(dim, exponent, _LOW_PASS_WEIGHTS[0]) for exponent in spectra
            )
        }
        likeliest = max(tried, key=lambda recipe: tried[recipe].mean())
        for weight in _LOW_PASS_WEIGHTS[1:]:
            recipe = dataclasses.replace(likeliest, weight=weight)
            tried[recipe] = ndcgs(recipe)
        likeliest = max(tried, key=lambda recipe: tried[recipe].mean())
        is_gain = _is_gain(tried[likeliest] - best_ndcgs)
        if is_gain or not (best.dim or may_be_none):
            best, best_ndcgs = likeliest, tried[likeliest]
    return best, float(best_ndcgs.mean()), float(without.mean())


def _is_gain(gains: np.ndarray) -> bool:
    """Tells whether paired gains are more, on average, than their standard error: than chance."""
    return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))
