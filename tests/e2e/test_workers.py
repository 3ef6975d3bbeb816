"""One training by two processes: `t2rec run` and `t2rec worker`, on a real pipeline."""

import json
import os
import subprocess
import sys
import time

import portpicker
import pytest

from pipeline import synth
from tests.e2e.test_spans import SETTINGS
from tests.harnesses.training_process import cluster_environment


def _start(log, index: int, ports, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        env={**os.environ, **cluster_environment(index, ports)},
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
    assert chief.wait(timeout=900) == 0, logs[0].read_text()
    assert worker.wait(timeout=60) == 0, logs[1].read_text()
    assert "worker 1: done" in logs[1].read_text()
    # The chief's process tells of its progress through the pipeline's.
    assert "rating: step" in logs[0].read_text()
    report = json.loads((root / "report" / "metrics.json").read_text())
    assert report["blessing"]["blessed"]
    assert not (root / "checkpoints").exists() or not list((root / "checkpoints").iterdir())
    # The same once more: Trainer takes its earlier output, and nobody waits for it.
    worker = _start(logs[1], 1, ports, "worker", "--checkpoint-dir", str(root / "checkpoints"))
    while "waiting" not in logs[1].read_text():
        time.sleep(0.1)
    assert _start(logs[0], 0, ports, *run).wait(timeout=900) == 0, logs[0].read_text()
    assert "Trainer: unchanged" in logs[0].read_text()
    assert worker.wait(timeout=60) == 0, logs[1].read_text()
    assert "the run has ended without training" in logs[1].read_text()


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_lost_worker_ends_the_run_in_words(tmp_path):
    data, root = tmp_path / "data", tmp_path / "root"
    synth.generate(str(data), 4_500, seed=2)
    settings = [one for one in SETTINGS if "warm_start" not in one and "min_steps" not in one]
    settings += ["training.distribute=multi_worker", "training.min_steps=100000"]
    settings += ["training.checkpoint_seconds=0"]
    ports = [portpicker.pick_unused_port() for _ in range(2)]
    logs = [tmp_path / f"{index}.log" for index in range(2)]
    worker = _start(logs[1], 1, ports, "worker", "--checkpoint-dir", str(root / "checkpoints"))
    run = ["run", "--data", str(data), "--root", str(root), "--set", *settings]
    chief = _start(logs[0], 0, ports, *run)
    while not list((root / "checkpoints").glob("*/*/*-steps.json")):
        assert chief.poll() is None, logs[0].read_text()
        time.sleep(0.1)
    worker.kill()
    worker.wait()
    assert chief.wait(timeout=120) == 1, logs[0].read_text()
    last = logs[0].read_text().splitlines()[-1]
    assert last.startswith("t2rec: Expected all workers of TF_CONFIG to train to the end; lost one")
    assert "training goes on from the latest checkpoint" in last
