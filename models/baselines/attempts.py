"""Fits a baseline, or says why it was left out: what is too large, or fails, stops nothing else."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from models import machine
from models.baselines import registry
from models.baselines.interface import BaselineData, Cost

_LOG = logging.getLogger("t2rec")

Output = TypeVar("Output")

_GIGABYTE = 1e9
# One trial and the final fit.
_MIN_FITS = 2


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one baseline may take.

    Attributes:
      seconds: Expected time of its fits and predictions, tuning beyond the first trial aside.
      num_bytes: Expected memory at the peak.
    """

    seconds: float
    num_bytes: float


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A baseline that gave nothing.

    Attributes:
      reason: Why, for the report.
    """

    reason: str


@dataclasses.dataclass(frozen=True)
class Attempted(Generic[Output]):
    """A baseline that was fitted and applied.

    Attributes:
      model: The fitted model.
      eval_loss: See `interface.Fitted`.
      output: What was wanted of it.
    """

    model: Any
    eval_loss: float
    output: Output


def attempt(
    place: str, data: BaselineData, limits: Limits, apply: Callable[[Any], Output]
) -> Attempted[Output] | Skipped:
    """Fits a baseline and applies it, unless it would take too much or fails.

    Args:
      place: A value of `registry.RATING` or `registry.RETRIEVAL`.
      data: What to learn from.
      limits: What it may take.
      apply: Asks the fitted model for what is wanted of it, an array.

    Returns:
      The model and what `apply` returned, or why there is nothing.
    """
    try:
        baseline = registry.load(place)
        reason = excess(baseline.cost(data), limits)
        if reason:
            return Skipped(reason)
        fitted = baseline.fit(data)
        output = apply(fitted.model)
        if not np.isfinite(output).all():  # type: ignore[call-overload]
            return Skipped("it failed: its predictions are not all finite")
    except Exception as error:
        _LOG.warning("%s failed", place, exc_info=True)
        return Skipped(f"it failed: {type(error).__name__}: {error}")
    return Attempted(fitted.model, float(fitted.eval_loss), output)


def excess(cost: Cost, limits: Limits) -> str:
    """Says by how much a baseline is beyond the limits, "" if it is not.

    Args:
      cost: What it is expected to take.
      limits: What it may take; nor may it take more memory than is free.
    """
    seconds, free = _MIN_FITS * cost.seconds, machine.available_bytes()
    gigabytes = f"it would take about {cost.num_bytes / _GIGABYTE:,.1f} GB of memory"
    if cost.num_bytes > limits.num_bytes:
        allowed = limits.num_bytes / _GIGABYTE
        return f"{gigabytes}; baselines.max_memory_gb allows {allowed:,.1f}"
    if cost.num_bytes > free:
        return f"{gigabytes}; {free / _GIGABYTE:,.1f} are free"
    if seconds > limits.seconds:
        allowed = limits.seconds
        return f"it would take about {seconds:,.0f} s; baselines.max_seconds allows {allowed:,.0f}"
    return ""
