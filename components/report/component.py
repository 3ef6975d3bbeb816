"""Declares Report to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.report import executor

_STATISTICS = component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics)


class ReportSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Report."""

    PARAMETERS = {
        "refit": component_spec.ExecutionParameter(type=int),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "metrics": component_spec.ChannelParameter(type=artifacts.Report),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "interactions": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "users": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "businesses": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "interactions_statistics": _STATISTICS,
        "users_statistics": _STATISTICS,
        "businesses_statistics": _STATISTICS,
    }
    OUTPUTS = {"page": component_spec.ChannelParameter(type=artifacts.Page)}


class Report(base_component.BaseComponent):
    """Builds a page for people of everything that a run measured.

    Outputs:
      page: `index.html`, which needs nothing else, and `page.json`, which it can be built anew
        from, together with `metrics.json`; the runner does so, for it knows timings and the run
        before.
    """

    SPEC_CLASS = ReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        metrics: types.Channel,
        model: types.Channel,
        interactions: types.Channel,
        users: types.Channel,
        businesses: types.Channel,
        statistics: dict[str, types.Channel],
        refit: bool,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          metrics: The joined `metrics.json`.
          model: The SavedModel with exact search.
          interactions: Examples with the splits train, eval and test.
          users: Examples of all users.
          businesses: Examples of all businesses, before Transform: their names.
          statistics: By table, its statistics.
          refit: Whether the model learnt from train + eval.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            ReportSpec(
                metrics=metrics,
                model=model,
                interactions=interactions,
                users=users,
                businesses=businesses,
                **{f"{table}_statistics": channel for table, channel in statistics.items()},
                refit=int(refit),
                code_digest=code_digest,
                page=types.Channel(type=artifacts.Page),
            )
        )
