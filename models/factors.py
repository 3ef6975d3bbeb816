"""Rating factors: what the towers leave over, as a matrix factorisation with learnt priors.

The towers know an entity by sums along given coordinates. Where many ratings meet, the residuals
still hold structure that no coordinate shows; where they do not, the priors shrink the factors to
nothing. The factors are extra coordinates of the rating block: it stays one inner product.
"""

import dataclasses
import logging

import numpy as np
import scipy.sparse
import tensorflow as tf

from models.spectral import right_singular_vectors
from models.tables import Interactions

_LOG = logging.getLogger("t2rec")

_START_VARIANCE, _LEAST_VARIANCE = 0.1, 1e-8
_START_ITERATIONS = 10
# Factors that explain less variance than this are worth nothing, in squared stars.
_WORTHLESS = 1e-5
_MAX_BYTES = 2**30
_BLOCK_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class FactorRecipe:
    """How many factors stand beside the towers, and what they count; none by default.

    Attributes:
      dim: Factors to fit.
      weight: What their sum counts.
    """

    dim: int = 0
    weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class Factors:
    """Factors of both sides; a user's are those that `fold_in` computes from their residuals.

    Attributes:
      users: `[num_users, factor_dim]` float32 array, the weight applied.
      businesses: `[num_businesses, factor_dim]` float32 array.
      ridge: `[factor_dim]` float32 array: noise over prior variance of each factor of a user.
      weight: What the factors count; chosen on ratings that no tower saw.
    """

    users: np.ndarray
    businesses: np.ndarray
    ridge: np.ndarray
    weight: float

    @classmethod
    def none(cls, num_users: int, num_businesses: int) -> "Factors":
        """Returns factors of dimension 0."""
        empty = np.zeros([0], np.float32)
        return cls(
            np.zeros([num_users, 0], np.float32),
            np.zeros([num_businesses, 0], np.float32),
            empty,
            0,
        )

    @property
    def factor_dim(self) -> int:
        """Number of factors."""
        return len(self.ridge)

    def weighted(self, weight: float) -> "Factors":
        """Returns the same factors with another weight, which must not be 0 at present."""
        return dataclasses.replace(
            self, users=self.users * np.float32(weight / self.weight), weight=weight
        )


