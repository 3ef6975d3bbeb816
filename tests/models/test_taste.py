import numpy as np
import pytest

from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.tables import Bag, EntityTable, Interactions
from models.taste import Taste, taste_coordinates


def businesses(tags, num_tags):
    rows = np.repeat(np.arange(len(tags)), [len(row) for row in tags])
    values = np.array([tag for row in tags for tag in row], np.int32)
    return EntityTable(
        ids=np.array([b"%d" % row for row in range(len(tags))], object),
        numeric=np.zeros([len(tags), 1], np.float32),
        bags={CATEGORIES: Bag.from_pairs(rows, values, len(tags))},
        vocabulary_sizes={CITY: 1, CATEGORIES: num_tags, ATTRIBUTES: 1},
    )


def two_circles(num_users=40, num_businesses=20):
    """Users of either parity visit businesses of the same parity, and two of them one more."""
    pairs = [
        (user, business)
        for user in range(num_users)
        for business in range(num_businesses)
        if user % 2 == business % 2 and (user + business) % 10
    ] + [(0, 1), (1, 0)]
    users, visited = np.array(pairs, np.int32).T
    return Interactions(users, visited, np.ones(len(users), np.float32))


@pytest.fixture(scope="module")
def taste():
    # A tag on every third business; the last business has neither tag nor visit, nor the last user.
    tags = [[row % 3] if row < 20 else [] for row in range(21)]
    return taste_coordinates(two_circles(), 41, businesses(tags, 4), taste_dim=2, seed=0)


def test_shapes(taste):
    assert taste.users.shape == (41, 2)
    assert taste.businesses.shape == (21, 2 + 4)
    assert taste.users.dtype == taste.businesses.dtype == np.float32
    assert taste.taste_dim == 2


def test_the_first_coordinate_tells_the_circles_apart(taste):
    for coordinates in (taste.users[:40, 0], taste.businesses[:20, 0]):
        signs = np.sign(coordinates)
        assert (signs[::2] == signs[0]).all()
        assert (signs[1::2] == -signs[0]).all()
    # A user stands where the visited businesses stand.
    assert np.sign(taste.users[0, 0]) == np.sign(taste.businesses[0, 0])


def test_businesses_with_the_same_tags_have_the_same_tag_coordinates(taste):
    by_tags = taste.businesses[:20, 2:]
    np.testing.assert_allclose(by_tags[0], by_tags[3], atol=1e-5)
    assert np.abs(by_tags[0] - by_tags[1]).max() > 0.1


def test_who_is_unknown_stands_in_the_middle(taste):
    assert not taste.users[40].any()
    assert not taste.businesses[20].any()


def test_coordinates_have_mean_square_one_over_ratings(taste):
    ratings = two_circles()
    squares = np.square(taste.users[ratings.user_rows]).mean(axis=0)
    np.testing.assert_allclose(squares, 1.0, rtol=0.05)
    squares = np.square(taste.businesses[ratings.business_rows]).mean(axis=0)
    # Three tags span three coordinates; the fourth is empty.
    np.testing.assert_allclose(squares, [1, 1, 1, 1, 1, 0], rtol=0.05, atol=1e-6)


def test_dimension_zero_is_none():
    found = taste_coordinates(two_circles(), 40, businesses([[]] * 20, 1), 0, seed=0)
    none = Taste.none(40, 20)
    assert found.users.shape == none.users.shape == (40, 0)
    assert found.businesses.shape == none.businesses.shape == (20, 0)


@pytest.mark.parametrize("num_ratings", [1, 2, 3])
def test_hardly_any_data_gives_finite_coordinates(num_ratings):
    found = taste_coordinates(
        two_circles()[:num_ratings], 40, businesses([[]] * 20, 1), taste_dim=8, seed=0
    )
    assert found.businesses.shape == (20, 24)
    assert np.isfinite(found.users).all()
    assert np.isfinite(found.businesses).all()
