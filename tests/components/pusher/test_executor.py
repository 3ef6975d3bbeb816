import os

import pytest
from tfx.components.evaluator import constants
from tfx.types import standard_artifacts

from components.pusher import executor
from components.serving_validator import executor as serving_validator


@pytest.fixture
def channels(tmp_path):
    """Makes two exports, a blessing and a place for what is pushed."""
    exports = {}
    for key in ("model", "scann_model"):
        artifact = standard_artifacts.Model()
        artifact.uri = str(tmp_path / key)
        folder = tmp_path / key / "Format-Serving" / "variables"
        folder.mkdir(parents=True)
        (folder.parent / "saved_model.pb").write_text(key)
        (folder / "variables.index").write_text("index")
        exports[key] = [artifact]
    blessing = standard_artifacts.ModelBlessing()
    blessing.uri = str(tmp_path / "blessing")
    os.makedirs(blessing.uri)
    infra_blessing = standard_artifacts.InfraBlessing()
    infra_blessing.uri = str(tmp_path / "infra_blessing")
    os.makedirs(infra_blessing.uri)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")
    os.makedirs(pushed.uri)
    blessings = {"blessing": [blessing], "infra_blessing": [infra_blessing]}
    return {**exports, **blessings}, {"pushed_model": [pushed]}


def bless(channels) -> None:
    for key, name in (
        ("blessing", constants.BLESSED_FILE_NAME),
        ("infra_blessing", serving_validator.BLESSED_FILE),
    ):
        with open(os.path.join(channels[0][key][0].uri, name), "w"):
            pass


def test_pushes_both_exports_whole_under_one_version(channels, tmp_path):
    bless(channels)
    executor.Executor().Do(*channels, {"serving_dir": str(tmp_path / "serving")})
    pushed = channels[1]["pushed_model"][0]
    version = pushed.get_string_custom_property("pushed_version")
    assert pushed.get_int_custom_property("pushed") == 1
    for name, key in (("t2rec", "model"), ("t2rec_scann", "scann_model")):
        folder = tmp_path / "serving" / name
        assert os.listdir(folder) == [version]
        assert (folder / version / "saved_model.pb").read_text() == key
        assert (folder / version / "variables" / "variables.index").exists()


@pytest.mark.parametrize("missing", ["blessing", "infra_blessing"])
def test_pushes_nothing_without_both_blessings(channels, tmp_path, missing):
    bless(channels)
    (blessed,) = os.scandir(channels[0][missing][0].uri)
    os.remove(blessed)
    executor.Executor().Do(*channels, {"serving_dir": str(tmp_path / "serving")})
    assert not (tmp_path / "serving").exists()
    pushed = channels[1]["pushed_model"][0]
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.get_string_custom_property("pushed_version")


def test_a_version_is_newer_than_any_there_and_leftovers_go(channels, tmp_path):
    bless(channels)
    model_dir = tmp_path / "serving" / "t2rec"
    (model_dir / "99999999999").mkdir(parents=True)
    (model_dir / "incoming-5").mkdir()
    executor.Executor().Do(*channels, {"serving_dir": str(tmp_path / "serving")})
    assert sorted(os.listdir(model_dir)) == ["100000000000", "99999999999"]
