"""What training ratings say about each user and business, as covariates of the towers.

An aggregate of a training row must not contain the row's own rating, or the model learns to read
its answer there: rows take theirs from the other folds (cross-fitting). At serving time, and for
rows that were held out, aggregates come from all training ratings.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse
import tensorflow as tf

from models.bias import BiasModel, fit_bias
from models.ridge import Priors
from models.tables import Interactions, is_ascending
from models.taste import Taste

# Columns of the sums over one entity's ratings: how many; the residual stars, summed; their
# squares, summed; how many five-star and one-star ratings; their ages in years, summed. Behind
# them come the sums of the other side's taste coordinates, and those of residual times coordinate.
NUM_SUMS = 6
# Columns that `aggregate_features` makes of them, beside two a taste coordinate.
NUM_AGGREGATES = 9

_PRIOR_VARIANCE = 1.2  # Residual variance, in squared stars, of an entity without ratings.
_PRIOR_FIVES, _PRIOR_ONES = 0.4, 0.12  # Shares of ratings; Yelp's own are close to these.
_PRIOR_COUNT = 4.0
_TASTE_SHRINKAGE, _POSITION_SHRINKAGE = 5.0, 2.0  # Pseudo-counts of means along coordinates.
# Of folds that share the weights of covariates.
_PRIOR_GROUPS = 5


@dataclasses.dataclass(frozen=True)
class RatingSums:
    """Sums over the ratings of each user and business, given a bias model.

    Attributes:
      users: `[num_users, user_sums_dim]` float32 array; residuals are against the business's bias.
      businesses: `[num_businesses, business_sums_dim]` float32 array; residuals against the
        user's bias.
      bias: The bias model that the residuals refer to.
      taste: The taste coordinates that are summed.
    """

    users: np.ndarray
    businesses: np.ndarray
    bias: BiasModel
    taste: Taste

    @property
    def mean_age_years(self) -> float:
        """How long before the newest rating one was, on average."""
        count, ages_years = self.users[:, [0, NUM_SUMS - 1]].sum(axis=0, dtype=np.float64)
        return float(ages_years / max(count, 1.0))

    def without_taste(self) -> "RatingSums":
        """Returns the same sums without what is along coordinates."""
        taste = Taste.none(len(self.users), len(self.businesses))
        return RatingSums(self.users[:, :NUM_SUMS], self.businesses[:, :NUM_SUMS], self.bias, taste)


def aggregate_features(sums: tf.Tensor, shrinkage: tf.Tensor | float) -> tf.Tensor:
    """Turns sums over an entity's ratings into tower inputs.

    The same function runs in training, in the export and on the histories that requests carry.

    Args:
      sums: `[batch, NUM_SUMS + 2 * taste_dim]` float32 tensor; a row of zeros is an entity without
        ratings.
      shrinkage: Pseudo-count of the entity's bias.

    Returns:
      `[batch, NUM_AGGREGATES + 2 * taste_dim]` float32 tensor: the shrunken bias, means of the
      residuals at three other shrinkages, log count, no-ratings flag, log residual deviation,
      five minus one share, log mean age; then the mean position along each taste coordinate, and
      the mean residual, own bias taken off, along each.
    """
    count, total, squares, fives, ones, ages = tf.unstack(sums[:, :NUM_SUMS], NUM_SUMS, axis=1)
    positions, residuals = tf.split(sums[:, NUM_SUMS:], 2, axis=1)
    bias = shrunken_bias(sums, 0.0, shrinkage)[:, 0]
    variance = (squares + _PRIOR_COUNT * _PRIOR_VARIANCE) / (count + _PRIOR_COUNT)
    five_share = (fives + _PRIOR_COUNT * _PRIOR_FIVES) / (count + _PRIOR_COUNT)
    one_share = (ones + _PRIOR_COUNT * _PRIOR_ONES) / (count + _PRIOR_COUNT)
    columns = [
        bias,
        total / (count + 1.0),
        total / (count + 5.0),
        total / (count + 25.0),
        tf.math.log1p(count) / 2.0,
        tf.cast(count < 0.5, tf.float32),
        0.5 * tf.math.log(variance),
        (five_share - _PRIOR_FIVES) - (one_share - _PRIOR_ONES),
        tf.math.log1p(ages / tf.maximum(count, 1.0)),
    ]
    likings = residuals - bias[:, None] * positions
    return tf.concat(
        [
            tf.stack(columns, axis=1),
            positions / (count + _POSITION_SHRINKAGE)[:, None],
            2.0 * likings / (count + _TASTE_SHRINKAGE)[:, None],
        ],
        axis=1,
    )


def shrunken_bias(
    sums: tf.Tensor, prior: tf.Tensor | float, shrinkage: tf.Tensor | float
) -> tf.Tensor:
    """Estimates an entity's bias from its ratings and, the fewer they are, its covariates.

    Args:
      sums: As in `aggregate_features`.
      prior: `[batch, 1]` float32 tensor, or a number: what covariates say of the bias, in stars.
      shrinkage: Pseudo-count of the prior.

    Returns:
      `[batch, 1]` float32 tensor, in stars.
    """
    count, total = sums[:, :1], sums[:, 1:2]
    return (total + shrinkage * prior) / (count + shrinkage)


def rating_columns(
    stars: np.ndarray, residual: np.ndarray, ages_years: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields `NUM_SUMS` columns, `[num_ratings]`, whose sums over an entity are its sums."""
    yield np.ones_like(residual)
    yield residual
    yield residual**2
    yield stars > 4.5
    yield stars < 1.5
    yield ages_years


