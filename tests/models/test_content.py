import numpy as np
import pytest

from models.content import content_coordinates, token_coordinates, token_presence
from models.preprocessing import CATEGORIES, CITY
from models.tables import Bag, EntityTable


def entities(cities, tags, num_cities=3, num_tags=4):
    rows = np.repeat(np.arange(len(tags)), [len(row) for row in tags])
    values = np.array([tag for row in tags for tag in row], np.int32)
    return EntityTable(
        ids=np.array([b"%d" % row for row in range(len(tags))], object),
        numeric=np.zeros([len(tags), 1], np.float32),
        categorical={CITY: np.array(cities, np.int32)},
        bags={CATEGORIES: Bag.from_pairs(rows, values, len(tags))},
        vocabulary_sizes={CITY: num_cities, CATEGORIES: num_tags},
    )


def weighted(table, keys):
    """Presence over the root of how many rows have a token."""
    presence = token_presence(table, keys).toarray()
    return presence / np.sqrt(np.maximum(presence.sum(axis=0), 1))


class TestTokenPresence:
    def test_by_hand(self):
        # A token that a row has twice, as unknown ones may be, is there once.
        found = token_presence(entities([0, 0, 2, 0], [[1, 3, 3], [], [1], []]), [CITY, CATEGORIES])
        np.testing.assert_array_equal(
            found.toarray(),
            [
                [1, 0, 0, 0, 1, 0, 1],
                [1, 0, 0, 0, 0, 0, 0],
                [0, 0, 1, 0, 1, 0, 0],
                [1, 0, 0, 0, 0, 0, 0],
            ],
        )
        assert found.dtype == np.float32

    def test_takes_the_keys_that_are_asked_for_in_their_order(self):
        table = entities([0, 1], [[0], [0, 2]])
        city, tags = (token_presence(table, [key]).toarray() for key in (CITY, CATEGORIES))
        assert (city.shape, tags.shape) == ((2, 3), (2, 4))
        both = token_presence(table, [CATEGORIES, CITY]).toarray()
        np.testing.assert_array_equal(both, np.concatenate([tags, city], axis=1))

    def test_rows_are_the_sums_of_their_tokens(self):
        rng = np.random.default_rng(0)
        tags = [list(rng.choice(8, rng.integers(4), replace=False)) for _ in range(30)]
        table = entities(rng.integers(3, size=30), tags, 3, 9)
        rows, tokens = token_coordinates(table, [CITY, CATEGORIES], 5, 0)
        presence = token_presence(table, [CITY, CATEGORIES]).toarray()
        np.testing.assert_allclose(rows, presence @ tokens, atol=1e-6)
        rows, tokens = content_coordinates(table, 5, 0)
        presence = token_presence(table, [CATEGORIES, CITY]).toarray()
        np.testing.assert_allclose(rows, presence @ tokens, atol=1e-5)
        # Tag 8 does not occur.
        np.testing.assert_allclose(tokens[8], 0.0, atol=1e-12)


@pytest.fixture(scope="module")
def businesses():
    """Two cities with tags of their own, and a few that both share; the last has no tags."""
    rng = np.random.default_rng(0)
    cities = np.append(np.arange(60) % 2, 0)
    tags = [[3 * city + rng.integers(3), 6 + rng.integers(2)] for city in cities[:60]] + [[]]
    return entities(cities, tags, num_cities=3, num_tags=9)


@pytest.fixture(scope="module")
def coordinates(businesses):
    return content_coordinates(businesses, 12, seed=0)[0]


class TestContentCoordinates:
    def test_shape(self, coordinates):
        assert coordinates.shape == (61, 12)
        assert coordinates.dtype == np.float32

    def test_columns_have_mean_square_one_or_are_empty(self, coordinates):
        # Two cities and eight tags are ten tokens. Of them, the second city is the sum of its three
        # tags, and the two shared tags together are the six others together: eight are left.
        squares = np.square(coordinates).mean(axis=0)
        np.testing.assert_allclose(squares[:8], 1.0, rtol=1e-4)
        assert not coordinates[:, 8:].any()

    def test_columns_are_orthogonal(self, coordinates):
        products = coordinates.T @ coordinates / len(coordinates)
        np.testing.assert_allclose(products - np.diag(np.diag(products)), 0.0, atol=1e-3)

    def test_the_same_tokens_give_the_same_coordinates(self, businesses, coordinates):
        rows = token_presence(businesses, [CITY, CATEGORIES]).toarray()
        twins = [row for row in range(60) if (rows[row] == rows[0]).all()]
        assert len(twins) > 1
        np.testing.assert_allclose(coordinates[twins], coordinates[[0] * len(twins)], atol=1e-4)
        assert np.abs(coordinates[0] - coordinates[1]).max() > 0.1

    def test_coordinates_keep_the_likeness_of_businesses(self, businesses):
        # All directions that are not empty together, each times its length, are the matrix itself
        # in other axes: inner products of rows are kept.
        matrix = weighted(businesses, [CATEGORIES, CITY])
        lengths = np.linalg.svd(matrix, compute_uv=False)
        found = content_coordinates(businesses, 12, seed=0)[0] * lengths / np.sqrt(len(matrix))
        np.testing.assert_allclose(found @ found.T, matrix @ matrix.T, atol=1e-3)

    def test_does_not_depend_on_how_features_are_listed(self, businesses, coordinates):
        listed = dict(reversed(businesses.vocabulary_sizes.items()))
        other = EntityTable(
            businesses.ids, businesses.numeric, businesses.categorical, businesses.bags, listed
        )
        np.testing.assert_array_equal(content_coordinates(other, 12, seed=0)[0], coordinates)

    def test_the_same_seed_gives_the_same_coordinates(self, businesses, coordinates):
        np.testing.assert_array_equal(content_coordinates(businesses, 12, seed=0)[0], coordinates)

    def test_more_coordinates_than_tokens_leave_the_rest_empty(self):
        found = content_coordinates(entities([0, 1, 0], [[], [], []], 2, 1), 5, seed=0)[0]
        # Two cities without a business in common: each is a coordinate of its own.
        assert found.shape == (3, 5)
        np.testing.assert_allclose(np.square(found).mean(axis=0), [1, 1, 0, 0, 0], atol=1e-5)

    def test_one_business(self):
        found = content_coordinates(entities([0], [[1]]), 4, seed=0)[0]
        np.testing.assert_allclose(np.abs(found), [[1, 0, 0, 0]], atol=1e-5)
