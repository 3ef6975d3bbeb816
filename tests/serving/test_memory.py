"""What a version held goes back to the system, with what the image sets in the environment."""

import ctypes.util
import os
import pathlib
import subprocess
import sys

import pytest
from image_harness import read_steps

_MB = 96
_DOCKERFILE = pathlib.Path(__file__).parents[2] / "serving" / "deploy" / "Dockerfile"
_ENVIRONMENT = dict(
    pair.split("=", 1)
    for step in read_steps(_DOCKERFILE)
    if step.kind == "ENV"
    for pair in step.rest.split()
)

_LOAD_AND_DROP = """
import ctypes, os, sys

def resident_mb():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

assert hasattr(ctypes.CDLL(None), "mallctl") == (sys.argv[2] == "jemalloc")
from serving.served_versions import ServedVersion

for number in range(1, 4):
    before = resident_mb()
    version = ServedVersion("large", number, sys.argv[1])
    assert version.load(8), version.status
    version.model.call("serving_default", {"rows": [0]})
    loaded = resident_mb()
    version.drop()
    print(f"{loaded - before:.0f} {resident_mb() - before:.0f}")
"""


@pytest.fixture(scope="module")
def large_model(tmp_path_factory):
    """A SavedModel with a table of `_MB` MB."""
    import tensorflow as tf

    module = tf.Module()
    module.table = tf.Variable(tf.random.uniform([_MB * 2**10, 256]))
    specs = [tf.TensorSpec([None], tf.int32, name="rows")]
    sums = tf.function(
        lambda rows: {"sums": tf.reduce_sum(tf.gather(module.table, rows), axis=1)}, specs
    )
    path = str(tmp_path_factory.mktemp("large") / "1")
    tf.saved_model.save(module, path, {"serving_default": sums})
    return path


@pytest.mark.parametrize("allocator", ["glibc", "jemalloc"])
def test_dropped_version_gives_its_memory_back(large_model, allocator):
    environment = {**os.environ, **_ENVIRONMENT}
    if allocator == "glibc":
        environment["LD_PRELOAD"] = ""
    elif not ctypes.util.find_library("jemalloc"):
        pytest.skip("needs jemalloc: apt-get install libjemalloc2")
    command = [sys.executable, "-c", _LOAD_AND_DROP, large_model, allocator]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    growth = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    # The first load imports what later ones use.
    for loaded, dropped in growth[1:]:
        assert loaded > 0.9 * _MB
        assert dropped < 0.1 * _MB, growth
