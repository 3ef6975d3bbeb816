"""Training by several replicas: two workers over sockets, two devices of one process."""

import signal
import time

import numpy as np
import portpicker
import pytest

from models import replicas
from models.errors import ConfigError
from models.options import MIRRORED, MULTI_WORKER
from tests.harnesses.training_process import TrainingProcesses, cluster_environment, wait

# Replicas draw units to drop of their own; without that they do what one does, to the last digits.
_HIDDEN = ("", "user_profile_", "user_cold_", "business_cold_", "id_")
_NOTHING_HIDDEN = {f"{what}dropout": 0.0 for what in _HIDDEN}
_MODEL = {**_NOTHING_HIDDEN, "temperature": 0.12}
_SHORT = {"min_steps": 60}


@pytest.fixture(scope="module")
def processes(planted, tmp_path_factory):
    """Starts trainings on the planted data."""
    return TrainingProcesses(tmp_path_factory.mktemp("replicas"), planted)


@pytest.fixture(scope="module")
def alone(processes):
    """What one process comes to."""
    wait(processes.start("alone", model_options=_MODEL, options=_SHORT))
    return processes.outcome("alone")


def _start_workers(processes, name, checkpoints="", options=_SHORT, seeds=(0, 0)):
    ports = [portpicker.pick_unused_port() for _ in range(2)]
    return [
        processes.start(
            f"{name}-{index}",
            "" if index else checkpoints,
            _MODEL,
            {"distribute": MULTI_WORKER, **options, "seed": seeds[index]},
            environment=cluster_environment(index, ports),
        )
        for index in range(2)
    ]


def _assert_alike(found, expected):
    (embedded, choices), (expected_embedded, expected_choices) = found, expected
    assert choices.keys() == expected_choices.keys()
    for task, (recipe, trials, best_step, num_steps, _) in expected_choices.items():
        assert choices[task][0] == recipe
        assert choices[task][2:4] == [best_step, num_steps]
        for trial, like in zip(choices[task][1], trials, strict=True):
            assert trial["score"] == pytest.approx(like["score"], abs=2e-3)
    for key, value in expected_embedded.items():
        np.testing.assert_allclose(embedded[key], value, rtol=0, atol=2e-2)


def test_two_workers_come_to_the_figures_of_one(processes, alone):
    for process in _start_workers(processes, "two"):
        wait(process)
    _assert_alike(processes.outcome("two-0"), alone)


@pytest.mark.nightly
def test_two_devices_come_to_the_figures_of_one(processes, alone):
    options = {"distribute": MIRRORED, **_SHORT}
    wait(processes.start("devices", model_options=_MODEL, options=options, devices=2))
    _assert_alike(processes.outcome("devices"), alone)


@pytest.mark.nightly
def test_a_lost_worker_ends_the_chief_who_goes_on_when_all_are_started_again(
    processes, alone, tmp_path
):
    chief, other = _start_workers(processes, "lost", str(tmp_path))
    while not list(tmp_path.glob("*/retrieval-*-steps.json")):
        assert chief.poll() is None, chief.stderr.read()[-4_000:]
        time.sleep(0.005)
    other.send_signal(signal.SIGKILL)
    _, errors = chief.communicate(timeout=60)
    assert chief.returncode and "UnavailableError" in errors
    other.communicate()
    chief, other = _start_workers(processes, "lost", str(tmp_path))
    _, errors = chief.communicate(timeout=300)
    assert chief.returncode == 0, errors[-4_000:]
    assert "going on with retrieval" in errors
    wait(other)
    _assert_alike(processes.outcome("lost-0"), alone)


def test_workers_of_different_settings_refuse_to_train_together(processes):
    chief, other = _start_workers(processes, "odd", seeds=(0, 1))
    _, errors = other.communicate(timeout=120)
    assert other.returncode and "train on the tables and with the options of the chief" in errors
    chief.communicate(timeout=120)
    assert chief.returncode


@pytest.mark.parametrize(
    "told",
    [
        None,
        "host1:2222",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
    ],
)
def test_an_environment_without_a_cluster_is_said(told, monkeypatch):
    monkeypatch.delenv(replicas.CLUSTER_VARIABLE, raising=False)
    if told is not None:
        monkeypatch.setenv(replicas.CLUSTER_VARIABLE, told)
    with pytest.raises(ConfigError, match="Expected TF_CONFIG to name the cluster"):
        replicas.create_strategy(MULTI_WORKER)


def test_only_the_first_worker_runs_the_pipeline(monkeypatch):
    monkeypatch.setenv(*next(iter(cluster_environment(1, (1, 2)).items())))
    with pytest.raises(ConfigError, match="Start the other workers by `t2rec worker`"):
        replicas.check_chief()
