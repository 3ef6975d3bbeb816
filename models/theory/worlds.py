"""Worlds where the paper's model is the truth: smooth maps of hidden coordinates, and ratings.

An entity's hidden coordinates z lie in a cube of dimension d. Its covariates are a curved image of
them in a space of D columns, its embedding a random series of z of known smoothness β, and a rating
is the inner product of two embeddings plus noise.

Source: arXiv 2403.00802, section 3.
"""

import dataclasses

import numpy as np

from models.tables import Interactions

_NUM_TERMS = 512
# Of the cube's side: over which distance the maps change.
_LENGTH_SCALE = 0.5
_CALIBRATION_ROWS = 4_096
_BLOCK_ROWS = 8_192


@dataclasses.dataclass(frozen=True)
class RandomSeries:
    """Random cosine series, each output a draw of a Gaussian process of Matérn covariance.

    Frequencies are drawn from the process's spectral density, which falls as |ω|^-(2β + d): draws
    have just less than β derivatives, in Hölder's sense.

    Source: Rahimi and Recht, "Random features for large-scale kernel machines" (2007); Rasmussen
    and Williams, "Gaussian processes for machine learning" (2006), section 4.2.

    Attributes:
      frequencies: `[num_outputs, num_terms, dim]` float64 array, in radians.
      phases: `[num_outputs, num_terms]` float64 array, in radians.
      means: `[num_outputs]` float64 array: what is taken off the sums.
      scales: `[num_outputs]` float64 array: what they are then divided by, so that an output has
        mean 0 and variance 1 over the cube.
    """

    frequencies: np.ndarray
    phases: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    @classmethod
    def draw(
        cls, rng: np.random.Generator, dim: int, smoothness: float, num_outputs: int
    ) -> "RandomSeries":
        """Draws a map.

        Args:
          rng: Source of everything random.
          dim: d, coordinates of a point.
          smoothness: β.
          num_outputs: Values a point is mapped to.
        """
        normal = rng.normal(size=(num_outputs, _NUM_TERMS, dim))
        # Divided by the root of a chi-square over its degrees: multivariate t, the Matérn's.
        tails = rng.chisquare(2.0 * smoothness, (num_outputs, _NUM_TERMS)) / (2.0 * smoothness)
        frequencies = normal / np.sqrt(tails)[:, :, None] / _LENGTH_SCALE
        phases = rng.uniform(0, 2 * np.pi, (num_outputs, _NUM_TERMS))
        raw = cls(frequencies, phases, np.zeros(num_outputs), np.ones(num_outputs))
        values = raw(rng.random((_CALIBRATION_ROWS, dim)))
        return dataclasses.replace(raw, means=values.mean(axis=0), scales=values.std(axis=0))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Maps `[num_points, dim]` points to `[num_points, num_outputs]` float64 values."""
        values = np.empty([len(points), len(self.scales)])
        for start in range(0, len(points), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            for output, (frequencies, phases) in enumerate(
                zip(self.frequencies, self.phases, strict=True)
            ):
                values[rows, output] = np.cos(points[rows] @ frequencies.T + phases).sum(axis=1)
        return (values - self.means) / self.scales


def embed_cube(points: np.ndarray, ambient: int, rng: np.random.Generator) -> np.ndarray:
    """Bends a cube into a space of more dimensions: its intrinsic dimension stays.

    Each coordinate becomes half a circle, and all of them are turned at random; then columns are
    scaled to mean 0 and variance 1, as Transform scales covariates.

    Args:
      points: `[num_points, dim]` array in the cube [0, 1]^dim.
      ambient: D, columns of the result; at least twice dim.
      rng: Source of the turn.

    Returns:
      `[num_points, ambient]` float32 array.

    Raises:
      ValueError: If the space is too small.
    """
    dim = points.shape[1]
    if ambient < 2 * dim:
        raise ValueError(
            f"Expected at least {2 * dim} columns for {dim} dimensions; got {ambient}."
        )
    angles = np.pi * points
    circles = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(ambient, 2 * dim)))
    covariates = circles @ turn.T
    return ((covariates - covariates.mean(axis=0)) / covariates.std(axis=0)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class WorldOptions:
    """What a world is like.

    Attributes:
      num_ratings: |Ω|, training ratings.
      user_dim: d_u, intrinsic dimension of the users.
      business_dim: d_i, of the businesses.
      ambient: D, columns of covariates on either side.
      smoothness: β of both maps.
      seed: Seed of everything; worlds that differ only in their number of ratings share the truth.
    """

    num_ratings: int
    user_dim: int = 2
    business_dim: int = 2
    ambient: int = 16
    smoothness: float = 2.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class World:
    """Covariates and ratings.

    Attributes:
      user_covariates: `[num_users, ambient]` float32 array.
      business_covariates: `[num_businesses, ambient]` float32 array.
      train: Noisy ratings to learn from.
      eval: Noisy ratings to stop by, of users and businesses that train does not know.
      test: The truth itself, without noise, of yet other users and businesses.
    """

    user_covariates: np.ndarray
    business_covariates: np.ndarray
    train: Interactions
    eval: Interactions
    test: Interactions


NUM_FACTORS = 2  # Coordinates of the true embeddings.
NOISE = 0.5  # Standard deviation; that of the truth is about 1.
_NUM_TEST = 10_000
_RATINGS_AN_ENTITY = 10


def draw_world(options: WorldOptions) -> World:
    """Draws a world: the same options give the same one.

    Each entity has ten training ratings on average, so that the number of rows seen grows with the
    ratings. Ratings to stop by and to judge by are of other entities: the theorem's error is over
    the distribution of the covariates.
    """
    num_eval = max(500, options.num_ratings // 10)
    counts = (options.num_ratings, num_eval, _NUM_TEST)
    sizes = [max(50, count // _RATINGS_AN_ENTITY) for count in counts]
    rng = np.random.default_rng([options.seed, options.num_ratings])
    covariates, embeddings = [], []
    for side, dim in enumerate((options.user_dim, options.business_dim)):
        truth_rng = np.random.default_rng([options.seed, side])
        series = RandomSeries.draw(truth_rng, dim, options.smoothness, NUM_FACTORS)
        points = rng.random((sum(sizes), dim))
        covariates.append(embed_cube(points, options.ambient, truth_rng))
        embeddings.append(series(points))
    splits = []
    for place, (count, noise) in enumerate(zip(counts, (NOISE, NOISE, 0.0), strict=True)):
        start, size = sum(sizes[:place]), sizes[place]
        users, businesses = (
            rng.integers(start, start + size, count).astype(np.int32) for _ in range(2)
        )
        truth = (embeddings[0][users] * embeddings[1][businesses]).sum(axis=1)
        stars = truth / np.sqrt(NUM_FACTORS) + noise * rng.normal(size=count)
        splits.append(Interactions(users, businesses, stars.astype(np.float32)))
    return World(covariates[0], covariates[1], *splits)
