import numpy as np
import pytest

from models import rating_data
from models.aggregates import cross_fit
from models.options import TrainingOptions
from models.preprocessing import CATEGORIES
from models.rating_data import RatingSource
from models.tables import Bag, EntityTable, Interactions

_NUM_USERS, _NUM_BUSINESSES = 9, 7


def _source() -> RatingSource:
    rng = np.random.default_rng(0)
    ratings = Interactions(
        rng.integers(_NUM_USERS, size=80).astype(np.int32),
        rng.integers(_NUM_BUSINESSES, size=80).astype(np.int32),
        rng.integers(1, 6, 80).astype(np.float32),
        rng.integers(10**9, size=80),
    )
    businesses = EntityTable(
        ids=np.char.mod(b"%d", np.arange(_NUM_BUSINESSES)),
        numeric=np.zeros([_NUM_BUSINESSES, 1], np.float32),
        bags={CATEGORIES: Bag(np.arange(_NUM_BUSINESSES), np.arange(_NUM_BUSINESSES + 1))},
        vocabulary_sizes={CATEGORIES: _NUM_BUSINESSES},
    )
    users = EntityTable(
        ids=np.char.mod(b"%d", np.arange(_NUM_USERS)),
        numeric=rng.normal(size=(_NUM_USERS, 2)).astype(np.float32),
    )
    options = TrainingOptions(num_folds=3)
    return RatingSource(ratings, users, businesses, (3.0, 2.0), 1.0, options)


@pytest.fixture
def cross_fits(monkeypatch):
    """The taste dimensions that rows were cross-fitted along, in order."""
    along = []

    def recorded(*arguments):
        along.append(arguments[6].taste_dim)
        return cross_fit(*arguments)

    monkeypatch.setattr(rating_data, "cross_fit", recorded)
    return along


class TestSource:
    def test_without_taste_is_what_would_be_prepared_without_coordinates(self):
        source = _source()
        source.rows(2)
        found, expected = source.rows(0), _source().rows(0)
        for key in ("user_sums", "business_sums", "business_priors"):
            np.testing.assert_array_equal(getattr(found.known, key), getattr(expected.known, key))
        for key in ("users", "businesses"):
            np.testing.assert_array_equal(getattr(found.sums, key), getattr(expected.sums, key))
        np.testing.assert_array_equal(found.sums.taste.businesses, expected.sums.taste.businesses)
        for key in ("user_bias", "business_bias"):
            of_bias = getattr(expected.sums.bias, key)
            np.testing.assert_array_equal(getattr(found.sums.bias, key), of_bias)

    def test_sums_need_no_rows(self, cross_fits):
        source = _source()
        assert source.sums(2).taste.taste_dim == 2
        assert source.sums(2) is source.sums(2)
        assert not cross_fits

    def test_rows_of_one_dimension_are_kept_until_they_are_forgotten(self, cross_fits):
        source = _source()
        for taste_dim in (2, 0, 2, 0):
            assert source.rows(taste_dim).sums.taste.taste_dim == taste_dim
        assert cross_fits == [2]
        source.rows(1)
        source.rows(2)
        assert cross_fits == [2, 1, 2]
        source.forget_rows()
        source.rows(2)
        assert cross_fits == [2, 1, 2, 2]
