"""Compiles the pipeline for Kubeflow Pipelines v2."""

import os
from collections.abc import Sequence

from tfx.orchestration import data_types, pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from models.errors import ConfigError
from pipeline import beam_options, graph
from pipeline.code_digest import code_digest
from pipeline.config import PipelineConfig

PIPELINE_NAME = "t2rec"

# Kubeflow's own object store; every submission may name another root.
DEFAULT_ROOT = "minio://mlpipeline/t2rec"


def compile_spec(config: PipelineConfig, image: str, out: str, beam: Sequence[str] = ()) -> None:
    """Writes the pipeline as a PipelineJob.

    The spec has two runtime parameters without a default, `data` and `serving_dir`, and
    `checkpoint_dir`, where a training that was killed is found again; nowhere by default.

    Args:
      config: What the pipeline is told.
      image: Container image with t2rec installed.
      out: JSON file to write.
      beam: Beam options from the command line.

    Raises:
      ConfigError: If a Beam option is unknown or the file can't be written.
    """
    inputs = graph.Inputs(
        data=data_types.RuntimeParameter(name="data", ptype=str),
        serving_dir=data_types.RuntimeParameter(name="serving_dir", ptype=str),
        checkpoint_dir=data_types.RuntimeParameter(name="checkpoint_dir", ptype=str, default=""),
        code_digest=code_digest(),
    )
    folder, name = os.path.split(os.path.abspath(out))
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image=image),
        output_dir=folder,
        output_filename=name,
    )
    args = beam_options.beam_args(beam)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"Expected a folder that can be written to for --out; got {folder!r}. Make it first."
        )
    runner.run(
        pipeline.Pipeline(
            pipeline_name=PIPELINE_NAME,
            pipeline_root=DEFAULT_ROOT,
            components=graph.build_components(config, inputs),
            beam_pipeline_args=args,
        ),
        write_out=True,
    )
