"""Runs the pipeline on this machine."""

import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any

from ml_metadata.metadata_store import metadata_store
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import artifact, standard_artifacts
from tfx.utils import path_utils

from components import artifacts
from components.trainer import cluster
from components.yelp_example_gen.inputs import find_inputs, fingerprint
from components.yelp_example_gen.places import pack_paths, unpack_paths
from models import memory
from models.options import MULTI_WORKER
from pipeline import beam_options, graph, progress, report_folder
from pipeline.config import PipelineConfig
from pipeline.root import Root
from pipeline.synth.generator import TRUTH_NAME
from serving.batch_scoring import ALL_USERS, fingerprint_users

PIPELINE_NAME = "t2rec"


def run(config: PipelineConfig, data: str, root: Root, beam: Sequence[str] = ()) -> dict[str, Any]:
    """Runs the pipeline to the end, or from where an earlier run was killed.

    Args:
      config: What to do.
      data: Where the Yelp files are, as `places.pack_paths` writes it.
      root: Where to do it.
      beam: Beam options from the command line.

    Returns:
      The content of `metrics.json`, which also lies in the root's report folder.

    Raises:
      ConfigError: If a Beam option is unknown.
      InputError: If the data can't be used.
    """
    scoring = config.batch_scoring
    # Fails now, not after all training, if there are no users.
    from_files = scoring.enabled and scoring.users != ALL_USERS
    inputs = graph.Inputs(
        data=pack_paths(unpack_paths(data)),
        serving_dir=root.serving,
        checkpoint_dir=root.checkpoints,
        input_fingerprint=fingerprint(find_inputs(data, config.split.method)),
        users_fingerprint=fingerprint_users(scoring.users) if from_files else "",
        noise_floor_rmse=_noise_floor(unpack_paths(data)),
    )
    nodes = graph.build_components(config, inputs)
    memory.keep()
    with progress.ComponentProgress(len(nodes)) as shown, contextlib.ExitStack() as last:
        if config.training.distribute == MULTI_WORKER:
            last.callback(cluster.dismiss, root.checkpoints)
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name=PIPELINE_NAME,
                pipeline_root=root.artifacts,
                components=nodes,
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(
                    root.metadata
                ),
                beam_pipeline_args=beam_options.beam_args(beam),
            )
        )
    report = _read_newest(root, artifacts.Report, artifacts.METRICS_FILE)
    report["timings"] = shown.timings
    report["memory_mb"] = shown.memory_mb
    report["cached"] = shown.cached
    folder = report_folder.ReportFolder(root.report)
    folder.write(report, _read_newest(root, artifacts.Page, artifacts.PAGE_FILE))
    folder.build()
    return report


def _noise_floor(paths: Sequence[str]) -> float:
    """Reads the RMSE of the truth that generated data comes with, in stars; 0 without one."""
    truths = [os.path.join(path, TRUTH_NAME) for path in paths]
    if len(truths) != 1 or not os.path.isfile(truths[0]):
        return 0.0
    with open(truths[0], encoding="utf-8") as file:
        return float(json.load(file)["noise_floor_rmse"])


def find_trained(root: Root) -> str:
    """Returns the folder of the SavedModel that the newest run trained, blessed or not."""
    trainer = os.path.join(root.artifacts, "Trainer", "")
    (uri,) = (uri for uri in _newest(root, standard_artifacts.Model) if uri.startswith(trainer))
    return path_utils.serving_model_dir(uri)


def _read_newest(root: Root, kind: type[artifact.Artifact], name: str) -> dict[str, Any]:
    """Reads a file of the newest run."""
    (uri,) = _newest(root, kind)
    with open(os.path.join(uri, name), encoding="utf-8") as file:
        return json.load(file)


def _newest(root: Root, kind: type[artifact.Artifact]) -> set[str]:
    """Lists what the newest run wrote of a type, or the cache took from an older one."""
    store = metadata_store.MetadataStore(metadata.sqlite_metadata_connection_config(root.metadata))
    runs = store.get_contexts_by_type("pipeline_run")
    newest = max(runs, key=lambda context: context.create_time_since_epoch)
    (type_id,) = {t.id for t in store.get_artifact_types() if t.name == kind.TYPE_NAME}
    written = store.get_artifacts_by_context(newest.id)
    return {one.uri for one in written if one.type_id == type_id}