def sum_ratings(
    interactions: Interactions,
    bias: BiasModel,
    taste: Taste | None = None,
) -> RatingSums:
    """Sums the ratings of each user and business.

    Args:
      interactions: Training ratings.
      bias: Bias model fitted on the same ratings.
      taste: Taste coordinates of both sides; none by default.
    """
    taste = taste or Taste.none(len(bias.user_bias), len(bias.business_bias))
    interactions = interactions.by_user()
    users, businesses = interactions.user_rows, interactions.business_rows
    centred = interactions.stars - bias.mean_stars
    ages_years = interactions.ages_years()

    def side(rows, residual, others, coordinates, num_rows) -> np.ndarray:
        ratings = (interactions.stars, residual, ages_years)
        return sum_side(rows, *ratings, others, coordinates, num_rows)

    return RatingSums(
        users=side(
            users,
            centred - bias.business_bias[businesses],
            businesses,
            taste.businesses,
            len(bias.user_bias),
        ),
        businesses=side(
            businesses,
            centred - bias.user_bias[users],
            users,
            taste.users,
            len(bias.business_bias),
        ),
        bias=bias,
        taste=taste,
    )


def sum_side(
    rows: np.ndarray,
    stars: np.ndarray,
    residual: np.ndarray,
    ages_years: np.ndarray,
    others: np.ndarray,
    coordinates: np.ndarray,
    num_rows: int,
) -> np.ndarray:
    """Sums the ratings of each user, or of each business.

    Args:
      rows: `[num_ratings]` integer array: whose ratings they are.
      stars: `[num_ratings]` array.
      residual: `[num_ratings]` array, in stars.
      ages_years: `[num_ratings]` array.
      others: `[num_ratings]` integer array: rows of the other side.
      coordinates: `[num_others, taste_dim]` float32 array of the other side.
      num_rows: Users, or businesses.

    Returns:
      `[num_rows, NUM_SUMS + 2 * taste_dim]` float32 array.
    """
    num_others, taste_dim = coordinates.shape
    sums = np.empty([num_rows, NUM_SUMS + 2 * taste_dim], np.float32)
    for place, column in enumerate(rating_columns(stars, residual, ages_years)):
        sums[:, place] = np.bincount(rows, column, num_rows)
    if not taste_dim:
        return sums
    # Ratings in the order of the other side are laid out as they are, and turned: no sorting.
    turned = is_ascending(others) and not is_ascending(rows)
    outer, inner = (others, rows) if turned else (rows, others)
    shape = (num_others, num_rows) if turned else (num_rows, num_others)
    order = slice(None) if is_ascending(outer) else np.argsort(outer, kind="stable")
    splits = np.concatenate([[0], np.cumsum(np.bincount(outer, minlength=shape[0]))])
    along = np.split(sums[:, NUM_SUMS:], 2, axis=1)
    for values, place in zip((np.ones(len(rows)), residual), along, strict=True):
        data = (values[order].astype(np.float32), inner[order], splits)
        matrix = scipy.sparse.csr_matrix(data, shape=shape)
        place[:] = (matrix.T if turned else matrix) @ coordinates
    return sums


