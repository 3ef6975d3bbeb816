"""Declares BaselineTrainer to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.baseline_trainer import executor


class BaselineTrainerSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of BaselineTrainer."""

    PARAMETERS = {
        "options": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
        "refit": component_spec.ExecutionParameter(type=int),
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
        "baselines": component_spec.ChannelParameter(type=artifacts.Baselines),
        "fallback": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }


class BaselineTrainer(base_component.BaseComponent):
    """Fits the baselines and writes what they say about the test split.

    Outputs:
      baselines: Predicted stars and ranked lists, a Parquet file each; what they cost and were
        worth on eval; what was skipped.
      fallback: A SavedModel of the best that can be served, with `rate` and `recommend`.
    """

    SPEC_CLASS = BaselineTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.Channel,
        users: types.Channel,
        businesses: types.Channel,
        user_graph: types.Channel,
        business_graph: types.Channel,
        options: str,
        seed: int,
        refit: bool,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          interactions: Examples with the splits train, eval and test.
          users: Transformed users.
          businesses: Transformed businesses.
          user_graph: The users' Transform graph.
          business_graph: The businesses' Transform graph.
          options: `pipeline.config.Baselines` as JSON.
          seed: Seed of everything random.
          refit: Whether to fit on train + eval in the end.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            BaselineTrainerSpec(
                interactions=interactions,
                users=users,
                businesses=businesses,
                user_graph=user_graph,
                business_graph=business_graph,
                options=options,
                seed=seed,
                refit=int(refit),
                code_digest=code_digest,
                baselines=types.Channel(type=artifacts.Baselines),
                fallback=types.Channel(type=standard_artifacts.Model),
            )
        )
