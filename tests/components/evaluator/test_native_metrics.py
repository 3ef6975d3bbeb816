import math

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.testing.util import assert_that
from google.protobuf import text_format

from components.evaluator.native_metrics import MeanAbsoluteStars, RootMeanSquaredStars

STARS = np.array([1.0, 2.0, 5.0, 4.0], np.float32)
RATINGS = np.array([1.5, 2.0, 3.0, 5.0], np.float32)  # Errors .5, 0, -2, 1.
EVAL_CONFIG = text_format.Parse(
    'model_specs { name: "ours" label_key: "stars" prediction_key: "rating" }', tfma.EvalConfig()
)


def computations(metric):
    return metric.computations(eval_config=EVAL_CONFIG, model_names=["ours"])


def inputs(star, rating):
    return tfma.metrics.StandardMetricInputs({
        "labels": {"ours": np.array([star])},
        "predictions": {"ours": np.array([rating])},
    })


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (RootMeanSquaredStars(name="rmse"), math.sqrt((0.25 + 4 + 1) / 4)),
        (MeanAbsoluteStars(name="mae"), 3.5 / 4),
    ],
)
class TestStarsErrors:
    def test_by_hand_however_accumulators_are_merged(self, metric, expected):
        sums, derived = computations(metric)
        combiner = sums.combiner
        for parts in ([4], [1, 3], [0, 2, 2], [1, 1, 1, 1]):
            accumulators, start = [], 0
            for length in parts:
                accumulator = combiner.create_accumulator()
                for row in range(start, start + length):
                    accumulator = combiner.add_input(accumulator, inputs(STARS[row], RATINGS[row]))
                accumulators.append(accumulator)
                start += length
            found = combiner.extract_output(combiner.merge_accumulators(accumulators))
            assert derived.result(found)[derived.keys[0]] == pytest.approx(expected, rel=1e-12)

    def test_of_no_rating_it_is_not_a_number(self, metric, expected):
        sums, derived = computations(metric)
        found = sums.combiner.extract_output(sums.combiner.create_accumulator())
        assert math.isnan(derived.result(found)[derived.keys[0]])

    def test_in_a_real_pipeline(self, metric, expected):
        sums, derived = computations(metric)

        def check(outputs):
            (found,) = outputs
            assert derived.result(found)[derived.keys[0]] == pytest.approx(expected, rel=1e-12)

        with beam.Pipeline() as pipeline:
            found = (
                pipeline
                | beam.Create([inputs(s, r) for s, r in zip(STARS, RATINGS, strict=True)])
                | beam.CombineGlobally(sums.combiner)
            )
            assert_that(found, check)


def test_both_metrics_need_the_same_sums_once():
    (one, _), (other, _) = map(
        computations, (RootMeanSquaredStars(name="rmse"), MeanAbsoluteStars(name="mae"))
    )
    assert one == other
