"""Declares Reporter to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.reporter import executor


class ReporterSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Reporter."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "rejects": component_spec.ChannelParameter(type=artifacts.Rejects),
        "evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
        "index_evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
        "native_evaluation": component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=artifacts.Report)}


class Reporter(base_component.BaseComponent):
    """Joins what the other components measured into one `metrics.json`.

    Outputs:
      report: `metrics.json`, without the timings, which only the runner knows.
    """

    SPEC_CLASS = ReporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        rejects: types.Channel,
        evaluation: types.Channel,
        index_evaluation: types.Channel,
        model_run: types.Channel,
        infra_blessing: types.Channel,
        pushed_model: types.Channel,
        config: str,
        native_evaluation: types.Channel | None = None,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          rejects: Counts of the ingestion.
          evaluation: Metrics on the test split, and the verdict.
          index_evaluation: Recall of the approximate index.
          model_run: History of the training.
          infra_blessing: Whether the exports can be served, and why not.
          pushed_model: Which version was pushed, if any.
          config: `pipeline.config.PipelineConfig` as JSON.
          native_evaluation: What TFX's own Evaluator found, if it ran.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            ReporterSpec(
                rejects=rejects,
                evaluation=evaluation,
                index_evaluation=index_evaluation,
                model_run=model_run,
                infra_blessing=infra_blessing,
                pushed_model=pushed_model,
                native_evaluation=native_evaluation,
                config=config,
                code_digest=code_digest,
                report=types.Channel(type=artifacts.Report),
            )
        )
