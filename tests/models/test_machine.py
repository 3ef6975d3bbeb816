"""Memory and processors that a process may take: of a machine, and of a container on it."""

import os

import pytest

from models import machine

MEMORY_2 = ("memory.max", "memory.current", "inactive_file")
MEMORY_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.fixture
def system(tmp_path):
    """Lays out the files of a machine with 8,000 kB free; returns a writer of more."""

    def put(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return str(tmp_path)

    put(**{"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB"})
    return put


def group(folder, names, limit, use, cache):
    texts = (limit, use, f"anon 1\n{names[2]} {cache}")
    files = zip((*names[:2], "memory.stat"), texts, strict=True)
    return {f"sys/fs/cgroup/{folder}/{name}": text for name, text in files}


@pytest.mark.parametrize("own", [{}, {"proc/self/cgroup": "0::/"}])
def test_machine_without_limits(system, own):
    root = system(**own)
    assert machine.available_bytes(root) == 8000 * 1024
    assert machine.num_cores(root) == len(os.sched_getaffinity(0))


def test_system_that_says_nothing(tmp_path):
    assert machine.available_bytes(str(tmp_path)) == float("inf")
    assert machine.num_cores(str(tmp_path)) >= 1


@pytest.mark.parametrize(
    "own_groups, folder, names",
    [
        ("0::/pods/mine", "pods/mine", MEMORY_2),
        ("0::/pods/mine", "pods", MEMORY_2),  # A limit of what it lies in holds, too.
        ("0::/pods/mine", "", MEMORY_2),  # A container sees itself as the top.
        ("7:pids:/\n4:memory:/pods/mine\n0::/", "memory/pods/mine", MEMORY_1),
        ("4:cpu,memory:/pods/mine", "memory", MEMORY_1),
    ],
)
def test_limit_of_a_container(system, own_groups, folder, names):
    limits = group(folder, names, limit=1_000_000, use=700_000, cache=200_000)
    root = system(**{"proc/self/cgroup": own_groups}, **limits)
    assert machine.available_bytes(root) == 500_000


def test_container_above_its_limit_has_nothing_left(system):
    limits = group("", MEMORY_2, limit=1_000_000, use=1_100_000, cache=0)
    assert machine.available_bytes(system(**{"proc/self/cgroup": "0::/"}, **limits)) == 0


@pytest.mark.parametrize(
    "own_groups, folder, names, limit",
    [("0::/", "", MEMORY_2, "max"), ("4:memory:/", "memory", MEMORY_1, 2**63 - 4096)],
)
def test_container_without_a_limit(system, own_groups, folder, names, limit):
    limits = group(folder, names, limit=limit, use=700_000, cache=0)
    root = system(**{"proc/self/cgroup": own_groups}, **limits)
    assert machine.available_bytes(root) == 8000 * 1024


@pytest.mark.parametrize(
    "files, allowed",
    [
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/cpu.max": "5000 100000"}, 1),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/cpu.max": "max 100000"}, 4),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/cpu.max": "900000 100000"}, 4),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/a",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            2,
        ),
    ],
)
def test_processors_of_a_container(system, files, allowed, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert machine.num_cores(system(**files)) == allowed


def test_this_machine():
    assert 1e7 < machine.available_bytes() < 1e15
    assert 1 <= machine.num_cores() <= os.cpu_count()
