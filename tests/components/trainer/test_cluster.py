import concurrent.futures

import pytest
from tensorflow.errors import InternalError

from components.trainer import cluster
from models.errors import ConfigError, InputError
from tests.harnesses.training_process import cluster_environment
from tests.harnesses.waiting import wait_until


def test_a_chief_without_a_folder_can_tell_nobody():
    with pytest.raises(ConfigError, match="Expected a folder of checkpoints"):
        cluster.lead({}, {}, {"checkpoint_dir": ""})


def test_the_chief_does_not_wait_for_itself(monkeypatch, tmp_path):
    for name, value in cluster_environment(0, (1, 2)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="with an index from 1 on for `t2rec worker`; got 0"):
        cluster.follow(str(tmp_path), print)


def test_who_waits_in_vain_is_let_go(monkeypatch, tmp_path):
    """As by a run whose Trainer takes its earlier output."""
    for name, value in cluster_environment(1, (1, 2)).items():
        monkeypatch.setenv(name, value)
    notes = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        following = pool.submit(cluster.follow, str(tmp_path), notes.append)
        wait_until((tmp_path / "waiting-1.json").exists)
        assert not following.done()
        cluster.dismiss(str(tmp_path))
        following.result(timeout=30)
    assert notes[-1].startswith("worker 1: the run has ended without training")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("message", "expected"),
    [("Collective ops is aborted by: Stream removed", InputError), ("Dst tensor", InternalError)],
)
def test_only_an_error_among_workers_is_told_as_a_lost_one(monkeypatch, message, expected):
    def fail(*_, **__):
        raise InternalError(None, None, message)

    for name, value in cluster_environment(1, (1, 2)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cluster.work, "train_and_export", fail)
    with pytest.raises(expected, match=message):
        cluster.train_as_worker({"inputs": "{}", "outputs": "{}", "exec_properties": {}})
