import numpy as np
import pytest

from models.index_recall import Recall, recall_against_exact, recalls_by_score


def test_recall_by_hand():
    # Two of three, in any order, and none of three.
    found = np.array([[4, 9, 1], [7, 8, 9]])
    truth = np.array([[1, 2, 4], [1, 2, 3]])
    assert recall_against_exact(found, truth) == pytest.approx(2 / 6)
    assert recall_against_exact(found, found) == 1.0


def test_recall_by_score_by_hand():
    exact = np.array([[9.0, 8.0, 7.0], [5.0, 5.0, 5.0], [-1.0, -2.0, -3.0]])
    # One missed; another of those that tie; two that are nothing.
    found = np.array([[9.0, 7.0, 6.9], [5.0, 5.0, 5.0], [-1.0, -np.inf, -np.inf]])
    assert recalls_by_score(found, exact).tolist() == pytest.approx([2 / 3, 1.0, 1 / 3])
    assert recalls_by_score(found - np.array([[0], [1e-5], [0]]), exact)[1] == 1.0


def test_an_estimate_has_a_standard_error():
    # Of .5 and 1: mean .75, deviation .25, over √2.
    recall = Recall.of(np.array([0.5, 1.0]))
    assert recall == Recall(0.75, pytest.approx(0.25 / 2**0.5))
    assert str(recall) == "0.7500 ± 0.3465"


@pytest.mark.parametrize(("target", "short"), [(0.9, False), (1.09, False), (1.1, True)])
def test_it_falls_short_if_the_whole_interval_does(target, short):
    # .75 + 1.96 · .25 / √2 = 1.0965.
    assert Recall(0.75, 0.25 / 2**0.5).falls_short(target) is short
