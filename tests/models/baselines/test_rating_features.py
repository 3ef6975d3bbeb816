import numpy as np

from models.aggregates import NUM_AGGREGATES
from models.baselines.rating_features import RatingFeatures


def _features(data) -> RatingFeatures:
    return RatingFeatures(data.users, data.businesses, (2.0, 2.0), seed=0)


def test_columns_by_their_place(make_data):
    data = make_data([(0, 0, 5), (0, 1, 4), (1, 0, 2), (2, 1, 3)], [(1, 1, 4)], 4, 3)
    features = _features(data)
    rows = features.from_all_of(data.train)(np.array([1, 3]), np.array([2, 0]))
    assert rows.shape == (2, RatingFeatures.width(data.users, data.businesses))
    assert rows.dtype == np.float32
    assert features.categorical == [0]
    np.testing.assert_array_equal(rows[:, 0], data.businesses.categorical["city"][[2, 0]])
    # The sum of both sides' first aggregates, the shrunken biases.
    np.testing.assert_allclose(rows[:, 1], rows[:, 2] + rows[:, 2 + NUM_AGGREGATES], atol=1e-6)
    covariates = rows[:, 2 + 2 * NUM_AGGREGATES :]
    np.testing.assert_array_equal(covariates[:, :2], data.users.numeric[[1, 3]])
    np.testing.assert_array_equal(covariates[:, 2:4], data.businesses.numeric[[2, 0]])


def test_a_training_row_does_not_hold_its_own_stars(make_data):
    """Changing the only rating of a user changes what others read, never that row itself."""
    triples = [(u, b, 3.0 + (u + b) % 3) for u in range(1, 20) for b in range(10)]
    rows = [
        _features(data).of_training_rows(data.train)[-1]
        for data in (make_data([*triples, (0, 0, stars)], [], 20, 10) for stars in (1.0, 5.0))
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
