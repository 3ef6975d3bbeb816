"""Linear regression of stars on ids and covariates, and what covariates alone make of a bias."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, lsmr

from models import features
from models.tables import EntityTable, Interactions

# Penalties of covariates that are tried when eval ratings choose; at infinity they count nothing.
PENALTY_GRID = (10.0, 100.0, 1000.0, math.inf)
# More ratings than these tell the weights of a few hundred covariates no better.
MAX_PRIOR_RATINGS = 1_000_000
_PRIOR_STEPS, _PRIOR_TOLERANCE = 60, 1e-4


@dataclasses.dataclass(frozen=True)
class Priors:
    """What covariates say of the biases of entities that nobody has rated, or that rated nothing.

    Attributes:
      users: `[num_users]` float64 array, in stars.
      businesses: `[num_businesses]` float64 array, in stars.
      user_weights: `[num_numeric]` float64 array: those of the users' numeric covariates.
      user_intercept: The prior of a user whose covariates are all 0.
      business_intercept: The prior of a business without covariates.
      business_weights: `[num_columns]` float64 array: those of `Covariates.businesses`, without the
        intercept.
    """

    users: np.ndarray
    businesses: np.ndarray
    user_weights: np.ndarray
    user_intercept: float
    business_intercept: float
    business_weights: np.ndarray

    @classmethod
    def none(
        cls, users: int, businesses: int, num_numeric: int = 0, num_columns: int = 0
    ) -> "Priors":
        """Returns priors of 0 for so many users and businesses, and weights of their covariates."""
        sizes = np.zeros(users), np.zeros(businesses), np.zeros(num_numeric)
        return cls(*sizes, 0.0, 0.0, np.zeros(num_columns))


@dataclasses.dataclass(frozen=True)
class Covariates:
    """What a regression reads of both sides, laid out once for many fits.

    Attributes:
      users: `[num_users, 1 + num_numeric]` float32 array: an intercept and the numeric covariates.
      businesses: `[num_businesses, num_columns]` sparse matrix: an intercept, numeric covariates,
        categories as indicators, and bags as shares: a row's tokens sum to 1.
    """

    users: np.ndarray
    businesses: scipy.sparse.csr_matrix

    @classmethod
    def of(cls, users: EntityTable, businesses: EntityTable) -> "Covariates":
        """Lays the covariates of all users and businesses side by side."""
        intercept = np.ones([users.num_rows, 1], np.float32)
        return cls(np.hstack([intercept, users.numeric]), _lay_out(businesses))


@dataclasses.dataclass(frozen=True)
class RidgeFit:
    """Predicts stars as mean + part of the user + part of the business.

    Attributes:
      mean_stars: Mean rating, in stars.
      user_parts: `[num_users]` float64 array: id and covariates.
      business_parts: `[num_businesses]` float64 array, likewise.
      priors: The covariates' share of the parts.
    """

    mean_stars: float
    user_parts: np.ndarray
    business_parts: np.ndarray
    priors: Priors

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs, `[num_pairs]` float64, within the range of stars."""
        parts = self.user_parts[user_rows] + self.business_parts[business_rows]
        return np.clip(self.mean_stars + parts, features.MIN_STARS, features.MAX_STARS)


def fit_ridge(
    interactions: Interactions,
    covariates: Covariates,
    penalties: tuple[float, float, float],
    max_steps: int = 200,
    tolerance: float = 1e-5,
) -> RidgeFit:
    """Minimises Σ (y - μ - xᵀw)² + Σ λ_g w_g², with a penalty λ_g for each group of columns.

    Source: Hoerl and Kennard, "Ridge regression" (1970), with penalties by group; solved by LSMR
    (Fong and Saunders, 2011) on columns scaled by λ_g^-½.

    Args:
      interactions: Ratings to learn from.
      covariates: Of all users and businesses.
      penalties: Of users' ids, of businesses' ids and of covariates, over 0.
      max_steps: Steps of the solver, at most.
      tolerance: Relative error at which it stops.
    """
    user_scale, business_scale, scale = (penalty**-0.5 for penalty in penalties)
    mean = interactions.mean_stars
    # Users without a rating, most of them in a sample, have no say.
    rated_users, user_rows = _renumbered(interactions.user_rows, covariates.users.shape[0])
    rated_businesses, business_rows = _renumbered(
        interactions.business_rows, covariates.businesses.shape[0]
    )
    of_users = covariates.users[rated_users].astype(np.float64)
    of_businesses = covariates.businesses[rated_businesses]
    (num_users, user_width), (num_businesses, business_width) = of_users.shape, of_businesses.shape
    # Ids of users, of businesses; covariates of users, of businesses.
    widths = [num_users, num_businesses, user_width, business_width]
    scales = np.repeat([user_scale, business_scale, scale, scale], widths)
    cuts = np.cumsum(widths)[:-1]

    def predict(weights: np.ndarray) -> np.ndarray:
        by_user, by_business, by_of_user, by_of_business = np.split(scales * weights, cuts)
        user_parts = by_user + of_users @ by_of_user
        business_parts = by_business + of_businesses @ by_of_business
        return user_parts[user_rows] + business_parts[business_rows]

    def collect(residuals: np.ndarray) -> np.ndarray:
        by_user = np.bincount(user_rows, residuals, num_users)
        by_business = np.bincount(business_rows, residuals, num_businesses)
        of_covariates = of_users.T @ by_user, of_businesses.T @ by_business
        return scales * np.concatenate([by_user, by_business, *of_covariates])

    # The rows of the design are never laid out: a rating adds two rows of the tables.
    design = LinearOperator(
        (len(interactions), sum(widths)), matvec=predict, rmatvec=collect, dtype=np.float64
    )
    target = interactions.stars.astype(np.float64) - mean
    weights = lsmr(design, target, damp=1.0, atol=tolerance, btol=tolerance, maxiter=max_steps)[0]
    by_user, by_business, user_weights, business_weights = np.split(scales * weights, cuts)
    priors = Priors(
        users=covariates.users @ user_weights,
        businesses=covariates.businesses @ business_weights,
        user_weights=user_weights[1:],
        user_intercept=float(user_weights[0]),
        business_intercept=float(business_weights[0]),
        business_weights=business_weights[1:],
    )
    user_parts, business_parts = priors.users.copy(), priors.businesses.copy()
    user_parts[rated_users] += by_user
    business_parts[rated_businesses] += by_business
    return RidgeFit(mean, user_parts, business_parts, priors)


