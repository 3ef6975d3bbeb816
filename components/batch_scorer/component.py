"""Declares BatchScorer to TFX."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.batch_scorer import executor


class BatchScorerSpec(component_spec.ComponentSpec):
    """Declares the parameters, inputs and outputs of BatchScorer."""

    PARAMETERS = {
        "users": component_spec.ExecutionParameter(type=str),
        "k": component_spec.ExecutionParameter(type=int),
        "exclude_seen": component_spec.ExecutionParameter(type=int),
        "approximate": component_spec.ExecutionParameter(type=int),
        "users_fingerprint": component_spec.ExecutionParameter(type=str, optional=True),
        "code_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    OUTPUTS = {"recommendations": component_spec.ChannelParameter(type=artifacts.Recommendations)}


class BatchScorer(base_beam_component.BaseBeamComponent):
    """Scores users with the pushed model, on the pipeline's own Beam runner.

    Outputs:
      recommendations: Parquet files, as `t2rec score` writes them; none if nothing was pushed. The
        custom property `scored` tells the two apart.
    """

    SPEC_CLASS = BatchScorerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        pushed_model: types.Channel,
        users: str,
        k: int,
        exclude_seen: bool,
        approximate: bool,
        users_fingerprint: str = "",
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          pushed_model: Pusher's.
          users: "all" for the model's own, or files of ids as `t2rec score` takes them.
          k: The most recommendations a user gets.
          exclude_seen: Whether to leave out what a user rated in training.
          approximate: Whether the export with the index answers instead of the exact one.
          users_fingerprint: A digest of the files' names, sizes and times; part of the cache key.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            BatchScorerSpec(
                pushed_model=pushed_model,
                users=users,
                k=k,
                exclude_seen=int(exclude_seen),
                approximate=int(approximate),
                users_fingerprint=users_fingerprint,
                code_digest=code_digest,
                recommendations=types.Channel(type=artifacts.Recommendations),
            )
        )
