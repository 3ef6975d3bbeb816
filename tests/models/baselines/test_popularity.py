import numpy as np

from models import metrics
from models.baselines.popularity import Popularity
from models.tables import Bag, Interactions


def _visits(business_rows) -> Interactions:
    rows = np.array(business_rows)
    return Interactions(np.arange(len(rows)), rows, np.ones(len(rows), np.float32))


def test_popularity_by_hand():
    popularity = Popularity(_visits([2, 2, 2, 0, 0, 3]), 5)
    nothing = Bag.from_pairs(np.zeros(0, int), np.zeros(0, int), 2)
    # Three, two and one visits; businesses 1 and 4 have none and keep their order.
    assert popularity.recommend(np.array([0, 1]), 5, nothing).tolist() == [[2, 0, 3, 1, 4]] * 2
    assert popularity.recommend(np.array([0, 1]), 4, nothing).tolist() == [[2, 0, 3, 1]] * 2


def test_lists_are_those_of_an_exhaustive_ranking():
    rng = np.random.default_rng(0)
    visits = _visits(rng.integers(50, size=300))
    lengths = rng.integers(0, 50, size=20)
    seen = Bag(
        np.concatenate([rng.permutation(50)[:length] for length in lengths]).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
    )
    counts = np.bincount(visits.business_rows, minlength=50).astype(np.float32)
    expected = metrics.top_k(np.ones([20, 1], np.float32), counts[:, None], 12, seen)
    lists = Popularity(visits, 50).recommend(np.arange(20), 12, seen)
    np.testing.assert_array_equal(lists, expected)
