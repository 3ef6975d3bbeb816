"""Imports the schema of a table that this package holds."""

from typing import Any

from tfx import types
from tfx.components.schema_gen.import_schema_gen import executor
from tfx.types import standard_component_specs

from schemas import loader

TABLE_KEY = "table"


class Executor(executor.Executor):
    """Runs TFX's ImportSchemaGen on a table's schema.

    Its path is looked up where the component runs: another machine has it elsewhere.
    """

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies the schema.

        Args:
          input_dict: Empty.
          output_dict: `schema`.
          exec_properties: `table`; `code_digest` is for TFX's cache only.

        Raises:
          ValueError: If there is no such table.
        """
        path = loader.schema_path(exec_properties[TABLE_KEY])
        super().Do(input_dict, output_dict, {standard_component_specs.SCHEMA_FILE_KEY: path})
