"""Runs ingestion, statistics, validation and Transform with the real local runner."""

import os
import sys

from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner

from pipeline import config, graph, progress

_LAST_NODES = ("Transform.users", "Transform.businesses")


def main(data: str, root: str, *settings: str) -> None:
    """Prints the wall time of each component.

    Args:
      data: Directory with the Yelp files.
      root: Where the run writes.
      settings: `key=value` strings, as `t2rec run --set` takes them.
    """
    inputs = graph.Inputs(data=data, serving_dir=os.path.join(root, "serving"))
    nodes = graph.build_components(config.load_config(settings=settings), inputs)
    names = [node.id for node in nodes]
    nodes = nodes[: max(map(names.index, _LAST_NODES)) + 1]
    for node in nodes:
        node.downstream_nodes.intersection_update(nodes)
    connection = metadata.sqlite_metadata_connection_config(os.path.join(root, "metadata.sqlite"))
    progress.log_to_file(os.path.join(root, "run.log"))
    with progress.ComponentProgress(len(nodes)) as shown:
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                "ingest",
                pipeline_root=os.path.join(root, "artifacts"),
                components=nodes,
                metadata_connection_config=connection,
            )
        )
    for name, seconds in shown.timings.items():
        print(f"  {name:<32}{seconds:>10.1f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
