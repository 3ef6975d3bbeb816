"""Training in processes of its own: killed with SIGKILL, started again, and simply repeated."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.harnesses.training_process import TrainingProcesses, wait


def _kill_when(process: subprocess.Popen, folder, prefix: str) -> None:
    """Kills a training once a run whose name begins so has a checkpoint in the middle."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()[-4_000:]
        for path in folder.glob(f"*/{prefix}*-steps.json"):
            step = json.loads(path.read_text(encoding="utf-8"))["record"]["progress"]["step"]
            if 10 < step < 110:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return
        time.sleep(0.005)
    raise AssertionError(f"no checkpoint of {prefix} within the time")


@pytest.fixture(scope="module")
def processes(planted, tmp_path_factory):
    """Starts trainings on the planted data."""
    return TrainingProcesses(tmp_path_factory.mktemp("resume"), planted)


def test_a_killed_training_comes_to_the_same_model(processes, tmp_path):
    """Also a proof that a seed gives equal figures in fresh processes."""
    whole = processes.start("whole")
    folder = tmp_path / "checkpoints"
    # In the second of two trials, and in the last training of all.
    for stage in ("retrieval-", "retrieval-final"):
        _kill_when(processes.start("killed", str(folder)), folder, stage)
    wait(processes.start("killed", str(folder)))
    wait(whole)
    expected, expected_choices = processes.outcome("whole")
    found, choices = processes.outcome("killed")
    assert choices == expected_choices
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
