"""Statistics of a run's tables in short, and how far two runs' are apart."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from models import features

# Every row has another one.
_IDS = frozenset({features.REVIEW_ID, features.USER_ID, features.BUSINESS_ID})
_MAX_VALUES = 10
_FILE = "FeatureStats.pb"


def summarise(statistics: list[types.Artifact]) -> dict[str, Any]:
    """Reads the statistics of one table.

    Args:
      statistics: An ExampleStatistics artifact, alone in its list.

    Returns:
      By split, `num_rows` and `features`: by name, `missing`, the share of rows without it, and of
      a number its `mean` and 11 `quantiles`, of a string the shares of its most frequent `values`.
    """
    (artifact,) = statistics
    told = {}
    for split in artifact_utils.decode_split_names(artifact.split_names):
        path = os.path.join(artifact_utils.get_split_uri(statistics, split), _FILE)
        found = statistics_pb2.DatasetFeatureStatisticsList()
        with fileio.open(path, "rb") as file:
            found.ParseFromString(file.read())
        (dataset,) = found.datasets
        told[split] = {
            "num_rows": int(dataset.num_examples),
            "features": {
                name: _summarise_feature(feature, dataset.num_examples)
                for feature in dataset.features
                if (name := feature.path.step[-1]) not in _IDS
            },
        }
    return told


def _summarise_feature(
    feature: statistics_pb2.FeatureNameStatistics, num_rows: int
) -> dict[str, Any]:
    kind = feature.WhichOneof("stats")
    common = getattr(feature, kind).common_stats
    told: dict[str, Any] = {"missing": round(1.0 - common.num_non_missing / max(num_rows, 1), 6)}
    if kind == "num_stats":
        for histogram in feature.num_stats.histograms:
            if histogram.type == statistics_pb2.Histogram.QUANTILES and histogram.buckets:
                buckets = histogram.buckets
                edges = [buckets[0].low_value, *(bucket.high_value for bucket in buckets)]
                told["quantiles"] = [round(float(edge), 6) for edge in edges]
        told["mean"] = round(float(feature.num_stats.mean), 6)
    elif kind == "string_stats":
        total = max(sum(b.sample_count for b in feature.string_stats.rank_histogram.buckets), 1)
        told["values"] = {
            value.value: round(value.frequency / total, 6)
            for value in list(feature.string_stats.top_values)[:_MAX_VALUES]
        }
    return told


def drift(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compares the statistics of two runs.

    Args:
      now: By table, what `summarise` told of this run.
      before: Likewise of the earlier one.

    Returns:
      The features of both, the farthest apart first: `table`, `split`, `feature` and `distance`,
      the largest difference of shares: of missing values, of any frequent value, or of what lies
      under any number (the Kolmogorov-Smirnov statistic).
    """
    found = []
    for table, splits in now.items():
        for split, told in splits.items():
            earlier = before.get(table, {}).get(split, {}).get("features", {})
            for name, feature in told["features"].items():
                if name in earlier:
                    distance = _distance(feature, earlier[name])
                    found.append({
                        "table": table,
                        "split": split,
                        "feature": name,
                        "distance": round(distance, 4),
                    })
    return sorted(found, key=lambda row: -row["distance"])


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    distances = [abs(one["missing"] - other["missing"])]
    if "values" in one and "values" in other:
        keys = {*one["values"], *other["values"]}
        distances += [abs(one["values"].get(k, 0.0) - other["values"].get(k, 0.0)) for k in keys]
    if "quantiles" in one and "quantiles" in other:
        distances.append(_largest_gap(one["quantiles"], other["quantiles"]))
    return max(distances)


def _largest_gap(one: list[float], other: list[float]) -> float:
    """Returns the largest difference of two distributions that are given by their quantiles."""
    places = np.union1d(one, other)
    shares = []
    for quantiles in (one, other):
        # A value that fills several quantiles is reached at the last of them.
        edges, first = np.unique(quantiles[::-1], return_index=True)
        last = len(quantiles) - 1 - first
        shares.append(np.interp(places, edges, last / (len(quantiles) - 1), left=0.0, right=1.0))
    return float(np.abs(shares[0] - shares[1]).max())
