"""Runs a node in a container whose bucket neither TensorFlow nor Beam can open.

Kubeflow's launcher copies the inputs of a container from the bucket to local folders before it
starts, and its outputs back after it ended. TFX takes the URIs as they are, which works for
`gs://` only. This names the local folders to it, and the bucket to the launcher.

Usage: python -m pipeline.kubeflow_entrypoint, with the options of TFX's `kubeflow_v2_run_executor`.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Any

_EXECUTOR = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_INPUT_FLAG = "--json_serialized_invocation_args"
_SCHEMES = ("minio", "s3")

# Where the launcher makes a folder for each scheme.
MOUNTS_VARIABLE, _MOUNTS = "T2REC_MOUNTS", "/"


def main() -> None:
    """Runs the executor that the command line names."""
    mounts = os.environ.get(MOUNTS_VARIABLE, _MOUNTS)
    place = sys.argv.index(_INPUT_FLAG) + 1
    given = json.loads(sys.argv[place])
    _rename(given, lambda uri: local_path(uri, mounts))
    sys.argv[place] = json.dumps(given)
    try:
        runpy.run_module(_EXECUTOR, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    output_file = given["outputs"]["outputFile"]
    with open(output_file, encoding="utf-8") as file:
        told = {"outputs": json.load(file)}
    _rename(told, lambda path: bucket_uri(path, mounts))
    with open(output_file, "w", encoding="utf-8") as file:
        json.dump(told["outputs"], file)


def local_path(uri: str, mounts: str) -> str:
    """Returns the folder that the launcher copies an artifact to.

    Args:
      uri: URI of the artifact.
      mounts: Where the launcher makes a folder for each scheme.

    Returns:
      The folder, or the URI if the launcher copies nothing there.
    """
    scheme, separator, rest = uri.partition("://")
    return os.path.join(mounts, scheme, rest) if separator and scheme in _SCHEMES else uri


def bucket_uri(path: str, mounts: str) -> str:
    """Returns the URI of an artifact: the inverse of `local_path`."""
    for scheme in _SCHEMES:
        prefix = os.path.join(mounts, scheme, "")
        if path.startswith(prefix):
            return f"{scheme}://{path.removeprefix(prefix)}"
    return path


def _artifacts(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for side in ("inputs", "outputs"):
        for listed in tree.get(side, {}).get("artifacts", {}).values():
            yield from listed.get("artifacts", [])


def _rename(tree: dict[str, Any], change: Callable[[str], str]) -> None:
    for artifact in _artifacts(tree):
        if "uri" in artifact:
            artifact["uri"] = change(artifact["uri"])


if __name__ == "__main__":
    main()
