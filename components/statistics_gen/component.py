"""Declares StatisticsGen to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.statistics_gen import executor


class StatisticsGenSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of StatisticsGen."""

    PARAMETERS = {
        executor.MAX_ROWS_KEY: component_spec.ExecutionParameter(type=int),
        executor.CODE_DIGEST_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {
        executor.STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        )
    }


class StatisticsGen(base_component.BaseComponent):
    """Computes what TFX's StatisticsGen does, with the same TFDV generators, from bounded rows.

    TFX's own hands every record through Beam one by one, which costs more than the statistics,
    even where it samples them; and its sampling rate must be told before the rows are counted.
    """

    SPEC_CLASS = StatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.Channel,
        schema: types.Channel,
        max_rows: int,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          examples: Examples of one table.
          schema: Its schema.
          max_rows: Rows that a split's statistics are computed from, at most.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            StatisticsGenSpec(**{
                executor.EXAMPLES_KEY: examples,
                executor.SCHEMA_KEY: schema,
                executor.MAX_ROWS_KEY: max_rows,
                executor.CODE_DIGEST_KEY: code_digest,
                executor.STATISTICS_KEY: types.Channel(type=standard_artifacts.ExampleStatistics),
            })
        )
