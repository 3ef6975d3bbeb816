import os
import time

import pytest
import tensorflow as tf

from components.pusher import versions


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("x")
    (folder / "variables" / "variables.index").write_text("y")
    return str(folder)


def test_a_version_is_a_whole_copy(source, tmp_path):
    versions.push(source, str(tmp_path / "t2rec"), 7)
    assert os.listdir(tmp_path / "t2rec") == ["7"]
    assert (tmp_path / "t2rec" / "7" / "variables" / "variables.index").read_text() == "y"


def test_a_copy_that_fails_leaves_no_version(source, tmp_path):
    os.symlink(tmp_path / "gone", os.path.join(source, "variables", "broken"))
    with pytest.raises(tf.errors.NotFoundError, match="broken"):
        versions.push(source, str(tmp_path / "t2rec"), 7)
    assert os.listdir(tmp_path / "t2rec") == []


def test_two_pushes_at_once_make_two_whole_versions(source, tmp_path, monkeypatch):
    copy, model_dir = versions._copy, str(tmp_path / "t2rec")

    def copy_while_another_pushes(from_, to):
        copy(from_, to)
        monkeypatch.setattr(versions, "_copy", copy)
        versions.push(source, model_dir, 8)

    monkeypatch.setattr(versions, "_copy", copy_while_another_pushes)
    versions.push(source, model_dir, 7)
    assert sorted(os.listdir(model_dir)) == ["7", "8"]
    for version in ("7", "8"):
        assert os.path.exists(os.path.join(model_dir, version, "saved_model.pb"))
        assert os.path.exists(os.path.join(model_dir, version, "variables", "variables.index"))


def test_a_version_that_is_there_is_not_replaced(source, tmp_path):
    versions.push(source, str(tmp_path / "t2rec"), 7)
    with pytest.raises(tf.errors.AlreadyExistsError):
        versions.push(source, str(tmp_path / "t2rec"), 7)
    assert os.listdir(tmp_path / "t2rec") == ["7"]


def test_leftovers_of_killed_pushes_go_after_a_day(source, tmp_path):
    for name, age_hours in (("incoming-1", 25), ("incoming-2-ab", 25), ("incoming-3-cd", 23)):
        folder = tmp_path / "t2rec" / name
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text("half")
        for path in (folder / "saved_model.pb", folder):
            os.utime(path, (time.time() - 3_600 * age_hours,) * 2)
    # It is still being written to.
    (tmp_path / "t2rec" / "incoming-2-ab" / "more").write_text("half")
    versions.push(source, str(tmp_path / "t2rec"), 7)
    assert sorted(os.listdir(tmp_path / "t2rec")) == ["7", "incoming-2-ab", "incoming-3-cd"]


def test_numbers_are_times_unless_there_is_a_later_one(tmp_path):
    before = int(time.time())
    assert before <= versions.next_version([str(tmp_path / "nothing")]) <= time.time()
    (tmp_path / "t2rec" / "99999999999").mkdir(parents=True)
    (tmp_path / "t2rec_scann").mkdir()
    dirs = [str(tmp_path / "t2rec"), str(tmp_path / "t2rec_scann")]
    assert versions.next_version(dirs) == 100_000_000_000
