"""Compiles the pipeline for Kubeflow Pipelines v2."""

import json
import os
from collections.abc import Sequence

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base import base_component, base_node
from tfx.orchestration import data_types, pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from components.run_notice.component import RunNotice
from models.errors import ConfigError
from pipeline import beam_options, graph, kubeflow_spec
from pipeline.config import PipelineConfig

PIPELINE_NAME = "t2rec"
SUFFIXES = (".yaml", ".yml", ".json")

_OPTIONAL = {"checkpoint_dir": ""}


def compile_spec(config: PipelineConfig, image: str, out: str, beam: Sequence[str] = ()) -> None:
    """Writes the pipeline, for Kubeflow as YAML or for Vertex AI Pipelines as JSON.

    The spec has three runtime parameters without a default: `data`; `data_version`, which must
    change whenever the data does, as the cache sees nothing else of it; and `serving_dir`. It has
    one with a default: `checkpoint_dir`, where a training that was killed is found again.

    Args:
      config: What the pipeline is told.
      image: Container image with t2rec installed.
      out: File to write: `.yaml` holds a PipelineSpec, `.json` a PipelineJob.
      beam: Beam options from the command line.

    Raises:
      ConfigError: If an option is unknown or contradicts Kubeflow, or the file can't be written.
    """
    folder = _check_out(out)
    _check_feasible(config)
    options = config.kubeflow
    inputs = graph.Inputs(
        data=data_types.RuntimeParameter(name="data", ptype=str),
        serving_dir=data_types.RuntimeParameter(name="serving_dir", ptype=str),
        checkpoint_dir=data_types.RuntimeParameter(name="checkpoint_dir", ptype=str),
        input_fingerprint=data_types.RuntimeParameter(name="data_version", ptype=str),
    )
    nodes = graph.build_components(config, inputs)
    # TFX allows an exit handler no runtime parameters: kubeflow_spec puts this one in.
    handler = RunNotice(serving_dir="") if options.notice else None
    everything = [*nodes, *([handler] if handler else [])]
    unknown = options.unknown_nodes({node.id for node in everything})
    if unknown:
        raise ConfigError(
            f"Expected nodes of this pipeline ({', '.join(node.id for node in everything)}); got "
            f"{'; '.join(unknown)}. Correct the names."
        )
    uncached = {kubeflow_spec.task_name(name) for name in options.uncached}
    for node in everything:
        _prepare(node, config)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image,
            default_commands=_command(options.root),
            # Kubeflow's own backend takes no older one.
            use_pipeline_spec_2_1=True,
        ),
    )
    if handler:
        runner.set_exit_handler(handler)
    job = json_format.ParseDict(
        runner.run(
            pipeline.Pipeline(
                pipeline_name=PIPELINE_NAME,
                pipeline_root=options.root,
                components=nodes,
                enable_cache=options.cache,
                beam_pipeline_args=beam_options.beam_args(beam),
            ),
            write_out=False,
        ),
        pipeline_spec_pb2.PipelineJob(),
    )
    spec = json_format.ParseDict(
        json_format.MessageToDict(job.pipeline_spec), pipeline_spec_pb2.PipelineSpec()
    )
    kubeflow_spec.complete(spec, _OPTIONAL, uncached, options)
    spec.default_pipeline_root = options.root
    job.pipeline_spec.Clear()
    job.pipeline_spec.update(json_format.MessageToDict(spec))
    _write(job, os.path.join(folder, os.path.basename(out)))


def _command(root: str) -> list[str]:
    """Returns what a container starts: TFX's own program where TensorFlow can open the bucket."""
    is_direct = root.startswith("gs://")
    return list(
        kubeflow_v2_dag_runner.KUBEFLOW_TFX_CMD
        if is_direct
        else ("python", "-m", "pipeline.kubeflow_entrypoint")
    )


def _check_out(out: str) -> str:
    """Returns the folder of the file to be written, after checks."""
    folder = os.path.dirname(os.path.abspath(out))
    if not out.endswith(SUFFIXES):
        raise ConfigError(
            f"Expected --out to end in .yaml (Kubeflow) or .json (Vertex AI); got {out!r}."
        )
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"Expected a folder that can be written to for --out; got {folder!r}. Make it first."
        )
    return folder


def _check_feasible(config: PipelineConfig) -> None:
    """Refuses what Kubeflow would refuse only after the submission."""
    if config.training.warm_start:
        raise ConfigError(
            "Expected training.warm_start to be false: it looks up the latest blessed model in ML "
            "Metadata by a resolver, which Kubeflow Pipelines does not run. Train on all spans, "
            "which --data takes together, or warm-start with `t2rec run`."
        )


def _prepare(node: base_node.BaseNode, config: PipelineConfig) -> None:
    """Gives a node its resources, and a name that Argo takes."""
    given = config.kubeflow.resources_of(node.id)
    if isinstance(node, base_component.BaseComponent):
        node.with_platform_config(kubeflow_spec.resource_spec(given))
    node.with_id(kubeflow_spec.task_name(node.id))


def _write(job: pipeline_spec_pb2.PipelineJob, path: str) -> None:
    tree = json_format.MessageToDict(job)
    with open(f"{path}.incoming", "w", encoding="utf-8") as file:
        if path.endswith(".json"):
            json.dump(tree, file, sort_keys=True, indent=1)
        else:
            yaml.safe_dump(tree["pipelineSpec"], file, sort_keys=True)
    os.replace(f"{path}.incoming", path)
