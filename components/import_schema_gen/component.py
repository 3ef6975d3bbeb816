"""Declares ImportSchemaGen to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.import_schema_gen import executor

SCHEMA_KEY = standard_component_specs.SCHEMA_KEY
CODE_DIGEST_KEY = "code_digest"


class ImportSchemaGenSpec(component_spec.ComponentSpec):
    """Declares the parameters and the output of ImportSchemaGen."""

    PARAMETERS = {
        executor.TABLE_KEY: component_spec.ExecutionParameter(type=str),
        CODE_DIGEST_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class ImportSchemaGen(base_component.BaseComponent):
    """Imports the hand-written schema of a table."""

    SPEC_CLASS = ImportSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, table: str, code_digest: str = ""):
        """Declares the component.

        Args:
          table: One of `schemas.loader.TABLES`.
          code_digest: A digest of the schemas; part of the cache key.
        """
        super().__init__(
            ImportSchemaGenSpec(**{
                executor.TABLE_KEY: table,
                CODE_DIGEST_KEY: code_digest,
                SCHEMA_KEY: types.Channel(type=standard_artifacts.Schema),
            })
        )
