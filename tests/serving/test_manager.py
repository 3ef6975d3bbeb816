import gc
import threading
import time
import weakref

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from models.errors import InputError
from serving import model_config
from serving.errors import FailedPreconditionError, InvalidRequestError, NotFoundError
from serving.manager import ModelManager, ModelRef, following
from tests.harnesses.waiting import wait_until

TINY = ModelRef("tiny")


@pytest.fixture
def manager():
    with following(ModelManager(batch_rows=8, poll_seconds=0.05)) as manager:
        yield manager


def _config(base_path, extra=""):
    text = f'model_config_list {{ config {{ name: "tiny" base_path: "{base_path}" {extra} }} }}'
    return text_format.Parse(text, ModelServerConfig())


def _answer(manager, ref=TINY):
    with manager.lease(ref) as version:
        return version.number, version.model.call("", {"x": [0.0]})["y"].tolist()


def _states(manager):
    return {status.version: status.state for status in manager.statuses(TINY)}


def test_new_version_replaces_the_old_one(manager, tiny, add_version):
    manager.apply(_config(tiny))
    assert _answer(manager) == (1, [[1.0]])
    add_version(10)
    wait_until(lambda: _states(manager) == {10: "AVAILABLE", 1: "END"})
    assert _answer(manager) == (10, [[2.0]])
    with pytest.raises(NotFoundError, match=r"Specific\(tiny, 1\)"):
        manager.lease(ModelRef("tiny", 1))


def test_folders_are_looked_at_once_if_told_so(tiny, add_version):
    with following(ModelManager(batch_rows=8, poll_seconds=0.0)) as manager:
        manager.apply(_config(tiny))
        add_version(2)
        time.sleep(0.3)
        assert _answer(manager)[0] == 1
        manager.apply(_config(tiny))
        assert _answer(manager)[0] == 2


def test_version_in_use_is_freed_after_its_last_request(manager, tiny, add_version):
    manager.apply(_config(tiny))
    with manager.lease(TINY) as version:
        model = version.model
        add_version(2)
        wait_until(lambda: _states(manager).get(1) == "UNLOADING")
        # The new one answers while the old one still finishes.
        assert _answer(manager) == (2, [[2.0]])
        assert model.call("", {"x": [0.0]})["y"].tolist() == [[1.0]]
    freed = weakref.ref(model)
    del model
    wait_until(lambda: _states(manager)[1] == "END")
    gc.collect()
    assert freed() is None


def test_broken_version_leaves_the_old_one_and_says_why(manager, tiny, add_version, caplog):
    manager.apply(_config(tiny))
    add_version(2, broken=True)
    wait_until(lambda: 2 in _states(manager) and _states(manager)[2] == "END")
    (broken,) = manager.statuses(ModelRef("tiny", 2))
    assert (broken.code, broken.state) == ("UNKNOWN", "END")
    assert "got 11 bytes of something else" in broken.message
    assert "tiny version 2 can't be served: Expected a SavedModel" in caplog.text
    assert _answer(manager)[0] == 1
    assert manager.is_ready()
    # It isn't tried again and again, but once its files change.
    time.sleep(0.3)
    assert caplog.text.count("can't be served") == 1
    add_version(3)
    (tiny / "3" / "saved_model.pb").rename(tiny / "2" / "saved_model.pb")
    (tiny / "3").rename(tiny / "incoming-3")
    wait_until(lambda: _states(manager).get(2) == "AVAILABLE")
    assert _answer(manager) == (2, [[2.0]])


def test_server_that_finds_the_newest_broken_takes_an_older_one(manager, tiny, add_version):
    add_version(2, broken=True)
    manager.apply(_config(tiny))
    assert _answer(manager) == (1, [[1.0]])


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [3]),
        ("latest { num_versions: 2 }", [3, 2]),
        ("all {}", [3, 2, 1]),
        ("specific { versions: 1 versions: 3 versions: 9 }", [3, 1]),
    ],
)
def test_policies(manager, tiny, add_version, policy, served):
    add_version(2)
    add_version(3)
    manager.apply(_config(tiny, f"model_version_policy {{ {policy} }}"))
    assert _states(manager) == dict.fromkeys(served, "AVAILABLE")
    assert list(_states(manager)) == served  # The newest first.
    assert _answer(manager)[0] == served[0]


def test_labels_lead_to_versions(manager, tiny, add_version):
    add_version(2)
    both = "model_version_policy { all {} } version_labels { key: 'stable' value: 1 }"
    manager.apply(_config(tiny, f"{both} version_labels {{ key: 'canary' value: 2 }}"))
    assert _answer(manager, ModelRef("tiny", label="stable")) == (1, [[1.0]])
    assert _answer(manager, ModelRef("tiny", label="canary")) == (2, [[2.0]])
    with pytest.raises(InvalidRequestError, match="Unrecognized servable version label: nope"):
        manager.lease(ModelRef("tiny", label="nope"))
    # A label can't be moved to what isn't there, and then stays where it is.
    with pytest.raises(FailedPreconditionError, match="assign label to version 7 of model tiny"):
        manager.apply(_config(tiny, f"{both} version_labels {{ key: 'canary' value: 7 }}"))
    assert _answer(manager, ModelRef("tiny", label="canary"))[0] == 2


