"""The low-pass block: where the graph of visits leads, in closed form.

The towers learn directions by descent; a low-pass filter on the graph of users and businesses makes
other mistakes. Its coordinates stand beside theirs in the retrieval block: it stays one inner
product, and a user is still known by their history alone.
"""

import dataclasses

import numpy as np
import scipy.sparse
import tensorflow as tf

from models.directions import sum_lists
from models.spectral import Spectrum
from models.tables import Bag

# Of a normalised incidence, how far those visited much are held down; and the ridge, as a share of
# its largest squared singular value. Both were best, or nearly, on the eval splits of four sets.
BUSINESS_EXPONENT = 0.25
_RIDGE = 0.15


@dataclasses.dataclass(frozen=True)
class LowPassRecipe:
    """What eval chose.

    Attributes:
      dim: Frequencies that pass; 0 for no block.
      user_exponent: How far users who visited much are held down: `models.spectral.incidence`.
      weight: Length of a user's coordinates, beside 1 / temperature of the learnt direction.
    """

    dim: int = 0
    user_exponent: float = 0.0
    weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class LowPass:
    """Coordinates of the businesses, and what makes a user's from their history.

    With s and V the leading singular values and right singular vectors of D_u^-a R D_i^-¼, a
    business is X_i = V_i √(s² / (s² + λ)), and a user the unit vector along Σ d_j^-¼ X_j over the
    history, times a weight: ridge regression of all visits on the history, in the few lowest
    frequencies.

    Source: Jin et al., "Towards a better understanding of linear models for recommendation" (2021)
    for the filter; that of Shen et al., "How powerful is graph convolution for recommendation?"
    (2021), equation 10, which lets all of them pass alike, is worse on all sets that were tried.

    Attributes:
      businesses: `[num_businesses, low_pass_dim]` float32 array; of those that were visited, the
        mean square length is 1; zeros of the others.
      history_weights: `[num_businesses]` float32 array: what the coordinates of each count in a
        history; empty for a block of dimension 0.
      weight: Length of a user's coordinates.
    """

    businesses: np.ndarray
    history_weights: np.ndarray
    weight: float

    @classmethod
    def none(cls, num_businesses: int) -> "LowPass":
        """Returns a block of dimension 0."""
        return cls(np.zeros([num_businesses, 0], np.float32), np.zeros(0, np.float32), 0.0)

    @classmethod
    def of(cls, spectrum: Spectrum, recipe: LowPassRecipe) -> "LowPass":
        """Lets the lowest frequencies pass.

        Args:
          spectrum: Of D_u^-a R D_i^-¼, with `recipe.dim` vectors at least.
          recipe: What eval chose.
        """
        squares = np.square(spectrum.values[: recipe.dim])
        ridge = max(_RIDGE * squares.max(initial=0.0), 1e-12)
        visited = (spectrum.counts > 0)[:, None]
        vectors = spectrum.vectors[:, : recipe.dim] * visited * np.sqrt(squares / (squares + ridge))
        mean_square = np.square(vectors).sum() / max(np.count_nonzero(visited), 1)
        vectors /= np.sqrt(max(mean_square, 1e-12))
        counts = np.maximum(spectrum.counts, 1).astype(np.float32)
        return cls(vectors, counts**-BUSINESS_EXPONENT, recipe.weight)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.businesses.shape[1]

    def users(self, histories: Bag) -> np.ndarray:
        """Computes users' coordinates, as `pass_histories` does for requests.

        Args:
          histories: Of each user, rows of businesses.

        Returns:
          `[num_users, low_pass_dim]` float32 array; zeros for an empty history.
        """
        if not self.dim:  # Every look at a model in training comes by here, without a block.
            return np.zeros([histories.num_rows, 0], np.float32)
        weights = self.history_weights[histories.values]
        shape = (histories.num_rows, len(self.businesses))
        visits = scipy.sparse.csr_matrix((weights, histories.values, histories.row_splits), shape)
        sums = visits @ self.businesses
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return sums * np.float32(self.weight) / np.maximum(lengths, np.float32(1e-9))


def pass_histories(vectors: tf.RaggedTensor, weights: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Computes users' coordinates from their histories.

    Args:
      vectors: `[batch, None, low_pass_dim]` float32 ragged tensor: the coordinates of the
        businesses of each history.
      weights: `[num_visits]` float32 tensor: what each of them counts.
      weight: Length of the result.

    Returns:
      `[batch, low_pass_dim]` float32 tensor; zeros for an empty history.
    """
    sums = sum_lists(vectors.with_values(vectors.values * weights[:, None]))
    lengths = tf.math.reduce_euclidean_norm(sums, axis=1, keepdims=True)
    return sums * weight / tf.maximum(lengths, 1e-9)
