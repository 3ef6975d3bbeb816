"""Content coordinates: what a business is, by its city, categories, attributes and words.

The sparse indicators of all tokens become a few dense coordinates, so that a training step over
the whole catalogue costs one matrix product in place of a million look-ups.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from models.spectral import right_singular_vectors
from models.tables import EntityTable


def token_matrix(entities: EntityTable, keys: Sequence[str]) -> scipy.sparse.csr_matrix:
    """Lays the tokens of categorical and bag features side by side, rare ones weighing more.

    Args:
      entities: Users or businesses.
      keys: Features to take.

    Returns:
      A `[num_rows, num_tokens]` float32 sparse matrix: 1 / √(rows with the token) where a row has
      it.
    """
    parts = []
    for key in keys:
        if key in entities.bags:
            bag = entities.bags[key]
            rows, tokens = np.repeat(np.arange(bag.num_rows), bag.lengths()), bag.values
        else:
            rows, tokens = np.arange(entities.num_rows), entities.categorical[key]
        # All tokens outside a vocabulary share one position: a row may hold it many times.
        cells = np.unique(rows.astype(np.int64) * entities.vocabulary_sizes[key] + tokens)
        rows, tokens = np.divmod(cells, entities.vocabulary_sizes[key])
        weights = (1.0 / np.sqrt(np.bincount(tokens)[tokens])).astype(np.float32)
        shape = (entities.num_rows, entities.vocabulary_sizes[key])
        parts.append(scipy.sparse.csr_matrix((weights, (rows, tokens)), shape=shape))
    return scipy.sparse.hstack(parts, format="csr", dtype=np.float32)


def project_tokens(entities: EntityTable, keys: Sequence[str], dim: int, seed: int) -> np.ndarray:
    """Projects tokens onto their leading singular vectors.

    Source: Deerwester et al., "Indexing by latent semantic analysis" (1990).

    Args:
      entities: Users or businesses.
      keys: Features to take.
      dim: Coordinates wanted; as many as the tokens have are not empty.
      seed: Seed of the randomised decomposition.

    Returns:
      `[num_rows, dim]` float32 array.
    """
    matrix = token_matrix(entities, keys)
    vectors, _ = right_singular_vectors(matrix, dim, seed)
    return matrix @ vectors


def content_coordinates(businesses: EntityTable, dim: int, seed: int) -> np.ndarray:
    """Projects all tokens of the businesses and scales the coordinates.

    Args:
      businesses: All businesses.
      dim: Coordinates wanted, as in `project_tokens`.
      seed: Seed of the randomised decomposition.

    Returns:
      `[num_businesses, dim]` float32 array, each column of mean square 1, or 0 if it is empty.
    """
    coordinates = project_tokens(businesses, sorted(businesses.vocabulary_sizes), dim, seed)
    scale = np.sqrt(np.square(coordinates).mean(axis=0))
    return np.divide(coordinates, scale, out=np.zeros_like(coordinates), where=scale > 1e-6)
