"""Declares Pusher to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.pusher import executor


class PusherSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Pusher."""

    PARAMETERS = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "config": component_spec.ExecutionParameter(type=str),
        "noise_floor_rmse": component_spec.ExecutionParameter(type=float),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "scann_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        "rejects": component_spec.ChannelParameter(type=artifacts.Rejects),
        "evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
        "index_evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class Pusher(base_component.BaseComponent):
    """Pushes both exports under one version, each whole with its model card or not at all.

    TFX's own Pusher takes one model and copies it in place, so that a run killed in mid-copy
    leaves half a version where a server finds it.

    Outputs:
      pushed_model: `pushed`, `pushed_destination` and `pushed_version` as custom properties.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.Channel,
        scann_model: types.Channel,
        blessing: types.Channel,
        infra_blessing: types.Channel,
        rejects: types.Channel,
        evaluation: types.Channel,
        index_evaluation: types.Channel,
        serving_dir: str | data_types.RuntimeParameter,
        config: str,
        noise_floor_rmse: float = 0.0,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          model: The SavedModel with exact search.
          scann_model: Its approximate twin.
          blessing: Evaluator's; without it nothing is pushed.
          infra_blessing: ServingValidator's; the same.
          rejects: Counts of the ingestion, for the cards.
          evaluation: Metrics on the test split, likewise.
          index_evaluation: Recall of the approximate index, likewise.
          serving_dir: Folder that gets `t2rec/VERSION` and `t2rec_scann/VERSION`.
          config: `pipeline.config.PipelineConfig` as JSON.
          noise_floor_rmse: What the truth of generated data scores, in stars; 0 of other data.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            PusherSpec(
                model=model,
                scann_model=scann_model,
                blessing=blessing,
                infra_blessing=infra_blessing,
                rejects=rejects,
                evaluation=evaluation,
                index_evaluation=index_evaluation,
                serving_dir=serving_dir,
                config=config,
                noise_floor_rmse=noise_floor_rmse,
                code_digest=code_digest,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
