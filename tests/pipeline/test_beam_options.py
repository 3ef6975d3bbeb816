import os
import tempfile

import pytest
from tfx.components.statistics_gen import executor

from models.errors import ConfigError
from pipeline import beam_options


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--runner=PortableRunner", "--job_endpoint", "here:80"],
        ["--direct_num_workers", "2", "--setup_file=./setup.py"],
        ["--direct_num_workers", "2", "--sdk_container_image=mine"],
    ],
)
def test_known_options_pass_through(given):
    assert beam_options.beam_args(given) == given


@pytest.mark.parametrize("given", [["--runner=DirectRunner"], ["--direct_num_workers", "2"]])
def test_tfx_packs_nothing_for_workers_on_this_machine(given, tmp_path, monkeypatch):
    args = beam_options.beam_args(given)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    executor.Executor(executor.Executor.Context(args, str(tmp_path), "1"))
    assert args[: len(given)] == given
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("given", [["--runnner=DirectRunner"], ["stray"]])
def test_unknown_options_are_refused(given):
    with pytest.raises(ConfigError, match=f"got {given[0]}"):
        beam_options.beam_args(given)
