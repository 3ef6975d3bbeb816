"""Declares RunNotice to TFX."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.orchestration.kubeflow import decorators
from tfx.types import component_spec

from components.run_notice import executor


class RunNoticeSpec(component_spec.ComponentSpec):
    """Declares the parameters of RunNotice."""

    PARAMETERS = {
        executor.FINAL_STATUS_KEY: component_spec.ExecutionParameter(type=str),
        executor.SERVING_DIR_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS: dict[str, component_spec.ChannelParameter] = {}


class RunNotice(base_component.BaseComponent):
    """Writes down how a Kubeflow run ended, whether it failed or not: an exit handler."""

    SPEC_CLASS = RunNoticeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, serving_dir: str | data_types.RuntimeParameter):
        """Declares the component.

        Args:
          serving_dir: Folder that blessed exports are pushed to.
        """
        super().__init__(
            RunNoticeSpec(**{
                # Kubeflow puts the run's status in its place.
                executor.FINAL_STATUS_KEY: decorators.FinalStatusStr(),
                executor.SERVING_DIR_KEY: serving_dir,
            })
        )
