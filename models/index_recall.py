"""What an approximate search finds of the true neighbours."""

import dataclasses

import numpy as np

# Standard errors that a 95 % interval reaches to either side.
_INTERVAL = 1.96
# What float32 sums of the same products may differ by, relative to the score.
_ROUNDING = 1e-5


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
      approximate: `[num_queries, k]` array of ids or rows, of a catalogue without ties.
      exact: `[num_queries, k]` array of the same kind.
    """
    found = [len(np.intersect1d(a, e)) for a, e in zip(approximate, exact, strict=True)]
    return float(np.mean(found) / exact.shape[1])


def recalls_by_score(approximate: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Computes the share of places of each list that hold something as good as the best k.

    Where candidates tie at the end of an exact list, as businesses of which nothing is known do,
    it is chance which of them it holds; another of the same score is as right.

    Args:
      approximate: `[num_queries, k]` array of the scores of distinct candidates, -inf for none.
      exact: `[num_queries, k]` array of the scores of the true best, best first.

    Returns:
      `[num_queries]` float64 array.
    """
    last = exact[:, -1:].astype(np.float64)
    return (approximate >= last - _ROUNDING * np.maximum(1.0, np.abs(last))).mean(axis=1)