def fit_priors(
    interactions: Interactions,
    covariates: Covariates,
    shrinkages: tuple[float, float],
    penalty: float,
    seed: int,
) -> Priors:
    """Fits what covariates say of biases, on a sample of very many ratings.

    Args:
      interactions: Training ratings.
      covariates: Of all users and businesses.
      shrinkages: Pseudo-counts of users' and businesses' biases.
      penalty: Of covariates; infinity makes all priors 0.
      seed: Seed of the sample.
    """
    if math.isinf(penalty):
        (num_users, width), (num_businesses, num_columns) = (
            side.shape for side in (covariates.users, covariates.businesses)
        )
        return Priors.none(num_users, num_businesses, width - 1, num_columns - 1)
    return _fit(_sample(interactions, seed), covariates, shrinkages, penalty).priors


def choose_penalty(
    train: Interactions,
    held_out: Interactions,
    covariates: Covariates,
    shrinkages: tuple[float, float],
    seed: int,
    grid: Sequence[float] = PENALTY_GRID,
) -> float:
    """Chooses the penalty of covariates with the least squared error on held-out ratings.

    Args:
      train: Ratings to fit on.
      held_out: Ratings of the eval split; never those of the test split.
      covariates: Of all users and businesses.
      shrinkages: Pseudo-counts of users' and businesses' biases.
      seed: Seed of the sample of very many ratings.
      grid: Penalties to try.
    """
    train = _sample(train, seed)

    def squared_error(penalty: float) -> float:
        # Covariates of so high a penalty have no weight, and the solver no overflow.
        fit = _fit(train, covariates, shrinkages, min(penalty, 1e12))
        predicted = fit.rate(held_out.user_rows, held_out.business_rows)
        return float(np.square(held_out.stars - predicted).sum())

    return min(grid, key=squared_error)


def _fit(interactions, covariates, shrinkages, penalty) -> RidgeFit:
    penalties = (*shrinkages, penalty)
    return fit_ridge(interactions, covariates, penalties, _PRIOR_STEPS, _PRIOR_TOLERANCE)


def _sample(interactions: Interactions, seed: int) -> Interactions:
    if len(interactions) <= MAX_PRIOR_RATINGS:
        return interactions
    rng = np.random.default_rng(seed)
    return interactions[rng.choice(len(interactions), MAX_PRIOR_RATINGS, replace=False)]


def _renumbered(rows: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists the rows that occur, in order, and where in that list each of the given ones is."""
    occurs = np.zeros(num_rows, bool)
    occurs[rows] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[rows]


def _lay_out(table: EntityTable) -> scipy.sparse.csr_matrix:
    """Lays a table's columns side by side: see `Covariates`."""
    rows = np.arange(table.num_rows)
    blocks = [np.ones([table.num_rows, 1]), table.numeric]
    for key, positions in table.categorical.items():
        shape = (table.num_rows, table.vocabulary_sizes[key])
        ones = np.ones(table.num_rows)
        blocks.append(scipy.sparse.csr_matrix((ones, (rows, positions)), shape))
    for key, bag in table.bags.items():
        shape = (table.num_rows, table.vocabulary_sizes[key])
        shares = np.repeat(1.0 / np.maximum(bag.lengths(), 1), bag.lengths())
        blocks.append(scipy.sparse.csr_matrix((shares, bag.values, bag.row_splits), shape))
    columns = [scipy.sparse.csr_matrix(block) for block in blocks]
    return scipy.sparse.hstack(columns, format="csr")
