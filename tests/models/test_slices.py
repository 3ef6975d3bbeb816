import numpy as np
import pytest

from models import slice_names
from models.slices import MAX_LABELS, Known, Labels, business_slices, user_slices
from models.tables import Interactions


def test_known_counts_by_hand():
    rows = np.array([0, 0, 2], np.int32), np.array([1, 1, 0], np.int32), np.array([5, 4, 3.0])
    known = Known.from_interactions(Interactions(*rows), 4, 3)
    assert known.user_counts.tolist() == [2, 0, 1, 0]
    assert known.business_counts.tolist() == [1, 2, 0]


def test_activity_covers_every_warm_test_user_once():
    counts = np.random.default_rng(0).geometric(0.2, 500) - 1
    masks = user_slices(Known(counts, np.ones(1)), np.arange(500))
    parts = [mask for name, mask in masks.items() if name.startswith("activity=")]
    assert 5 <= len(parts) <= 10
    np.testing.assert_array_equal(np.sum(parts, axis=0), counts > 0)
    np.testing.assert_array_equal(masks["cold_user"], counts == 0)


def test_activity_is_in_tenths_where_counts_differ():
    masks = user_slices(Known(np.arange(1, 101), np.ones(1)), np.arange(100))
    sizes = {name: mask.sum() for name, mask in masks.items() if name.startswith("activity=")}
    assert set(sizes.values()) == {10}
    assert list(sizes)[0] == "activity=1-10"


def test_users_of_equal_counts_stay_together():
    masks = user_slices(Known(np.array([2] * 95 + [3] * 5), np.ones(1)), np.arange(100))
    assert [name for name in masks if "=" in name] == ["activity=2", "activity=3"]


def test_labels_are_the_ones_with_the_most_test_interactions():
    # City c has c test interactions of its one business.
    cities = {b"city %02d" % c: np.array([c]) for c in range(15)}
    visits = np.repeat(np.arange(15), np.arange(15))
    masks = business_slices(Known(np.ones(1), np.arange(15)), Labels(cities=cities), visits)
    named = [name for name in masks if name.startswith("city=")]
    assert named == [f"city=city {c:02d}" for c in range(14, 14 - MAX_LABELS, -1)]
    assert np.flatnonzero(masks["city=city 14"]).tolist() == [14]
    assert np.flatnonzero(masks["cold_business"]).tolist() == [0]


def test_categories_overlap_and_odd_names_stay_on_one_line():
    rows = {b"Tea\n  House": np.array([0, 1]), b"\xff": np.array([1])}
    masks = business_slices(
        Known(np.ones(1), np.ones(2)), Labels(categories=rows), np.array([0, 1])
    )
    assert masks["category=Tea House"].tolist() == [True, True]
    assert masks["category=\ufffd"].tolist() == [False, True]


@pytest.mark.parametrize("name", ["cold_user", "warm", "city=Reno", "activity=3-5"])
def test_names_that_can_exist(name):
    assert slice_names.is_known(name)


@pytest.mark.parametrize("name", ["", "cold", "city", "city=", "town=Reno", "=x"])
def test_names_that_can_not(name):
    assert not slice_names.is_known(name)
