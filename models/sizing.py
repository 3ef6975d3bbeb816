"""Sizes of the rating towers from the number of ratings and the dimension of the covariates.

Theory says how sizes should grow, |Ω|^(d / (2β + d)), and leaves a constant open. Ours is anchored
where sizes are known to be good.
"""

import dataclasses
import logging

import numpy as np

from models.aggregates import aggregate_features, sum_ratings
from models.bias import fit_bias
from models.intrinsic_dimension import IntrinsicDimension, estimate_dimension
from models.options import AUTO, ModelOptions
from models.tables import EntityTable, Interactions

_LOG = logging.getLogger("t2rec")

# The law's constant. With it, the sizes of 80,000 real ratings of dimension 3.3 are those that were
# as good as any of a grid, widths of 64 and 16 coordinates; generated ratings of dimension 10.6
# get the largest sizes, which were the best there.
ANCHOR_RATINGS = 800
ANCHOR_WIDTH, ANCHOR_RATING_DIM = 8, 2
# Sizes where no dimension is known.
DEFAULT_WIDTH, DEFAULT_RATING_DIM = 64, 16
# Narrower towers save nothing; with wider ones, a pass over millions of ratings takes minutes.
WIDTH_BOUNDS, RATING_DIM_BOUNDS = (16, 128), (8, 32)
# Hidden layers: the theorem holds for a depth that does not grow with the data.
DEPTH = 2
_MULTIPLE = 8
# The options that are settled here.
SIZES = ("tower_widths", "rating_dim")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the rating towers, and where they come from.

    Attributes:
      users: Intrinsic dimension of what the query tower sees.
      businesses: Intrinsic dimension of what the candidate tower sees.
      dimension: d, the larger of both; None if neither is known.
      smoothness: β, assumed.
      num_ratings: |Ω|, the training ratings.
      tower_widths: Widths of the hidden layers.
      rating_dim: Interaction coordinates of the rating block.
      why: How they were found, in a sentence.
    """

    users: IntrinsicDimension
    businesses: IntrinsicDimension
    dimension: float | None
    smoothness: float
    num_ratings: int
    tower_widths: tuple[int, ...]
    rating_dim: int
    why: str


def growth(num_ratings: float, dimension: float, smoothness: float) -> float:
    """Returns how many times the anchor's sizes so many ratings deserve.

    Source: arXiv 2403.00802, the theorem on the convergence rate: towers of finite depth whose
    size grows as |Ω|^(d / (2β + d)), d the larger of both sides' intrinsic dimensions.

    Args:
      num_ratings: |Ω|, training ratings.
      dimension: d.
      smoothness: β, how many derivatives the towers' true maps have.
    """
    exponent = dimension / (2.0 * smoothness + dimension)
    return (num_ratings / ANCHOR_RATINGS) ** exponent


def choose_sizes(
    user_rows: np.ndarray,
    business_rows: np.ndarray,
    num_ratings: int,
    smoothness: float,
    seed: int = 0,
) -> Sizes:
    """Chooses sizes by the rows that the towers see.

    Args:
      user_rows: `[num_users, num_columns]` float array: inputs of the query tower.
      business_rows: `[num_businesses, num_columns]` float array: inputs of the candidate tower.
      num_ratings: Training ratings.
      smoothness: β.
      seed: Seed of the samples.

    Returns:
      Sizes that grow with the ratings, rounded to multiples of 8 and bounded; the default ones if
      neither side's dimension can be estimated.
    """
    users, businesses = (estimate_dimension(rows, seed) for rows in (user_rows, business_rows))
    known = [side.value for side in (users, businesses) if side.value is not None]
    width, rating_dim, dimension = DEFAULT_WIDTH, DEFAULT_RATING_DIM, None
    if not known:
        why = (
            "neither side has the distinct rows of covariates that an estimate of their dimension "
            "takes: sizes that are good on most data"
        )
    else:
        dimension = max(known)
        times = growth(num_ratings, dimension, smoothness)
        width = _rounded(ANCHOR_WIDTH * times, WIDTH_BOUNDS)
        rating_dim = _rounded(ANCHOR_RATING_DIM * times, RATING_DIM_BOUNDS)
        why = (
            f"{ANCHOR_WIDTH} and {ANCHOR_RATING_DIM} times ({num_ratings:,} ratings / "
            f"{ANCHOR_RATINGS:,})^(d / (2β + d)) with d {dimension:.1f} and β {smoothness:g}, in "
            f"multiples of {_MULTIPLE} within {WIDTH_BOUNDS} and {RATING_DIM_BOUNDS}"
        )
    return Sizes(
        users=users,
        businesses=businesses,
        dimension=dimension,
        smoothness=smoothness,
        num_ratings=num_ratings,
        tower_widths=(width,) * DEPTH,
        rating_dim=rating_dim,
        why=why,
    )


def settle_sizes(
    model_options: ModelOptions,
    users: EntityTable,
    businesses: EntityTable,
    train_set: Interactions,
    shrinkages: tuple[float, float],
    seed: int,
) -> tuple[ModelOptions, Sizes | None]:
    """Replaces sizes that are `auto` and says in the log how they were found.

    Args:
      model_options: The options.
      users: All users.
      businesses: All businesses, with their content coordinates.
      train_set: The training ratings.
      shrinkages: Pseudo-counts of users and businesses.
      seed: Seed of the samples of rows.

    Returns:
      Options whose `tower_widths` and `rating_dim` are numbers, and the sizes that were found; None
      if none was asked for.
    """
    wanted = [key for key in SIZES if getattr(model_options, key) == AUTO]
    if not wanted:
        return model_options, None
    bias = fit_bias(train_set, users.num_rows, businesses.num_rows, *shrinkages)
    sums = sum_ratings(train_set, bias)
    sizes = choose_sizes(
        _inputs(users, sums.users, shrinkages[0]),
        _inputs(businesses, sums.businesses, shrinkages[1]),
        len(train_set),
        model_options.smoothness,
        seed,
    )
    _LOG.info("dimension of users %s, of businesses %s", sizes.users, sizes.businesses)
    for key in wanted:
        _LOG.info("%s %s: %s", key, getattr(sizes, key), sizes.why)
    return model_options.model_copy(update={key: getattr(sizes, key) for key in wanted}), sizes


def _inputs(entities: EntityTable, sums: np.ndarray, shrinkage: float) -> np.ndarray:
    """Lays side by side what a rating tower sees, tokens as their content coordinates."""
    aggregates = aggregate_features(sums, shrinkage).numpy()
    return np.concatenate([entities.numeric, entities.content, aggregates], axis=1)


def _rounded(size: float, bounds: tuple[int, int]) -> int:
    """Rounds to the nearest multiple of 8 within bounds, which are multiples themselves."""
    least, most = bounds
    return _MULTIPLE * round(min(max(size, least), most) / _MULTIPLE)
