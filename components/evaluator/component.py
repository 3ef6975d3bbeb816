"""Declares Evaluator to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.evaluator import executor


class EvaluatorSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of Evaluator."""

    PARAMETERS = {
        "gate": component_spec.ExecutionParameter(type=str),
        "objective": component_spec.ExecutionParameter(type=str),
        "target_recall": component_spec.ExecutionParameter(type=float),
        "refit": component_spec.ExecutionParameter(type=int),
        "max_native_rows": component_spec.ExecutionParameter(type=int),
        "noise_floor_rmse": component_spec.ExecutionParameter(type=float),
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "scann_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baselines": component_spec.ChannelParameter(type=artifacts.Baselines),
        "index_evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
        "interactions": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "users": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "businesses": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "rating_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


class Evaluator(base_component.BaseComponent):
    """Measures the exported model and the baselines on the test split, and blesses or does not.

    Outputs:
      evaluation: `metrics.json` with `rating`, `retrieval` and `blessing`.
      blessing: The ModelBlessing that Pusher obeys.
      rating_examples: A sample of the test split for TFX's own Evaluator, with its slices.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.Channel,
        scann_model: types.Channel,
        baselines: types.Channel,
        index_evaluation: types.Channel,
        interactions: types.Channel,
        users: types.Channel,
        businesses: types.Channel,
        gate: str,
        objective: str,
        target_recall: float,
        refit: bool,
        serving_dir: str | data_types.RuntimeParameter,
        max_native_rows: int,
        noise_floor_rmse: float = 0.0,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          model: The SavedModel with exact search.
          scann_model: Its approximate twin.
          baselines: What the baselines say about the test split.
          index_evaluation: Recall of the approximate index.
          interactions: Examples with the splits train, eval and test.
          users: Examples with the ids of all users.
          businesses: Examples with the ids of all businesses.
          gate: `models.gate.GateOptions` as JSON.
          objective: `models.options.Objective` as JSON: a task of weight 0 is not judged.
          target_recall: What the index must reach.
          refit: Whether the model learnt from train + eval.
          serving_dir: Where the model lies that is being served, if any: it is compared, too.
          max_native_rows: Test rows that TFX's own Evaluator is given, at most.
          noise_floor_rmse: What no prediction can beat, in stars; 0 if unknown.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            EvaluatorSpec(
                model=model,
                scann_model=scann_model,
                baselines=baselines,
                index_evaluation=index_evaluation,
                interactions=interactions,
                users=users,
                businesses=businesses,
                gate=gate,
                objective=objective,
                target_recall=target_recall,
                refit=int(refit),
                max_native_rows=max_native_rows,
                noise_floor_rmse=noise_floor_rmse,
                serving_dir=serving_dir,
                code_digest=code_digest,
                evaluation=types.Channel(type=artifacts.Evaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                rating_examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
