import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints import Checkpoints, digest
from models.tables import Bag, Interactions


@pytest.fixture
def kept(tmp_path):
    return Checkpoints(str(tmp_path / "kept"), every_seconds=0.0)


def files(tmp_path) -> set[str]:
    return {path.name.split(".")[0] for path in (tmp_path / "kept").iterdir()}


class TestRecords:
    def test_come_back_with_their_tensors(self, kept):
        tensors = {"a": tf.Variable([[1.0, 2.0]]), "b": np.array([3], np.int64)}
        kept.write("one", {"score": -np.inf, "looks": [1, 2]}, tensors)
        record, found = kept.read("one")
        assert record == {"score": -np.inf, "looks": [1, 2]}
        np.testing.assert_array_equal(found["a"], [[1.0, 2.0]])
        assert found["b"].dtype == np.int64
        assert kept.read("another") is None

    def test_replace_earlier_ones_and_leave_nothing_of_them(self, kept, tmp_path):
        for value in (1.0, 2.0):
            kept.write("one", {"value": value}, {"a": tf.constant(value)})
        record, tensors = kept.read("one")
        assert record["value"] == tensors["a"] == 2.0
        assert files(tmp_path) == {"one", "one-1"}
        kept.remove("one")
        assert kept.read("one") is None
        assert files(tmp_path) == set()

    def test_are_not_there_before_they_are_whole(self, kept, monkeypatch):
        kept.write("one", {"value": 1}, {"a": tf.constant(1.0)})

        def killed(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(tf.io.gfile, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.write("one", {"value": 2}, {"a": tf.constant(2.0)})
        record, tensors = kept.read("one")
        assert record["value"] == tensors["a"] == 1

    def test_of_another_training_are_not_seen(self, kept):
        kept.within("key").write("one", {})
        assert kept.within("key").read("one") == ({}, {})
        assert kept.within("other").read("one") is None

    def test_go_nowhere_without_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        nowhere = Checkpoints().within("key")
        nowhere.write("one", {}, {"a": tf.constant(1.0)})
        nowhere.clear()
        assert nowhere.read("one") is None
        assert list(tmp_path.iterdir()) == []


class TestRun:
    def test_only_the_newest_state_is_kept(self, tmp_path):
        folder = tmp_path / "kept [1]"  # Not a pattern.
        run = Checkpoints(str(folder)).run("run")
        for step in range(3):
            run.save([tf.Variable(1.0)], {"step": step})
        assert len(list(folder.rglob("*.index"))) == 1

    def test_time_of_earlier_processes_counts(self, tmp_path, monkeypatch):
        now = [1_000.0]
        monkeypatch.setattr("models.checkpoints.time.monotonic", lambda: now[0])
        folder = str(tmp_path / "kept")
        variable = tf.Variable(1.0)
        run = Checkpoints(folder, every_seconds=60.0).run("run")
        now[0] += 59
        assert not run.is_due
        now[0] += 1
        assert run.is_due
        run.save([variable], {"step": 7})
        assert not run.is_due
        # Another process, whose clock shows something else.
        now[0] = 5.0
        variable.assign(0.0)
        after = Checkpoints(folder, every_seconds=60.0)
        begun = after.clock()
        again = after.run("run")
        assert again.restore([variable]) == {"step": 7}
        assert variable.numpy() == 1.0
        now[0] += 3
        assert again.seconds == 63.0
        assert after.clock() - begun == 63.0

    def test_that_was_never_saved_has_nothing_to_restore(self, kept):
        variable = tf.Variable(1.0)
        assert kept.run("run").restore([variable]) is None
        assert variable.numpy() == 1.0


class TestDigest:
    ratings = Interactions(
        np.array([0, 1], np.int32), np.array([1, 1], np.int32), np.array([3.0, 4.0], np.float32)
    )

    def test_depends_on_every_value(self):
        stars = np.array([3.0, 5.0], np.float32)
        changed = dataclasses.replace(self.ratings, stars=stars)
        assert digest(self.ratings) == digest(dataclasses.replace(self.ratings))
        assert digest(self.ratings) != digest(changed)
        bags = [{"a": Bag(np.arange(2), np.array(splits))} for splits in ([0, 1, 2], [0, 0, 2])]
        assert digest(bags[0]) != digest(bags[1])
        assert digest({"a": 1}, 2) != digest({"a": 1}, 3)

    def test_depends_on_ids(self):
        ids = [np.array(values, object) for values in ([b"ab", b"c"], [b"a", b"bc"])]
        assert digest(ids[0]) != digest(ids[1])

    def test_does_not_depend_on_the_order_of_keys(self):
        assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
