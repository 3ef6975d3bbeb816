"""Which versions of a model a policy wants, and whether they have changed."""

import os
from collections.abc import Collection, Mapping

from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

from serving import model_folders


def choose_versions(
    there: Mapping[int, str],
    policy: FileSystemStoragePathSourceConfig.ServableVersionPolicy,
    broken: Collection[int],
) -> list[int]:
    """Chooses what is to be served.

    Args:
      there: What `serving.model_folders.list_versions` found.
      policy: The latest `num_versions` (1 by default), all, or specific ones.
      broken: Versions that can't be loaded: the latest ones are those that can.

    Returns:
      Numbers, the newest first.
    """
    usable = [number for number in there if number not in broken]
    chosen = policy.WhichOneof("policy_choice")
    if chosen == "specific":
        return [number for number in usable if number in policy.specific.versions]
    if chosen == "all":
        return usable
    return usable[: policy.latest.num_versions or 1]


def fingerprint(path: str) -> tuple:
    """Describes the files of a version, so that a change of one that was broken is noticed.

    Args:
      path: Its folder.
    """
    if "://" in path:
        return tuple(sorted(model_folders.list_names(path)))
    found = []
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                status = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            found.append((folder, name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
