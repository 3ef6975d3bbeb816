"""What a Kubeflow run may take and do: resources, cache, retries, a notice at the end."""

from typing import Annotated, Any

import pydantic

from models.options import Natural, Options, Rate

# Stands for every node without an entry of its own.
DEFAULT = "default"

# Where images reach a bucket by themselves, or where Kubeflow's launcher copies to and from.
SCHEMES = ("gs", "s3", "minio")


class Resources(Options):
    """What the container of a node is given.

    Attributes:
      cpu: Cores that it may use; as many as the node has if left out.
      memory_gb: Memory that it may use, in 10⁹ bytes; all of the node's if left out.
      accelerator: Kind of accelerator, such as `nvidia.com/gpu` (Vertex AI: `NVIDIA_TESLA_T4`).
      accelerators: How many of them.
    """

    cpu: Rate | None = None
    memory_gb: Rate | None = None
    accelerator: str = ""
    accelerators: Natural = 0

    @pydantic.model_validator(mode="after")
    def _names_what_it_counts(self) -> "Resources":
        if bool(self.accelerator) != bool(self.accelerators):
            raise ValueError(
                "accelerator and accelerators belong together, such as "
                "{accelerator: nvidia.com/gpu, accelerators: 1}"
            )
        return self


def _check_root(root: str) -> str:
    scheme, separator, bucket = root.partition("://")
    if scheme not in SCHEMES or not separator or not bucket.strip("/"):
        known = ", ".join(f"{scheme}://BUCKET/PATH" for scheme in SCHEMES)
        raise ValueError(f"expected a bucket that all containers reach, one of {known}")
    return root.rstrip("/")


class KubeflowOptions(Options):
    """How the pipeline runs on Kubeflow; nothing of it changes what is computed.

    Attributes:
      root: Where artifacts go; a submission may name another one.
      resources: By node, or `default`.
      cache: Whether a node whose inputs, parameters and code are the same as before is skipped.
      uncached: Nodes that run in any case: they look at the exports being served, which no
        parameter tells.
      retries: How often a failed node is tried again.
      retry_seconds: How long the first of them waits; each further one waits twice as long.
      notice: Whether a last step, which runs in any case, writes `last_run.json` into the serving
        folder: how the run ended, and why.
    """

    root: Annotated[str, pydantic.AfterValidator(_check_root)] = "minio://mlpipeline/t2rec"
    resources: dict[str, Resources] = {DEFAULT: Resources(cpu=2, memory_gb=8)}
    cache: bool = True
    uncached: tuple[str, ...] = ("Evaluator", "Pusher")
    retries: Natural = 2
    retry_seconds: Rate = 30.0
    notice: bool = True

    def resources_of(self, node: str) -> Resources:
        """Returns what a node's container is given.

        Args:
          node: The node's id.
        """
        return self.resources.get(node, self.resources.get(DEFAULT, Resources()))

    def unknown_nodes(self, nodes: Any) -> list[str]:
        """Returns what is set for nodes that the pipeline does not have.

        Args:
          nodes: The ids of all nodes.
        """
        return [
            f"kubeflow.{key}: {name}"
            for key, names in (("resources", self.resources), ("uncached", self.uncached))
            for name in names
            if name not in nodes and name != DEFAULT
        ]
