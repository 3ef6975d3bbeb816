"""Runs the statistics of a table as a TFX executor."""

import logging
import os
from typing import Any

from tfx import types
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, json_utils

from components.examples import split_files
from components.statistics_gen import table_statistics

EXAMPLES_KEY = "examples"
SCHEMA_KEY = "schema"
STATISTICS_KEY = "statistics"
MAX_ROWS_KEY = "max_rows"
CODE_DIGEST_KEY = "code_digest"

_LOG = logging.getLogger("t2rec")


class Executor(base_executor.BaseExecutor):
    """Writes the statistics of every split where ExampleValidator looks for them."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Computes the statistics; logs which are of a sample, and how far they may be off.

        Args:
          input_dict: `examples` (Examples) of one table, and its `schema` (Schema).
          output_dict: `statistics` (ExampleStatistics) with the same splits; the property
            `sample_rate_by_split` tells the share of rows that was seen.
          exec_properties: `max_rows`; `code_digest` is for TFX's cache only.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        statistics = artifact_utils.get_single_instance(output_dict[STATISTICS_KEY])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict[SCHEMA_KEY]))
        )
        splits = artifact_utils.decode_split_names(examples.split_names)
        statistics.split_names = artifact_utils.encode_split_names(splits)
        statistics.span = examples.span
        sample_rates = {}
        for split in splits:
            found = table_statistics.describe(
                split_files([examples], split), schema, exec_properties[MAX_ROWS_KEY]
            )
            folder = artifact_utils.get_split_uri([statistics], split)
            io_utils.write_bytes_file(
                os.path.join(folder, statistics_gen.DEFAULT_FILE_NAME),
                found.proto.SerializeToString(),
            )
            sample_rates[split] = found.num_sampled / found.num_rows if found.num_rows else 1.0
            if found.margin:
                _LOG.info(
                    "statistics of split %s are of %s of its %s rows: proportions are within "
                    "±%.2f%% (95%%); statistics.max_rows sets how many",
                    split,
                    f"{found.num_sampled:,}",
                    f"{found.num_rows:,}",
                    100 * found.margin,
                )
        statistics.set_json_value_custom_property(
            statistics_gen.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, json_utils.dumps(sample_rates)
        )
