import numpy as np

from models import postings
from models.tables import Bag


def test_each_label_lists_its_rows_once():
    tokens = Bag.from_pairs(
        np.array([0, 0, 1, 3, 3]), np.array([b"Tea", b"Bars", b"Tea", b"Tea", b"Tea"], object), 4
    )
    found = postings.invert(tokens, np.array([9, 2, 4, 7], np.int32))
    assert {token: rows.tolist() for token, rows in found.items()} == {
        b"Tea": [2, 7, 9],
        b"Bars": [9],
    }


def test_nothing_has_no_labels():
    empty = Bag.from_pairs(np.zeros(0, int), np.zeros(0, object), 2)
    assert postings.invert(empty, np.arange(2, dtype=np.int32)) == {}
