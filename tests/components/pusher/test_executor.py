import json
import os

import pytest
from tfx.components.evaluator import constants

from components.artifacts import SERVABLE_FILE
from components.pusher import executor


def properties(tmp_path, noise_floor_rmse=0.0) -> dict:
    return {
        "serving_dir": str(tmp_path / "serving"),
        "config": "{}",
        "noise_floor_rmse": noise_floor_rmse,
    }


BLESSED = {
    "blessing": constants.BLESSED_FILE_NAME,
    "infra_blessing": SERVABLE_FILE,
}


def bless(channels, but: str = "") -> None:
    for key in BLESSED.keys() - {but}:
        with open(os.path.join(channels[0][key][0].uri, BLESSED[key]), "w"):
            pass


def test_pushes_both_exports_whole_under_one_version(channels, exports, tmp_path):
    bless(channels)
    executor.Executor().Do(*channels, properties(tmp_path))
    pushed = channels[1]["pushed_model"][0]
    version = pushed.get_string_custom_property("pushed_version")
    assert pushed.get_int_custom_property("pushed") == 1
    for name, key in (("t2rec", "model"), ("t2rec_scann", "scann_model")):
        folder = tmp_path / "serving" / name
        assert os.listdir(folder) == [version]
        for file in ("saved_model.pb", "variables/variables.index"):
            source = exports / key / "Format-Serving" / file
            assert (folder / version / file).read_bytes() == source.read_bytes()


def test_the_exact_export_comes_last(channels, monkeypatch, tmp_path):
    """Who finds a version of it, such as `t2rec query`, finds the other one as well."""
    bless(channels)
    pushed = []
    push = executor.versions.push

    def record(source, model_dir, *rest):
        push(source, model_dir, *rest)
        pushed.append(os.path.basename(model_dir))

    monkeypatch.setattr(executor.versions, "push", record)
    executor.Executor().Do(*channels, properties(tmp_path))
    assert pushed == ["t2rec_scann", "t2rec"]


@pytest.mark.parametrize("noise_floor_rmse", [0.0, 0.7])
def test_each_version_carries_its_card(channels, tmp_path, noise_floor_rmse):
    bless(channels)
    executor.Executor().Do(*channels, properties(tmp_path, noise_floor_rmse))
    version = channels[1]["pushed_model"][0].get_string_custom_property("pushed_version")
    for name in ("t2rec", "t2rec_scann"):
        folder = tmp_path / "serving" / name / version / "assets.extra"
        card = json.loads((folder / "model_card.json").read_text())
        assert (card["model"], card["version"]) == (name, int(version))
        assert card["data"]["is_generated"] is bool(noise_floor_rmse)
        assert card["kept"]["parts"][-1] | {"holds": ""} == {
            "name": "query_embeddings",
            "holds": "",
            "dtype": "float16",
            "shape": [5, 3],
            "num_bytes": 30,
        }
        assert list(card["signatures"]) == ["embed_query"]
        assert card["packages"]["scann"]
        markdown = (folder / "model_card.md").read_text()
        assert markdown.startswith(f"# {name}, version {version}\n")


@pytest.mark.parametrize("missing", ["blessing", "infra_blessing"])
def test_pushes_nothing_without_both_blessings(channels, tmp_path, missing):
    bless(channels, but=missing)
    executor.Executor().Do(*channels, properties(tmp_path))
    assert not (tmp_path / "serving").exists()
    pushed = channels[1]["pushed_model"][0]
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.get_string_custom_property("pushed_version")


def test_a_version_is_newer_than_any_there_and_leftovers_go(channels, tmp_path):
    bless(channels)
    model_dir = tmp_path / "serving" / "t2rec"
    (model_dir / "99999999999").mkdir(parents=True)
    (model_dir / "incoming-5").mkdir()
    os.utime(model_dir / "incoming-5", (0, 0))
    executor.Executor().Do(*channels, properties(tmp_path))
    assert sorted(os.listdir(model_dir)) == ["100000000000", "99999999999"]
