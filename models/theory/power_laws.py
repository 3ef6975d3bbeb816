"""Fits power laws: the slope of a line on log-log axes, with its interval."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """The exponent of y ∝ x^exponent.

    Attributes:
      exponent: The slope.
      low: Lower end of its 95 % interval; -inf if there are too few points for one.
      high: Upper end; inf likewise.
      num_points: Points that it was fitted on.
    """

    exponent: float
    low: float
    high: float
    num_points: int

    def holds(self, exponent: float) -> bool:
        """Tells whether an exponent is inside the interval."""
        return self.low <= exponent <= self.high

    def __str__(self) -> str:
        return f"{self.exponent:.2f} [{self.low:.2f}, {self.high:.2f}]"


def fit_power_law(x: Sequence[float], y: Sequence[float], groups: Sequence[int]) -> PowerLaw:
    """Fits one exponent to several curves, each with a constant of its own.

    Least squares of log y on log x after both are centred within their group; Student's interval.

    Args:
      x: `[num_points]` positive numbers.
      y: `[num_points]` positive numbers.
      groups: `[num_points]`: which curve each point belongs to, such as its seed.

    Raises:
      ValueError: If a value is not positive or x never varies within a group.
    """
    log_x, log_y = np.asarray(x, float), np.asarray(y, float)
    if not (log_x > 0).all() or not (log_y > 0).all():
        raise ValueError("Expected positive values for a power law; got some that are not.")
    log_x, log_y = np.log(log_x), np.log(log_y)
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(places)
    log_x = log_x - (np.bincount(places, log_x) / counts)[places]
    log_y = log_y - (np.bincount(places, log_y) / counts)[places]
    spread = float(log_x @ log_x)
    if spread < 1e-12:
        raise ValueError("Expected at least two different x in a group; got one.")
    slope = float(log_x @ log_y) / spread
    freedom = len(log_x) - len(counts) - 1
    half = np.inf
    if freedom > 0:
        variance = float(np.square(log_y - slope * log_x).sum()) / freedom
        half = float(stats.t.ppf(0.975, freedom)) * np.sqrt(variance / spread)
    return PowerLaw(slope, slope - half, slope + half, len(log_x))