def test_model_that_is_left_out_is_dropped(manager, tiny):
    manager.apply(_config(tiny))
    manager.apply(ModelServerConfig())
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Latest\(tiny\)"):
        manager.lease(TINY)
    with pytest.raises(NotFoundError, match="Could not find any versions of model tiny"):
        manager.statuses(TINY)


def test_emptied_folder_does_not_stop_the_service(manager, tiny):
    manager.apply(_config(tiny))
    (tiny / "1").rename(tiny / "away")
    time.sleep(0.3)
    assert _answer(manager)[0] == 1


def test_model_without_a_version_is_told_and_followed(manager, tiny, add_version):
    (tiny / "1").rename(tiny / "away")
    with pytest.raises(FailedPreconditionError, match=r"did not become available: \{\{name: tiny"):
        manager.apply(_config(tiny))
    assert not manager.is_ready()
    add_version(4)
    wait_until(manager.is_ready)


def test_storage_that_fails_stops_no_other_model(manager, tiny, add_version, caplog):
    config = _config("nosuch://bucket/away")
    config.model_config_list.config[0].name = "away"
    config.MergeFrom(_config(tiny))
    reason = (
        r"\{\{name: away\}\}; Expected a path that can be read; got 'nosuch://bucket/away/saved"
    )
    with pytest.raises(FailedPreconditionError, match=reason):
        manager.apply(config)
    assert _answer(manager)[0] == 1
    add_version(2)
    wait_until(lambda: _answer(manager)[0] == 2)
    time.sleep(0.3)
    assert caplog.text.count("away can't be followed: Expected a path that can be read") == 1


def test_names_of_models_are_never_paths(manager, tiny):
    manager.apply(_config(tiny))
    for name in ("../tiny", "tiny/1", f"{tiny}", "", ".", "tiny\0"):
        with pytest.raises(NotFoundError):
            manager.lease(ModelRef(name))
        with pytest.raises(InvalidRequestError):
            manager.lease(ModelRef("tiny", label=name or ".."))


def test_requests_during_swaps_never_fail(manager, tiny, add_version):
    manager.apply(_config(tiny))
    done, failures, answers = threading.Event(), [], []

    def ask():
        while not done.is_set():
            try:
                answers.append(_answer(manager))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in (2, 3, 4):
        add_version(number)
        wait_until(lambda number=number: _states(manager).get(number) == "AVAILABLE")
    wait_until(lambda: _states(manager)[3] == "END")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert {number for number, _ in answers} == {1, 2, 3, 4}
    assert all(y == [[1.0 if number == 1 else 2.0]] for number, y in answers)


class TestConfig:
    def test_file_in_text_format(self, tmp_path):
        path = tmp_path / "models.config"
        path.write_text(
            "model_config_list {\n"
            "  config { name: 'a' base_path: '/m/a' model_platform: 'tensorflow' }\n"
            "  config { name: 'b' base_path: '/m/b' }\n"
            "}\n"
        )
        config = model_config.read_config(str(path))
        assert [m.name for m in config.model_config_list.config] == ["a", "b"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense {", "Expected a ModelServerConfig in text format"),
            ("model_config_list { config { name: 'a' } }", "a name and a base_path"),
            (
                "model_config_list { config { name: 'a' base_path: '/m' model_platform: 'x' } }",
                "Expected the model_platform 'tensorflow'; got 'x'",
            ),
            (
                "model_config_list { config { name: 'a' base_path: '/m' } "
                "config { name: 'a' base_path: '/n' } }",
                "Illegal to list model a multiple times",
            ),
        ],
    )
    def test_file_that_can_not_be_served(self, tmp_path, text, message):
        path = tmp_path / "models.config"
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            model_config.read_config(str(path))

    def test_root_of_a_pipeline_stands_for_all_its_models(self, tiny, tmp_path):
        for name in ("t2rec", "t2rec_scann"):
            (tmp_path / "serving").mkdir(exist_ok=True)
            (tmp_path / "serving" / name).symlink_to(tiny)
        models = model_config.config_of_folders([str(tmp_path)]).model_config_list.config
        assert [m.name for m in models] == ["t2rec", "t2rec_scann"]
        with pytest.raises(InputError, match="Expected one model to give the name 'x' to"):
            model_config.config_of_folders([str(tmp_path)], "x")

    def test_one_version_is_served_and_no_other(self, tiny, add_version):
        add_version(2)
        config = model_config.config_of_folders([str(tiny / "1")])
        (model,) = config.model_config_list.config
        assert (model.name, model.base_path) == ("tiny", str(tiny))
        assert list(model.model_version_policy.specific.versions) == [1]
