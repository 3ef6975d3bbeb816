import numpy as np

from models.options import TrainingOptions
from models.preprocessing import CATEGORIES
from models.rating_training import RatingData
from models.tables import Bag, EntityTable, Interactions

_NUM_USERS, _NUM_BUSINESSES = 9, 7


def _prepare(taste_dim):
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
    return RatingData.prepare(ratings, users, businesses, (3.0, 2.0), 1.0, taste_dim, options)


def test_without_taste_is_what_would_be_prepared_without_coordinates():
    found, expected = _prepare(2).without_taste(), _prepare(0)
    for key in ("user_sums", "business_sums", "business_priors"):
        np.testing.assert_array_equal(getattr(found.known, key), getattr(expected.known, key))
    for key in ("users", "businesses"):
        np.testing.assert_array_equal(getattr(found.sums, key), getattr(expected.sums, key))
    np.testing.assert_array_equal(found.sums.taste.businesses, expected.sums.taste.businesses)
    for key in ("user_bias", "business_bias"):
        of_bias = getattr(expected.sums.bias, key)
        np.testing.assert_array_equal(getattr(found.sums.bias, key), of_bias)
