"""Content coordinates: what a business is, by its city, categories, attributes and words.

The sparse indicators of all tokens become a few dense coordinates, so that a training step over
the whole catalogue costs one matrix product in place of a million look-ups.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from models.spectral import right_singular_vectors
from models.tables import EntityTable


def token_presence(entities: EntityTable, keys: Sequence[str]) -> scipy.sparse.csr_matrix:
    """Lays the tokens of categorical and bag features side by side.

    Args:
      entities: Users or businesses.
      keys: Features to take.

    Returns:
      A `[num_rows, num_tokens]` float32 sparse matrix: 1 where a row has a token.
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
        shape = (entities.num_rows, entities.vocabulary_sizes[key])
        ones = np.ones(len(rows), np.float32)
        parts.append(scipy.sparse.csr_matrix((ones, (rows, tokens)), shape=shape))
    return scipy.sparse.hstack(parts, format="csr", dtype=np.float32)


def token_coordinates(
    entities: EntityTable, keys: Sequence[str], dim: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gives tokens coordinates that add up to those of the rows that have them.

    A rare token weighs more: 1 / √(rows with it). Rows are then projected onto the leading singular
    vectors.

    Source: Deerwester et al., "Indexing by latent semantic analysis" (1990).

    Args:
      entities: Users or businesses.
      keys: Features to take.
      dim: Coordinates wanted; as many as the tokens have are not empty.
      seed: Seed of the randomised decomposition.

    Returns:
      `[num_rows, dim]` float32 array of the rows, and `[num_tokens, dim]` float32 array of the
      tokens, in the order of `token_presence`.
    """
    presence = token_presence(entities, keys)
    counts = np.maximum(presence.sum(axis=0).A1, 1.0)
    weights = (1.0 / np.sqrt(counts)).astype(np.float32)
    vectors, _ = right_singular_vectors(presence.multiply(weights).tocsr(), dim, seed)
    tokens = weights[:, None] * vectors
    return presence @ tokens, tokens


def content_coordinates(
    businesses: EntityTable, dim: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Projects all tokens of the businesses and scales the coordinates.

    Args:
      businesses: All businesses.
      dim: Coordinates wanted, as in `token_coordinates`.
      seed: Seed of the randomised decomposition.

    Returns:
      `[num_businesses, dim]` float32 array, each column of mean square 1, or 0 if it is empty; and
      `[num_tokens, dim]` float32 array of the tokens that add up to it.
    """
    coordinates, tokens = token_coordinates(
        businesses, sorted(businesses.vocabulary_sizes), dim, seed
    )
    scale = np.sqrt(np.square(coordinates).mean(axis=0))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 1e-6)
    return coordinates * inverse, tokens * inverse
