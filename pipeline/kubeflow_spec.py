"""What TFX leaves out of the spec that it compiles, or compiles wrongly."""

from collections.abc import Collection, Mapping

from google.protobuf import message, struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow import utils

from components.run_notice.executor import FINAL_STATUS_KEY, SERVING_DIR_KEY
from pipeline.kubeflow_options import KubeflowOptions, Resources

_ResourceSpec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def task_name(node_id: str) -> str:
    """Returns the name of a node's task: Argo, which Kubeflow runs on, takes no dots.

    Args:
      node_id: Name of the node in the pipeline.
    """
    return node_id.replace(".", "-")


def resource_spec(given: Resources) -> message.Message:
    """Says in Kubeflow's terms what a container is given.

    Args:
      given: The same, as configured.
    """
    spec = _ResourceSpec(cpu_limit=given.cpu, memory_limit=given.memory_gb)
    if given.accelerator:
        spec.accelerator.type = given.accelerator
        spec.accelerator.count = given.accelerators
    return spec


def complete(
    spec: pipeline_spec_pb2.PipelineSpec,
    defaults: Mapping[str, str],
    uncached: Collection[str],
    options: KubeflowOptions,
) -> None:
    """Completes a compiled spec in place.

    Args:
      spec: As TFX compiled it.
      defaults: By runtime parameter, the value that it has if none is given: TFX drops them.
      uncached: Tasks that run in any case.
      options: The other options.
    """
    parameters = spec.root.input_definitions.parameters
    for name, default in defaults.items():
        parameters[name].default_value.CopyFrom(struct_pb2.Value(string_value=default))
        parameters[name].is_optional = True
    dags = [spec.root.dag]
    if utils.TFX_DAG_NAME in spec.components:
        _pass_parameters_down(spec)
        dags.append(spec.components[utils.TFX_DAG_NAME].dag)
    for name, task in (pair for dag in dags for pair in dag.tasks.items()):
        if name == utils.TFX_DAG_NAME:
            continue
        task.caching_options.enable_cache = options.cache and name not in uncached
        if options.retries:
            task.retry_policy.max_retry_count = options.retries
            task.retry_policy.backoff_duration.FromMilliseconds(round(1e3 * options.retry_seconds))
            task.retry_policy.backoff_factor = 2.0
        if any(given.HasField("task_final_status") for given in task.inputs.parameters.values()):
            _complete_exit_handler(task, spec.components[name])


def _complete_exit_handler(
    task: pipeline_spec_pb2.PipelineTaskSpec, component: pipeline_spec_pb2.ComponentSpec
) -> None:
    """Declares the status as one, and hands over the parameter that TFX can't."""
    task.caching_options.enable_cache = False
    definitions = component.input_definitions.parameters
    definitions[FINAL_STATUS_KEY].parameter_type = pipeline_spec_pb2.ParameterType.TASK_FINAL_STATUS
    task.inputs.parameters[SERVING_DIR_KEY].component_input_parameter = SERVING_DIR_KEY


def _pass_parameters_down(spec: pipeline_spec_pb2.PipelineSpec) -> None:
    """Hands the runtime parameters to the inner DAG, whose tasks see no others than its own."""
    inner = spec.components[utils.TFX_DAG_NAME]
    outer = spec.root.dag.tasks[utils.TFX_DAG_NAME]
    for name, definition in spec.root.input_definitions.parameters.items():
        inner.input_definitions.parameters[name].CopyFrom(definition)
        outer.inputs.parameters[name].component_input_parameter = name