@dataclasses.dataclass(frozen=True)
class CrossFitted:
    """What each training row is shown of its user and its business: the ratings of other folds.

    Attributes:
      user_sums: `[num_interactions, user_sums_dim]` float32 array.
      business_sums: `[num_interactions, business_sums_dim]` float32 array.
      business_priors: `[num_interactions]` float32 array, in stars.
    """

    user_sums: np.ndarray
    business_sums: np.ndarray
    business_priors: np.ndarray

    def without_taste(self) -> "CrossFitted":
        """Returns the same without what is along coordinates."""
        return CrossFitted(
            self.user_sums[:, :NUM_SUMS], self.business_sums[:, :NUM_SUMS], self.business_priors
        )


def cross_fit(
    interactions: Interactions,
    num_users: int,
    num_businesses: int,
    shrinkages: tuple[float, float],
    num_folds: int,
    seed: int,
    taste: Taste | None = None,
    fit_priors: Callable[[Interactions], Priors] | None = None,
    max_bytes: float = math.inf,
) -> CrossFitted:
    """Sums, for each training row, the ratings of its user and business in the other folds.

    Args:
      interactions: Training ratings.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      shrinkages: Pseudo-counts of users and businesses.
      num_folds: Folds, at least 2.
      seed: Seed of the assignment of rows to folds.
      taste: Taste coordinates of both sides; none by default.
      fit_priors: Fits the priors of biases on some of the ratings; all 0 by default.
      max_bytes: What the sums may take of memory; more lie in a temporary file, without a name,
        that is gone with the arrays.
    """
    taste = taste or Taste.none(num_users, num_businesses)
    fold = np.random.default_rng(seed).integers(num_folds, size=len(interactions))
    user_dim, business_dim = (
        NUM_SUMS + 2 * side.shape[1] for side in (taste.businesses, taste.users)
    )
    on_disk = 4 * len(interactions) * (user_dim + business_dim) > max_bytes
    user_sums = _zeros(len(interactions), user_dim, on_disk)
    business_sums = _zeros(len(interactions), business_dim, on_disk)
    business_priors = np.zeros(len(interactions), np.float32)
    # By user, so that sums by user, of whom there are the most, go through memory in order.
    order = np.argsort(interactions.user_rows, kind="stable")
    ordered, ordered_fold = interactions[order], fold[order]
    for group in range(min(num_folds, _PRIOR_GROUPS)):
        # Weights of covariates move little from fold to fold: some folds share them.
        apart = fold % _PRIOR_GROUPS == group
        priors = fit_priors(interactions[~apart]) if fit_priors and not apart.all() else None
        if priors is not None:
            business_priors[apart] = priors.businesses[interactions.business_rows[apart]]
        for held_out in range(group, num_folds, _PRIOR_GROUPS):
            inside = ordered_fold == held_out
            if not inside.any() or inside.all():
                continue
            others = ordered[~inside]
            bias = fit_bias(others, num_users, num_businesses, *shrinkages, priors=priors)
            sums = sum_ratings(others, bias, taste=taste)
            places = order[inside]
            user_sums[places] = sums.users[ordered.user_rows[inside]]
            business_sums[places] = sums.businesses[ordered.business_rows[inside]]
            del sums, others  # Before the next ones are made.
    return CrossFitted(user_sums, business_sums, business_priors)


def _zeros(num_rows: int, dim: int, on_disk: bool) -> np.ndarray:
    """Makes a float32 array of zeros; on disk it is the system's page cache that holds its rows."""
    if not on_disk:
        return np.zeros([num_rows, dim], np.float32)
    with tempfile.TemporaryFile() as file:
        # The map lives on when the file is closed, and the file on disk as long as the map.
        return np.memmap(file, np.float32, "w+", shape=(num_rows, dim))
