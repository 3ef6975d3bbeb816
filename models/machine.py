"""What this process may take of its machine, or of the container that it runs in."""

import math
import os
from collections.abc import Iterator

# Of control groups, by their version: limit, use, and the part of it that the kernel takes back.
_MEMORY_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def available_bytes(root: str = "/") -> float:
    """Asks how much memory new data may take without swapping or being killed for it.

    Args:
      root: Folder above `proc` and `sys`.

    Returns:
      Bytes; infinity if the system doesn't say.
    """
    found = [_free_in_group(*group) for group in _own_groups(root, "memory")]
    try:
        lines = _read(root, "proc/meminfo").splitlines()
        found.append(
            1024.0 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0])
        )
    except (OSError, KeyError):
        pass
    return min(found, default=math.inf)


def num_cores(root: str = "/") -> int:
    """Counts the processors that this process may keep busy.

    Args:
      root: Folder above `proc` and `sys`.

    Returns:
      At least 1; a limit that is no whole number is rounded up.
    """
    limits = [_processors_of_group(*group) for group in _own_groups(root, "cpu")]
    return max(1, math.ceil(min([*limits, len(os.sched_getaffinity(0))])))


def _own_groups(root: str, controller: str) -> Iterator[tuple[str, int]]:
    """Yields folder and version of this process's control groups, and of those around them."""
    try:
        lines = [line.split(":", 2) for line in _read(root, "proc/self/cgroup").splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if not controllers:
            top, version = os.path.join(root, "sys/fs/cgroup"), 2
        elif controller in controllers.split(","):
            top, version = os.path.join(root, "sys/fs/cgroup", controller), 1
        else:
            continue
        # A container may see its own group as the top, under whatever name the machine knows it.
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            yield os.path.join(top, *parts[:depth]), version


def _free_in_group(folder: str, version: int) -> float:
    limit_file, use_file, reclaimable = _MEMORY_FILES[version]
    try:
        limit, use = _read(folder, limit_file), _read(folder, use_file)
        stat = dict(line.split() for line in _read(folder, "memory.stat").splitlines())
    except OSError:
        return math.inf  # The top of a machine's tree has no limit, and maybe no such files.
    if limit == "max":
        return math.inf
    return max(0.0, float(limit) - float(use) + float(stat.get(reclaimable, 0)))


def _processors_of_group(folder: str, version: int) -> float:
    try:
        if version == 2:
            quota, period = _read(folder, "cpu.max").split()
        else:
            quota, period = _read(folder, "cpu.cfs_quota_us"), _read(folder, "cpu.cfs_period_us")
    except OSError:
        return math.inf
    return math.inf if quota in ("max", "-1") else float(quota) / float(period)


def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="ascii") as file:
        return file.read().strip()
