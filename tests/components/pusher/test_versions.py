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
    assert not [name for name in os.listdir(tmp_path / "t2rec") if name.isdigit()]


def test_numbers_are_times_unless_there_is_a_later_one(tmp_path):
    before = int(time.time())
    assert before <= versions.next_version([str(tmp_path / "nothing")]) <= time.time()
    (tmp_path / "t2rec" / "99999999999").mkdir(parents=True)
    (tmp_path / "t2rec_scann").mkdir()
    dirs = [str(tmp_path / "t2rec"), str(tmp_path / "t2rec_scann")]
    assert versions.next_version(dirs) == 100_000_000_000
