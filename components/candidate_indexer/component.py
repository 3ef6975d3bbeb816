"""Declares CandidateIndexer to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.candidate_indexer import executor


class CandidateIndexerSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of CandidateIndexer."""

    PARAMETERS = {
        "max_queries": component_spec.ExecutionParameter(type=int),
        "target_recall": component_spec.ExecutionParameter(type=float),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "interactions": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {
        "scann_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "index_evaluation": component_spec.ChannelParameter(type=artifacts.Evaluation),
    }


class CandidateIndexer(base_component.BaseComponent):
    """Builds the ScaNN index over the whole catalogue and measures it against exact search.

    Outputs:
      scann_model: A SavedModel with the same signatures over the index; over exact search where
        that is as fast.
      index_evaluation: `metrics.json` with `recall@10`, the search times and the curve of both.
    """

    SPEC_CLASS = CandidateIndexerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.Channel,
        interactions: types.Channel,
        max_queries: int,
        target_recall: float,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          model: The SavedModel with exact search.
          interactions: Examples, whose eval split tells the users to measure by.
          max_queries: Of those, how many at most; half of them choose, half report.
          target_recall: What the index must find of the true ten best.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            CandidateIndexerSpec(
                model=model,
                interactions=interactions,
                max_queries=max_queries,
                target_recall=target_recall,
                code_digest=code_digest,
                scann_model=types.Channel(type=standard_artifacts.Model),
                index_evaluation=types.Channel(type=artifacts.Evaluation),
            )
        )
