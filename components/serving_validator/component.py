"""Declares ServingValidator to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.serving_validator import executor


class ServingValidatorSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of ServingValidator."""

    PARAMETERS = {"code_digest": component_spec.ExecutionParameter(type=str, optional=True)}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "scann_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServingValidator(base_component.BaseComponent):
    """Starts the real server on both exports, asks it, and blesses or does not.

    TFX's own InfraValidator needs Docker and TensorFlow Serving, which can't load ScaNN's ops.

    Outputs:
      blessing: The InfraBlessing that Pusher obeys, with `reasons.json`: what is wrong, in words.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, model: types.Channel, scann_model: types.Channel, code_digest: str = ""):
        """Declares the component.

        Args:
          model: The SavedModel with exact search.
          scann_model: Its approximate twin.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            ServingValidatorSpec(
                model=model,
                scann_model=scann_model,
                code_digest=code_digest,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
