import numpy as np
import pytest

from models.index_recall import Recall, recall_against_exact, recalls_against_exact


def test_recall_by_hand():
    # Two of three, in any order, and none of three.
    found = np.array([[4, 9, 1], [7, 8, 9]])
    truth = np.array([[1, 2, 4], [1, 2, 3]])
    assert recalls_against_exact(found, truth).tolist() == pytest.approx([2 / 3, 0])
    assert recall_against_exact(found, truth) == pytest.approx(2 / 6)
    assert recall_against_exact(found, found) == 1.0


def test_an_estimate_has_a_standard_error():
    # Of .5 and 1: mean .75, deviation .25, over √2.
    recall = Recall.of(np.array([0.5, 1.0]))
    assert recall == Recall(0.75, pytest.approx(0.25 / 2**0.5))
    assert str(recall) == "0.7500 ± 0.3465"


@pytest.mark.parametrize(("target", "short"), [(0.9, False), (1.09, False), (1.1, True)])
def test_it_falls_short_if_the_whole_interval_does(target, short):
    # .75 + 1.96 · .25 / √2 = 1.0965.
    assert Recall(0.75, 0.25 / 2**0.5).falls_short(target) is short
