"""Declares Tuner to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.tuner import executor


class TunerSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Tuner."""

    PARAMETERS = {
        "model_options": component_spec.ExecutionParameter(type=str),
        "training_options": component_spec.ExecutionParameter(type=str),
        "num_trials": component_spec.ExecutionParameter(type=int),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "interactions": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "users": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "businesses": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "user_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        "business_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {
        "best_hyperparameters": component_spec.ChannelParameter(
            type=standard_artifacts.HyperParameters
        ),
        "tuner_results": component_spec.ChannelParameter(type=standard_artifacts.TunerResults),
    }


class Tuner(base_component.BaseComponent):
    """Searches with KerasTuner for what the options leave open.

    TFX's own Tuner takes one table of examples; the star schema has three. Its outputs are as
    that one writes them.

    Outputs:
      best_hyperparameters: `best_hyperparameters.txt`, a `keras_tuner.HyperParameters` as JSON.
      tuner_results: `tuner_results.json`, all trials.
    """

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.Channel,
        users: types.Channel,
        businesses: types.Channel,
        user_graph: types.Channel,
        business_graph: types.Channel,
        model_options: str,
        training_options: str,
        num_trials: int,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          interactions: Examples with the splits train and eval; test is not read.
          users: Transformed users.
          businesses: Transformed businesses.
          user_graph: The users' Transform graph.
          business_graph: The businesses' Transform graph.
          model_options: `models.options.ModelOptions` as JSON.
          training_options: `models.options.TrainingOptions` as JSON.
          num_trials: Whole runs of each task.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            TunerSpec(
                interactions=interactions,
                users=users,
                businesses=businesses,
                user_graph=user_graph,
                business_graph=business_graph,
                model_options=model_options,
                training_options=training_options,
                num_trials=num_trials,
                code_digest=code_digest,
                best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
                tuner_results=types.Channel(type=standard_artifacts.TunerResults),
            )
        )
