import pytest

from components.trainer import cluster
from models.errors import ConfigError
from tests.harnesses.training_process import cluster_environment


def test_a_chief_without_a_folder_can_tell_nobody():
    with pytest.raises(ConfigError, match="Expected a folder of checkpoints"):
        cluster.lead({}, {}, {"checkpoint_dir": ""})


def test_the_chief_does_not_wait_for_itself(monkeypatch, tmp_path):
    for name, value in cluster_environment(0, (1, 2)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="with an index from 1 on for `t2rec worker`; got 0"):
        cluster.follow(str(tmp_path), print)
