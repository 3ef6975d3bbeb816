import os

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.report.statistics import drift, summarise


def test_summarises_what_statistics_gen_wrote(tmp_path):
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(tmp_path)
    artifact.split_names = artifact_utils.encode_split_names(["train"])
    found = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = found.datasets.add(num_examples=8)
    stars = dataset.features.add()
    stars.path.step.append("stars")
    stars.num_stats.common_stats.num_non_missing = 6
    stars.num_stats.mean = 3.5
    histogram = stars.num_stats.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
    histogram.buckets.add(low_value=1.0, high_value=3.0)
    histogram.buckets.add(low_value=3.0, high_value=5.0)
    city = dataset.features.add()
    city.path.step.append("city")
    city.string_stats.common_stats.num_non_missing = 8
    city.string_stats.top_values.add(value="Reno", frequency=6)
    city.string_stats.rank_histogram.buckets.add(sample_count=6)
    city.string_stats.rank_histogram.buckets.add(sample_count=2)
    dataset.features.add().path.step.append("user_id")
    folder = artifact_utils.get_split_uri([artifact], "train")
    os.makedirs(folder)
    with open(os.path.join(folder, "FeatureStats.pb"), "wb") as file:
        file.write(found.SerializeToString())
    assert summarise([artifact]) == {
        "train": {
            "num_rows": 8,
            "features": {
                "stars": {"missing": 0.25, "quantiles": [1.0, 3.0, 5.0], "mean": 3.5},
                "city": {"missing": 0.0, "values": {"Reno": 0.75}},
            },
        }
    }


def table(**features):
    return {"users": {"all": {"num_rows": 9, "features": features}}}


def distance(one, other):
    (row,) = drift(table(x=one), table(x=other))
    return row["distance"]


def test_nothing_drifts_from_itself():
    number = {"missing": 0.1, "quantiles": [1.0, 1.0, 2.0, 5.0]}
    assert distance(number, number) == 0.0
    assert (
        distance({"missing": 0.1, "values": {"a": 0.5}}, {"missing": 0.1, "values": {"a": 0.5}})
        == 0
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"missing": 0.4}, {"missing": 0.1}, 0.3),
        ({"missing": 0.0, "values": {"a": 0.7}}, {"missing": 0.0, "values": {"b": 0.6}}, 0.7),
        # All of one lies under all of the other.
        (
            {"missing": 0.0, "quantiles": [0.0, 1.0, 2.0]},
            {"missing": 0.0, "quantiles": [5.0, 6.0, 7.0]},
            1.0,
        ),
        # Uniform on 0 to 4 and on 2 to 6: at 2 it is ½ against 0, at 4 it is 1 against ½.
        (
            {"missing": 0.0, "quantiles": [0.0, 1.0, 2.0, 3.0, 4.0]},
            {"missing": 0.0, "quantiles": [2.0, 3.0, 4.0, 5.0, 6.0]},
            0.5,
        ),
    ],
)
def test_distances_by_hand(one, other, expected):
    assert distance(one, other) == pytest.approx(expected)
    assert distance(other, one) == pytest.approx(expected)


def test_the_farthest_comes_first_and_new_features_are_left_out():
    before = table(a={"missing": 0.0}, b={"missing": 0.0})
    now = table(a={"missing": 0.1}, b={"missing": 0.6}, c={"missing": 0.9})
    assert [row["feature"] for row in drift(now, before)] == ["b", "a"]
    assert drift(now, {}) == []
