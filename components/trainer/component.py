"""Declares Trainer to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.trainer import executor


class TrainerSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Trainer."""

    PARAMETERS = {
        "model_options": component_spec.ExecutionParameter(type=str),
        "training_options": component_spec.ExecutionParameter(type=str),
        "refit": component_spec.ExecutionParameter(type=int),
        "checkpoint_dir": component_spec.ExecutionParameter(type=str, optional=True),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "interactions": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "users": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "businesses": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "raw_businesses": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "user_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        "business_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        "base_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "hyperparameters": component_spec.ChannelParameter(
            type=standard_artifacts.HyperParameters, optional=True
        ),
    }
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Trainer(base_component.BaseComponent):
    """Trains T²Rec on all three tables.

    TFX's own Trainer takes one table of examples; the star schema has three.

    Outputs:
      model: The SavedModel with exact search, standard TensorFlow ops only; under `warm_start`, a
        checkpoint for a later training beside it.
      model_run: `history.json`, what was tried and the looks at the eval split, and TensorBoard's
        event files.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.Channel,
        users: types.Channel,
        businesses: types.Channel,
        raw_businesses: types.Channel,
        user_graph: types.Channel,
        business_graph: types.Channel,
        model_options: str,
        training_options: str,
        refit: bool,
        base_model: types.Channel | None = None,
        hyperparameters: types.Channel | None = None,
        checkpoint_dir: str | data_types.RuntimeParameter = "",
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          interactions: Examples with the splits train, eval and test; test is not read.
          users: Transformed users.
          businesses: Transformed businesses.
          raw_businesses: Businesses before Transform: their categories and cities, for filters.
          user_graph: The users' Transform graph.
          business_graph: The businesses' Transform graph.
          model_options: `models.options.ModelOptions` as JSON.
          training_options: `models.options.TrainingOptions` as JSON.
          refit: Whether to train on train + eval in the end.
          base_model: An earlier model to start from; may hold none.
          hyperparameters: What Tuner found for what the options leave open.
          checkpoint_dir: Folder where a killed training is found again: the same at every run, and
            this pipeline's own, for it is removed when the model is written. "" for none.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            TrainerSpec(
                interactions=interactions,
                users=users,
                businesses=businesses,
                raw_businesses=raw_businesses,
                user_graph=user_graph,
                business_graph=business_graph,
                base_model=base_model,
                hyperparameters=hyperparameters,
                model_options=model_options,
                training_options=training_options,
                refit=int(refit),
                checkpoint_dir=checkpoint_dir,
                code_digest=code_digest,
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
