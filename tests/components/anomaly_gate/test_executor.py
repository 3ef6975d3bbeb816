"""Statistics and validation are TFDV's own; only the verdict is ours."""

import os

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.anomaly_gate import executor
from models.errors import InputError
from schemas.loader import TABLES, load_schema

GOOD = {
    "interactions": {
        "review_id": ["r1", "r2"],
        "user_id": ["u1", "u2"],
        "business_id": ["b1", "b1"],
        "stars": [1.0, 5.0],
        "timestamp_seconds": [1_500_000_000, 1_600_000_000],
    },
    "users": {"user_id": ["u1", "u2"], "fans": [0, 3]},
    "businesses": {"business_id": ["b1"], "latitude_degrees": [33.5]},
}


def anomalies(tmp_path, changed: dict[str, dict]) -> dict[str, list]:
    """Validates a small frame of each table against its schema, as ExampleValidator does."""
    channels = {}
    for table in TABLES:
        frame = pd.DataFrame({**GOOD[table], **changed.get(table, {})})
        found = tfdv.validate_statistics(
            tfdv.generate_statistics_from_dataframe(frame), load_schema(table)
        )
        artifact = standard_artifacts.ExampleAnomalies()
        artifact.uri = str(tmp_path / table)
        artifact.split_names = artifact_utils.encode_split_names(["all"])
        os.makedirs(tmp_path / table / "Split-all")
        (tmp_path / table / "Split-all" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
        channels[table] = [artifact]
    return channels


def test_lets_good_tables_pass(tmp_path):
    executor.Executor().Do(anomalies(tmp_path, {}), {}, {})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"interactions": {"stars": [1.0, 7.0]}}, "interactions.stars (all split)"),
        ({"interactions": {"timestamp_seconds": [-1, 1]}}, "interactions.timestamp_seconds"),
        ({"users": {"fans": [-1, 3]}}, "users.fans"),
        ({"businesses": {"latitude_degrees": [123.0]}}, "businesses.latitude_degrees"),
        ({"businesses": {"surprise": ["x"]}}, "businesses.surprise"),
    ],
)
def test_names_the_feature_that_breaks_its_schema(tmp_path, changed, named):
    with pytest.raises(InputError) as caught:
        executor.Executor().Do(anomalies(tmp_path, changed), {}, {})
    assert named in str(caught.value)
    assert "schemas/*.pbtxt" in str(caught.value)


def test_names_every_table_that_breaks(tmp_path):
    changed = {"users": {"fans": [-1, 3]}, "interactions": {"stars": [0.0, 5.0]}}
    with pytest.raises(InputError, match=r"interactions\.stars.*users\.fans"):
        executor.Executor().Do(anomalies(tmp_path, changed), {}, {})


def test_only_errors_count():
    """TFDV also warns, for example of statistics that drift."""
    found = anomalies_pb2.Anomalies()
    for name, severity in (("fans", "WARNING"), ("useful", "ERROR"), ("cool", "UNKNOWN")):
        info = found.anomaly_info[name]
        info.severity = anomalies_pb2.AnomalyInfo.Severity.Value(severity)
        info.short_description, info.description = "Odd", f"{name} is odd."
    assert executor.describe(found, "users", "all") == [
        "users.useful (all split): Odd: useful is odd."
    ]
