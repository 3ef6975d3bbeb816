"""What covariates say of where a business stands in retrieval.

Towers learn most of a business under its id: next to nothing of one that few have visited, nothing
at all of one that nobody has. Regression of what they learnt of all others on cities, categories
and attributes says where such a business should stand, and how popular it may become.

Source: Gantner et al., "Learning attribute-to-feature mappings for cold-start recommendations"
(2010).
"""

import dataclasses

import numpy as np
import scipy.linalg
import scipy.sparse
import tensorflow as tf

from models.content import token_presence
from models.directions import unit_rows
from models.tables import EntityTable

# Of the weights. On businesses held out of two real sets, 3 to 30 were as good.
_PENALTY = 10.0


@dataclasses.dataclass(frozen=True)
class PriorRecipe:
    """What eval chose.

    Attributes:
      visits: What the prior of a direction is worth, in visits.
      discount: Taken off the popularity that covariates promise a business without visits, in
        nats; None leaves it none.
    """

    visits: float = 0.0
    discount: float | None = None


@dataclasses.dataclass(frozen=True)
class CandidatePrior:
    """Directions and popularities by covariates: `[direction, popularity]`, as the tower's block.

    Attributes:
      businesses: `[num_businesses, block_dim]` float32 array: of each, as its covariates say.
      weights: `[num_columns, block_dim]` float32 array: those of the numeric covariates, then those
        of the tokens in the order of `models.content.token_presence`.
      intercept: `[block_dim]` float32 array.
      visits: What the prior of a direction is worth, in visits.
    """

    businesses: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    visits: float = 0.0

    @classmethod
    def fit(
        cls, businesses: EntityTable, blocks: np.ndarray, counts: np.ndarray
    ) -> "CandidatePrior":
        """Regresses what the tower says of visited businesses on their covariates.

        Args:
          businesses: All businesses.
          blocks: `[num_businesses, block_dim]` float32 array: what the tower says.
          counts: `[num_businesses]` array: training visits of each; at least one has some.

        Returns:
          The whole of what covariates promise: see `limited`.
        """
        numeric = scipy.sparse.csr_matrix(businesses.numeric.astype(np.float64))
        tokens = token_presence(businesses, sorted(businesses.vocabulary_sizes))
        columns = scipy.sparse.hstack([numeric, tokens], format="csr", dtype=np.float64)
        visited = columns[counts > 0]
        means, target = visited.mean(axis=0).A1, blocks[counts > 0].astype(np.float64)
        mean = target.mean(axis=0)
        # Centred, without laying out the columns: most of a row is zeros.
        moments = (visited.T @ visited).toarray() - len(target) * np.outer(means, means)
        moments[np.diag_indices_from(moments)] += _PENALTY
        weights = scipy.linalg.solve(moments, visited.T @ (target - mean), assume_a="pos")
        intercept = mean - means @ weights
        # The mean of exp(popularity) lies over exp of its mean, by half of a variance.
        left = target[:, -1] - visited @ weights[:, -1] - intercept[-1]
        intercept[-1] += 0.5 * np.square(left).mean()
        return cls(
            (columns @ weights + intercept).astype(np.float32),
            weights.astype(np.float32),
            intercept.astype(np.float32),
        )

    def limited(self, recipe: PriorRecipe) -> "CandidatePrior":
        """Returns as much of it as eval chose."""
        businesses, weights, intercept = (
            part.copy() for part in (self.businesses, self.weights, self.intercept)
        )
        if recipe.discount is None:
            businesses[:, -1], weights[:, -1], intercept[-1] = 0.0, 0.0, 0.0
        else:
            businesses[:, -1] -= recipe.discount
            intercept[-1] -= recipe.discount
        return CandidatePrior(businesses, weights, intercept, recipe.visits)


def blend(blocks: tf.Tensor, priors: tf.Tensor, counts: tf.Tensor, visits: float) -> tf.Tensor:
    """Weighs what was learnt of businesses against what their covariates say.

    Args:
      blocks: `[batch, block_dim]` float32 tensor: what the tower says.
      priors: `[batch, block_dim]` float32 tensor: what covariates say.
      counts: `[batch]` float32 tensor: training visits of each.
      visits: What the prior of a direction is worth, in visits.

    Returns:
      `[batch, block_dim]` float32 tensor: of a business with n visits, the unit vector along n
      parts of the learnt direction and `visits` of the other, and the learnt popularity; of one
      without visits all that covariates say.
    """
    learnt, popularity = blocks[:, :-1], blocks[:, -1:]
    promised = unit_rows(priors[:, :-1])
    is_new = (counts == 0)[:, None]
    share = counts / tf.maximum(counts + visits, 1e-9)
    mixed = unit_rows(share[:, None] * learnt + (1.0 - share[:, None]) * promised)
    return tf.concat(
        [
            tf.where(is_new, promised, mixed),
            tf.where(is_new, tf.maximum(priors[:, -1:], 0.0), popularity),
        ],
        axis=1,
    )