def fit_factors(
    interactions: Interactions,
    residuals: np.ndarray,
    num_users: int,
    num_businesses: int,
    factor_dim: int,
    seed: int,
    num_sweeps: int = 4,
) -> Factors:
    """Factorises residuals by variational Bayes; the priors' variances are learnt as well.

    It starts along the leading singular vectors of the residuals, and stops early. From a random
    start, the first sweeps explain so little of sparse data that the priors shrink all to nothing;
    after many sweeps, dense data is overfitted, as the priors follow what the factors made of it.

    Source: Lim and Teh, "Variational Bayesian Approach to Movie Rating Prediction" (2007).

    Args:
      interactions: The ratings.
      residuals: `[num_interactions]` array, in stars.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      factor_dim: Factors to start with, at least 1.
      seed: Seed of the randomised decomposition that it starts from.
      num_sweeps: Alternations between the sides.

    Returns:
      Factors of weight 1; of dimension 0 where they are worth nothing, or where their covariances
      would not fit into a GiB of memory.
    """
    none = Factors.none(num_users, num_businesses)
    if max(num_users, num_businesses) * factor_dim**2 * 4 > _MAX_BYTES:
        _LOG.info("rating factors left out: their covariances would take over a GiB")
        return none
    rows, columns = interactions.user_rows, interactions.business_rows
    shape = (num_users, num_businesses)
    rated = scipy.sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
    values = scipy.sparse.csr_matrix((residuals.astype(np.float32), (rows, columns)), shape)
    rated_by_business, values_by_business = rated.T.tocsr(), values.T.tocsr()
    noise = max(float(np.mean(np.square(residuals))), 1e-6)
    user_prior = np.full(factor_dim, _START_VARIANCE)
    business_prior = user_prior.copy()
    leading, _ = right_singular_vectors(values, factor_dim, seed, _START_ITERATIONS)
    business_means = leading.astype(np.float64) * np.sqrt(num_businesses * _START_VARIANCE)
    moments = _moments(business_means, np.tile(np.eye(factor_dim) * 0.01, (num_businesses, 1, 1)))
    # Written anew in each sweep: two of millions of users would take gigabytes.
    user_moments = np.empty([num_users, factor_dim**2], np.float32)
    for _ in range(num_sweeps):
        user_means, user_prior = _update(
            rated, values, business_means, moments, user_prior, noise, user_moments
        )
        business_means, business_prior = _update(
            rated_by_business,
            values_by_business,
            user_means,
            user_moments,
            business_prior,
            noise,
            moments,
        )
        noise = _noise(interactions, residuals, user_means, user_moments, business_means, moments)
    del user_moments
    predicted = np.einsum("nk,nk->n", user_means[rows], business_means[columns])
    if np.mean(np.square(predicted)) < _WORTHLESS:
        return none
    ridge = noise / np.maximum(user_prior, _LEAST_VARIANCE)
    users = np.zeros([num_users, factor_dim], np.float32)
    products = np.einsum("nk,nl->nkl", business_means, business_means).reshape(num_businesses, -1)
    for start in range(0, num_users, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        gram = (rated[block] @ products).reshape(-1, factor_dim, factor_dim) + np.diag(ridge)
        target = values[block] @ business_means
        users[block] = tf.linalg.solve(gram, target[:, :, None].astype(gram.dtype))[:, :, 0]
    return Factors(users, business_means.astype(np.float32), ridge.astype(np.float32), weight=1.0)


def fold_in(vectors: tf.Tensor, residuals: tf.Tensor, rated: tf.Tensor, ridge: tf.Tensor):
    """Computes the factors of users from the residuals of what they rated.

    Args:
      vectors: `[batch, length, factor_dim]` float32 tensor: factors of the rated businesses.
      residuals: `[batch, length]` float32 tensor, in stars.
      rated: `[batch, length]` bool tensor: what is not padding.
      ridge: `[factor_dim]` float32 tensor.

    Returns:
      `[batch, factor_dim]` float32 tensor: the ridge regression of residuals on factors.
    """
    vectors *= tf.cast(rated, tf.float32)[:, :, None]
    gram = tf.matmul(vectors, vectors, transpose_a=True) + tf.linalg.diag(ridge)
    target = tf.matmul(vectors, residuals[:, :, None], transpose_a=True)
    return tf.linalg.solve(gram, target)[:, :, 0]


def _moments(means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Returns E[v vᵀ] of each row, flattened: `[num_rows, factor_dim²]` float32."""
    second = covariances + means[:, :, None] * means[:, None, :]
    return second.reshape(len(means), -1).astype(np.float32)


def _update(rated, values, others, other_moments, prior, noise, moments):
    """Computes one side's posterior given the other's: means and the prior's variances.

    The moments are written into the last argument.
    """
    dim = len(prior)
    means = np.empty([rated.shape[0], dim])
    for start in range(0, rated.shape[0], _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        gram = (rated[block] @ other_moments).reshape(-1, dim, dim).astype(np.float64)
        # NumPy calls LAPACK, with its threads, for each of these small matrices: a whole fit takes
        # three times as long, and twelve times beside another job.
        covariances = tf.linalg.inv(gram / noise + np.diag(1.0 / prior)).numpy()
        means[block] = np.einsum("nij,nj->ni", covariances, values[block] @ others) / noise
        moments[block] = _moments(means[block], covariances)
    active = np.diff(rated.indptr) > 0
    variances = moments.reshape(-1, dim, dim).diagonal(axis1=1, axis2=2)[active].mean(axis=0)
    return means, np.maximum(variances.astype(np.float64), _LEAST_VARIANCE)


def _noise(interactions, residuals, users, user_moments, businesses, moments) -> float:
    """Estimates the noise variance, E(r - ⟨u, v⟩)², from at most a few hundred thousand ratings."""
    some = slice(None, None, max(1, len(residuals) // 200_000))
    rows, columns = interactions.user_rows[some], interactions.business_rows[some]
    predicted = np.einsum("nk,nk->n", users[rows], businesses[columns])
    squares = np.einsum("nk,nk->n", user_moments[rows], moments[columns])
    residuals = residuals[some]
    return max(float(np.mean(residuals**2 - 2 * residuals * predicted + squares)), 1e-6)
