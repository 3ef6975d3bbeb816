"""One training by two processes: `t2rec run` and `t2rec worker`, on a real pipeline."""

import json
import os
import subprocess
import sys

import portpicker
import pytest

from pipeline import synth
from tests.e2e.test_spans import SETTINGS


def _start(log, index: int, ports, *arguments: str) -> subprocess.Popen:
    told = {
        "cluster": {"worker": [f"localhost:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        env={**os.environ, "TF_CONFIG": json.dumps(told)},
    )


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_two_workers_train_what_one_does(tmp_path):
    data, root = tmp_path / "data", tmp_path / "root"
    synth.generate(str(data), 4_500, seed=2)
    settings = [one for one in SETTINGS if "warm_start" not in one]
    settings.append("training.distribute=multi_worker")
    ports = [portpicker.pick_unused_port() for _ in range(2)]
    logs = [tmp_path / f"{index}.log" for index in range(2)]
    worker = _start(logs[1], 1, ports, "worker", "--checkpoint-dir", str(root / "checkpoints"))
    run = ["run", "--data", str(data), "--root", str(root), "--set", *settings]
    chief = _start(logs[0], 0, ports, *run)
    told = "\n".join(log.read_text() for log in logs)
    assert chief.wait(timeout=900) == 0, told
    assert worker.wait(timeout=60) == 0, told
    assert "worker 1: done" in logs[1].read_text()
    # The chief's process tells of its progress through the pipeline's.
    assert "rating: step" in logs[0].read_text()
    report = json.loads((root / "report" / "metrics.json").read_text())
    assert report["blessing"]["blessed"]
    assert not (root / "checkpoints").exists() or not list((root / "checkpoints").iterdir())
