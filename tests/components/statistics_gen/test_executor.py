"""What it writes is read by TFX's own ExampleValidator."""

import json
import logging
import shutil

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.types import artifact_utils, standard_artifacts

from components.statistics_gen import executor
from schemas.loader import schema_path

GOOD = {
    "review_id": [b"r"],
    "user_id": [b"u"],
    "business_id": [b"b"],
    "stars": [4.0],
    "timestamp_seconds": [1_500_000_000],
}


@pytest.fixture
def describe(tmp_path, write):
    """Runs the executor on rows by split; returns the statistics and the schema."""

    def run(rows: dict[str, list[dict]], max_rows: int):
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        examples.split_names = artifact_utils.encode_split_names(list(rows))
        for split, its_rows in rows.items():
            write(tmp_path / "examples" / f"Split-{split}" / "data", its_rows)
        schema = standard_artifacts.Schema()
        schema.uri = str(tmp_path / "schema")
        (tmp_path / "schema").mkdir()
        shutil.copy(schema_path("interactions"), tmp_path / "schema" / "schema.pbtxt")
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "statistics")
        executor.Executor().Do(
            {"examples": [examples], "schema": [schema]},
            {"statistics": [statistics]},
            {"max_rows": max_rows, "code_digest": ""},
        )
        return statistics, schema

    return run


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, set()),
        ({"stars": None}, {"stars"}),
        ({"stars": [4]}, {"stars"}),
        ({"stars": [6.0]}, {"stars"}),
        ({"timestamp_seconds": [-1]}, {"timestamp_seconds"}),
        ({"surprise": [b"x"]}, {"surprise"}),
    ],
)
def test_example_validator_finds_what_breaks_the_schema(tmp_path, describe, changed, names):
    broken = {key: values for key, values in {**GOOD, **changed}.items() if values}
    rows = [broken, broken] if changed.get("stars") == [4] else [GOOD, broken]
    statistics, schema = describe({"train": [GOOD, GOOD], "test": rows}, max_rows=2)
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    example_validator.Executor().Do(
        {"statistics": [statistics], "schema": [schema]},
        {"anomalies": [anomalies]},
        {"exclude_splits": "[]"},
    )
    found = {}
    for split in ("train", "test"):
        written = (tmp_path / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").read_bytes()
        found[split] = set(anomalies_pb2.Anomalies.FromString(written).anomaly_info)
    assert found == {"train": set(), "test": names}


def test_says_which_statistics_are_of_a_sample(describe, caplog):
    with caplog.at_level(logging.INFO, logger="t2rec"):
        statistics, _ = describe({"train": [GOOD] * 10, "test": [GOOD] * 5}, max_rows=5)
    rates = json.loads(statistics.get_json_value_custom_property("sample_rate_by_split"))
    assert rates == {"train": 0.5, "test": 1.0}
    (message,) = [record.message for record in caplog.records if record.name == "t2rec"]
    assert message == (
        "statistics of split train are of 5 of its 10 rows: proportions are within ±44.72% "
        "(95%); statistics.max_rows sets how many"
    )
