"""Stops the run where the data breaks its schema."""

import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from models.errors import InputError
from schemas.loader import TABLES

_ANOMALIES_FILE = "SchemaDiff.pb"


class Executor(base_executor.BaseExecutor):
    """Reads the anomalies of all tables and raises if there are any."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks every split of every table.

        Args:
          input_dict: ExampleAnomalies by table.
          output_dict: Empty.
          exec_properties: None that matter.

        Raises:
          InputError: If a feature does not conform to its schema.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        found = []
        for table in TABLES:
            artifact = artifact_utils.get_single_instance(input_dict[table])
            for split in artifact_utils.decode_split_names(artifact.split_names):
                path = os.path.join(artifact.uri, f"Split-{split}", _ANOMALIES_FILE)
                anomalies = anomalies_pb2.Anomalies.FromString(io_utils.read_bytes_file(path))
                found += describe(anomalies, table, split)
        if found:
            raise InputError(
                f"Expected data that conforms to schemas/*.pbtxt; got {'; '.join(found)}. Correct "
                "the data, or the schema if the data is right."
            )


def describe(anomalies: anomalies_pb2.Anomalies, table: str, split: str) -> list[str]:
    """Puts anomalies of severity ERROR into words, one a feature.

    Args:
      anomalies: What ExampleValidator wrote for one split.
      table: Name of the table.
      split: Name of the split.
    """
    return [
        f"{table}.{feature} ({split} split): {info.short_description}: {info.description}"
        for feature, info in sorted(anomalies.anomaly_info.items())
        if info.severity == anomalies_pb2.AnomalyInfo.ERROR
    ]
