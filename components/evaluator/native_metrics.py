"""Metrics that TensorFlow Model Analysis looks up by module and class.

Those that it has itself will not do: Keras' take most of a minute for a thousand ratings with
intervals, and its own mean absolute error (0.47.1) counts the first of the accumulators that it
merges twice.
"""

import math
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

# Of ratings: how many, and the sums of squared and of absolute errors.
_Sums = tuple[float, float, float]


class _SumErrors(beam.CombineFn):
    """Sums the errors of ratings, in stars."""

    def __init__(self, key: metric_types.MetricKey, eval_config: tfma.EvalConfig):
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> _Sums:
        return 0.0, 0.0, 0.0

    def add_input(self, sums: _Sums, element: metric_types.StandardMetricInputs) -> _Sums:
        count, squared, absolute = sums
        for label, prediction, _ in metric_util.to_label_prediction_example_weight(
            element, eval_config=self._eval_config, model_name=self._key.model_name
        ):
            error = prediction.item() - label.item()
            count, squared, absolute = count + 1, squared + error * error, absolute + abs(error)
        return count, squared, absolute

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        count, squared, absolute = map(math.fsum, zip(*accumulators, strict=True))
        return count, squared, absolute

    def extract_output(self, sums: _Sums) -> dict[metric_types.MetricKey, _Sums]:
        return {self._key: sums}


class _StarsError(metric_types.Metric):
    """What follows from the sums of errors."""

    def __init__(self, name: str):
        """Names the metric."""
        super().__init__(metric_util.merge_per_key_computations(self._compute), name=name)

    @staticmethod
    def _value(sums: _Sums) -> float:
        raise NotImplementedError

    @classmethod
    def _compute(
        cls, name: str, eval_config: tfma.EvalConfig, model_name: str = "", **_: Any
    ) -> metric_types.MetricComputations:
        key = metric_types.MetricKey(name=name, model_name=model_name)
        # The same for all of these metrics, and so made only once.
        sums = metric_types.MetricKey(name="_stars_errors", model_name=model_name)
        return [
            metric_types.MetricComputation([sums], None, _SumErrors(sums, eval_config)),
            metric_types.DerivedMetricComputation(
                [key], lambda found: {key: cls._value(found[sums])}
            ),
        ]


class RootMeanSquaredStars(_StarsError):
    """Computes the root mean squared error, in stars; NaN of no rating."""

    @staticmethod
    def _value(sums: _Sums) -> float:
        count, squared, _ = sums
        return math.sqrt(squared / count) if count else math.nan


class MeanAbsoluteStars(_StarsError):
    """Computes the mean absolute error, in stars; NaN of no rating."""

    @staticmethod
    def _value(sums: _Sums) -> float:
        count, _, absolute = sums
        return absolute / count if count else math.nan
