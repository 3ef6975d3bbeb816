import dataclasses

import numpy as np
import pytest

from components.evaluator import executor, exported
from models.evaluation import RetrievalEvaluation
from models.slices import Known
from models.tables import Bag, Interactions


@dataclasses.dataclass(frozen=True)
class Tables:
    """The part of an export's tables that is read here: a list block and a rating block."""

    user_ids: np.ndarray
    business_ids: np.ndarray
    query_embeddings: np.ndarray
    candidate_embeddings: np.ndarray
    score_weights: np.ndarray
    rating_dim: int
    seen: Bag


def tables():
    # Users a, b and a new one; businesses p, q, r and an unknown one.
    return Tables(
        np.array([b"a", b"b"], object),
        np.array([b"p", b"q", b"r"], object),
        np.array([[1, 2, 1], [-1, 3, 1], [0.5, 1, 1]], np.float16),
        np.array([[3, 1, 0], [2, 1, 1], [1, 1, 2], [0, 1, -5]], np.float32),
        np.array([1, 0, 0], np.float32),
        2,
        Bag.from_pairs(np.array([0, 1]), np.array([0, 2], np.int32), 2),
    )


def interactions(*pairs):
    users, businesses = np.array(pairs, np.int32).reshape(-1, 2).T
    return Interactions(users, businesses, np.ones(len(users), np.float32))


TODAY = np.array([b"a", b"b", b"c"], object), np.array([b"o", b"p", b"q", b"r"], object)


def test_predicts_and_ranks_in_todays_rows():
    model = exported.ExportedModel(tables(), *TODAY)
    # a at q: 2 + 1; b at r: 3 + 2, no more than 5; c, a new user, at p: 1; a at o: 2 - 5, no less.
    stars = model.rate(interactions((0, 2), (1, 3), (2, 1), (0, 0)))
    assert stars.tolist() == [3.0, 5.0, 1.0, 1.0]
    test, fitted = interactions((0, 2), (1, 1)), interactions((0, 1))
    protocol = RetrievalEvaluation(test, fitted, Known(np.ones(3, int), np.ones(4, int)))
    # a scores o, p, q, r by 0, 3, 2, 1 and has seen p; b by the same, times -1.
    assert model.rank(protocol).tolist() == [[2, 3, 0, -1], [0, 3, 2, 1]]


def test_the_newest_served_version_is_found(tmp_path):
    assert exported.find_served(str(tmp_path)) is None
    for name in ("9", "10", "incoming-11"):
        (tmp_path / "t2rec" / name).mkdir(parents=True)
    assert exported.find_served(str(tmp_path)) == str(tmp_path / "t2rec" / "10")


def test_a_served_model_that_has_learnt_from_the_test_split_is_refused(monkeypatch):
    monkeypatch.setattr(exported.exported_tables, "read", lambda path: tables())
    # Of the four pairs it has seen a at p.
    with pytest.raises(ValueError, match=r"learnt from 25.0% of the test split"):
        exported.load_served("served", *TODAY, interactions((0, 1), (0, 2), (2, 1), (1, 0)))
    sound = exported.load_served("served", *TODAY, interactions((0, 2), (1, 1), (2, 0)))
    assert sound.candidates.shape == (4, 3)


class Star:
    user_ids, business_ids = TODAY


@pytest.mark.parametrize("content", [None, b"no SavedModel at all"])
def test_a_served_model_that_does_not_load_is_noted(content, tmp_path):
    version = tmp_path / "t2rec" / "7"
    version.mkdir(parents=True)
    if content:
        (version / "saved_model.pb").write_bytes(content)
    model, note = executor._load_previous(str(tmp_path), Star(), interactions((0, 1)))
    assert model is None
    assert note.startswith("the model being served, version 7: ")
    assert "\n" not in note


def test_a_served_model_of_another_kind_is_noted(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.answer = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "t2rec" / "1"))
    model, note = executor._load_previous(str(tmp_path), Star(), interactions((0, 1)))
    assert model is None
    assert "version 1: InputError: Expected an export of this release of t2rec" in note


def test_without_a_served_model_there_is_nothing_to_say(tmp_path):
    assert executor._load_previous(str(tmp_path), Star(), interactions((0, 1))) == (None, "")
