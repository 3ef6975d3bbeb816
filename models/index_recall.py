"""What an approximate search finds of the true neighbours."""

import dataclasses

import numpy as np

# Standard errors that a 95 % interval reaches to either side.
_INTERVAL = 1.96


@dataclasses.dataclass(frozen=True)
class Recall:
    """The share of exact neighbours that an index finds, with its uncertainty.

    Attributes:
      mean: Over queries.
      error: Its standard error.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, recalls: np.ndarray) -> "Recall":
        """Estimates it from `[num_queries]` recalls, at least one."""
        return cls(float(recalls.mean()), float(recalls.std() / len(recalls) ** 0.5))

    def falls_short(self, target: float) -> bool:
        """Tells whether the whole 95 % interval is below a target."""
        return self.mean + _INTERVAL * self.error < target

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {_INTERVAL * self.error:.4f}"


def recall_against_exact(approximate: np.ndarray, exact: np.ndarray) -> float:
    """Computes the share of exact neighbours that approximate lists found.

    Args:
      approximate: `[num_queries, k]` array of ids or rows.
      exact: `[num_queries, k]` array of the same kind.
    """
    return float(recalls_against_exact(approximate, exact).mean())


def recalls_against_exact(approximate: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Computes `recall_against_exact` by query, a `[num_queries]` float64 array."""
    found = [len(np.intersect1d(a, e)) for a, e in zip(approximate, exact, strict=True)]
    return np.array(found) / exact.shape[1]
