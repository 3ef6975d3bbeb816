"""Intrinsic dimension: along how many directions rows of covariates really vary.

Twenty columns that are all functions of two hidden numbers fill a surface, not a cube: their
intrinsic dimension is 2. It shows in how fast the distances to a row's neighbours grow.
"""

import dataclasses
import math

import numpy as np

# With fewer distinct rows an estimate says more about the sample than about the covariates.
MIN_ROWS = 50
MAX_ROWS = 4_000
# Rows that are looked at to find that many distinct ones.
_SAMPLED_ROWS = 4 * MAX_ROWS
_NUM_NEIGHBOURS = 20
_LEAST_DEVIATION = 1e-6


@dataclasses.dataclass(frozen=True)
class IntrinsicDimension:
    """What two estimators say about one set of rows.

    Attributes:
      two_nn: Estimate from the ratio of each row's second to first neighbour distance; None where
        the rows do not permit one.
      mle: Maximum likelihood estimate from the distances to 20 neighbours, likewise.
      num_rows: Distinct finite rows that were used.
      num_columns: Columns that vary among them; no estimate is larger.
    """

    two_nn: float | None
    mle: float | None
    num_rows: int
    num_columns: int

    @property
    def value(self) -> float | None:
        """Mean of both estimates; None if there is none."""
        known = [estimate for estimate in (self.two_nn, self.mle) if estimate is not None]
        return sum(known) / len(known) if known else None

    def __str__(self) -> str:
        if self.value is None:
            return f"unknown ({self.num_rows} distinct rows, {self.num_columns} columns vary)"
        told = [
            f"{name} {estimate:.1f}"
            for name, estimate in (("TwoNN", self.two_nn), ("MLE", self.mle))
            if estimate is not None
        ]
        return f"{self.value:.1f} of {self.num_columns} ({', '.join(told)})"


def estimate_dimension(rows: np.ndarray, seed: int = 0) -> IntrinsicDimension:
    """Estimates the intrinsic dimension of rows, by a bounded sample of them.

    Rows that are not finite, repeated rows and constant columns are left out: a repeated row has
    a neighbour at distance 0, which no estimator survives.

    Source: Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information" (2017); Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension"
    (2005), averaged as MacKay and Ghahramani propose.

    Args:
      rows: `[num_rows, num_columns]` float array.
      seed: Seed of the sample.

    Returns:
      The estimates, between 1 and the number of columns that vary; without any if less than
      `MIN_ROWS` rows are left or no column varies.
    """
    rng = np.random.default_rng(seed)
    if len(rows) > _SAMPLED_ROWS:
        rows = rows[rng.choice(len(rows), _SAMPLED_ROWS, replace=False)]
    rows = np.asarray(rows, np.float64)
    rows = np.unique(rows[np.isfinite(rows).all(axis=1)], axis=0)
    if len(rows) > MAX_ROWS:
        rows = rows[rng.choice(len(rows), MAX_ROWS, replace=False)]
    if len(rows):
        rows = rows[:, rows.std(axis=0) > _LEAST_DEVIATION]
    num_rows, num_columns = rows.shape
    if num_rows < MIN_ROWS or not num_columns:
        return IntrinsicDimension(None, None, num_rows, num_columns)
    if num_columns == 1:
        return IntrinsicDimension(1.0, 1.0, num_rows, num_columns)
    two_nn, mle = _estimate(rows)
    return IntrinsicDimension(
        _bounded(two_nn, num_columns), _bounded(mle, num_columns), num_rows, num_columns
    )


def _estimate(rows: np.ndarray) -> tuple[float, float]:
    """Runs both estimators on the same neighbours."""
    import skdim  # Seconds of imports that only whoever estimates should pay for.

    distances, places = skdim.get_nn(rows, k=_NUM_NEIGHBOURS)
    # Distinct rows may still be as good as equal, once a column that did not vary is gone.
    apart = distances[:, 0] > 0
    distances, places = distances[apart], places[apart]
    if len(distances) < MIN_ROWS:
        return math.nan, math.nan
    # On a grid of values, whole neighbourhoods may be equally far: a division by zero that
    # `_bounded` answers.
    with np.errstate(divide="ignore", invalid="ignore"):
        two_nn = skdim.id.TwoNN(dist=True).fit(distances[:, :2]).dimension_
        mle = (
            skdim.id.MLE().fit(rows, precomputed_knn_arrays=(distances, places), comb="mle")
        ).dimension_
    return float(two_nn), float(mle)


def _bounded(estimate: float, num_columns: int) -> float | None:
    if math.isnan(estimate):
        return None
    return min(max(estimate, 1.0), float(num_columns))
