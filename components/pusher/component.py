"""Declares Pusher to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.pusher import executor


class PusherSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Pusher."""

    PARAMETERS = {"serving_dir": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "scann_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class Pusher(base_component.BaseComponent):
    """Pushes both exports under one version, each whole or not at all.

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
        serving_dir: str | data_types.RuntimeParameter,
    ):
        """Declares the component.

        Args:
          model: The SavedModel with exact search.
          scann_model: Its approximate twin.
          blessing: Evaluator's; without it nothing is pushed.
          infra_blessing: ServingValidator's; the same.
          serving_dir: Folder that gets `t2rec/VERSION` and `t2rec_scann/VERSION`.
        """
        super().__init__(
            PusherSpec(
                model=model,
                scann_model=scann_model,
                blessing=blessing,
                infra_blessing=infra_blessing,
                serving_dir=serving_dir,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
