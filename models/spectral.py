"""Low frequencies of who visited what: where id embeddings start, and the low-pass block."""

import dataclasses

import numpy as np
import scipy.sparse

from models.tables import Interactions

# Columns that are multiplied at a time: so few that products with millions of rows stay small, and
# the rows of the other factor in the processor's cache.
_BLOCK_COLUMNS = 16
# Of the largest singular value: what is less is rounding.
_MIN_VALUE = 1e-5


def incidence(
    interactions: Interactions,
    num_users: int,
    num_businesses: int,
    user_exponent: float = 0.5,
    business_exponent: float = 0.5,
):
    """Builds the degree-normalised incidence D_u^-a R D_i^-b of users and businesses.

    Args:
      interactions: Training interactions.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      user_exponent: The a above: the larger, the less those who visited much count.
      business_exponent: The b above, likewise of those visited much.

    Returns:
      A `[num_users, num_businesses]` float32 `scipy.sparse.csr_matrix`.
    """
    users, businesses = interactions.user_rows, interactions.business_rows
    user_degree = np.bincount(users, minlength=num_users)[users].astype(np.float64)
    business_degree = np.bincount(businesses, minlength=num_businesses)[businesses]
    weights = user_degree**-user_exponent * business_degree.astype(np.float64) ** -business_exponent
    return scipy.sparse.csr_matrix(
        (weights.astype(np.float32), (users, businesses)), shape=(num_users, num_businesses)
    )


def right_singular_vectors(
    matrix, rank: int, seed: int, num_iterations: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Approximates the leading right singular vectors by randomised subspace iteration.

    Source: Halko, Martinsson and Tropp, "Finding structure with randomness" (2011), algorithm 4.4.

    Args:
      matrix: `[num_rows, num_columns]` sparse matrix.
      rank: Vectors wanted.
      seed: Seed of the random start.
      num_iterations: Passes over the matrix and its transpose.

    Returns:
      `[num_columns, rank]` float32 array of orthonormal columns, and `[rank]` singular values;
      where the matrix has fewer of them, the rest are zeros.
    """
    width = min(rank + 16, *matrix.shape)
    basis = np.random.default_rng(seed).standard_normal((matrix.shape[1], width))
    for _ in range(num_iterations):
        basis, _ = np.linalg.qr(_square(matrix, basis.astype(np.float32)))
    basis = basis.astype(np.float64)
    gram = basis.T @ _square(matrix.astype(np.float64), basis)
    squares, rotation = np.linalg.eigh(gram)
    values, rotation = np.sqrt(np.maximum(squares[::-1], 0.0)), rotation[:, ::-1]
    # What is left where the matrix is of lower rank is noise, and so are its vectors.
    found = min(rank, np.count_nonzero(values > _MIN_VALUE * values[0]))
    vectors = np.zeros((matrix.shape[1], rank), np.float32)
    vectors[:, :found] = (basis @ rotation)[:, :found]
    padded = np.zeros(rank, np.float32)
    padded[:found] = values[:found]
    return vectors, padded


def _square(matrix, basis: np.ndarray) -> np.ndarray:
    """Computes MᵀM B for a sparse matrix M and a basis B."""
    columns = [
        slice(start, start + _BLOCK_COLUMNS) for start in range(0, basis.shape[1], _BLOCK_COLUMNS)
    ]
    return np.concatenate(
        [matrix.T @ (matrix @ np.ascontiguousarray(basis[:, some])) for some in columns], axis=1
    )


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The lowest frequencies of the graph of who visited what.

    Attributes:
      vectors: `[num_businesses, rank]` float32 array: the leading right singular vectors of the
        normalised incidence, orthonormal columns.
      values: `[rank]` float32 array of singular values; where there are fewer, the rest are zeros.
      counts: `[num_businesses]` int64 array: visits of each business.
    """

    vectors: np.ndarray
    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        num_users: int,
        num_businesses: int,
        rank: int,
        seed: int,
        user_exponent: float = 0.5,
        business_exponent: float = 0.5,
    ) -> "Spectrum":
        """Decomposes the incidence.

        Args:
          interactions: Who visited what.
          num_users: Rows of the users table.
          num_businesses: Rows of the businesses table.
          rank: Vectors wanted.
          seed: Seed of the randomised decomposition.
          user_exponent: See `incidence`.
          business_exponent: See `incidence`.
        """
        matrix = incidence(
            interactions, num_users, num_businesses, user_exponent, business_exponent
        )
        vectors, values = right_singular_vectors(matrix, rank, seed)
        counts = np.bincount(interactions.business_rows, minlength=num_businesses)
        return cls(vectors, values, counts)

    @property
    def rank(self) -> int:
        """Number of vectors."""
        return len(self.values)

    def directions(self, dim: int) -> np.ndarray:
        """Computes starting directions of the businesses: scaled singular vectors, unit length.

        Args:
          dim: Coordinates, at most `rank`.

        Returns:
          `[num_businesses, dim]` float32 array; zeros for a business without interactions.
        """
        scaled = self.vectors[:, :dim] * self.values[:dim]
        norms = np.linalg.norm(scaled, axis=1, keepdims=True)
        # Rounding leaves something in the rows of an incomplete basis that should be empty.
        told = (self.counts > 0)[:, None] & (norms > 1e-9)
        return np.divide(scaled, norms, out=np.zeros_like(scaled), where=told)
