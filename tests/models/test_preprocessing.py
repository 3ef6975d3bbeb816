import math

import numpy as np
import pytest

from models import features
from models.preprocessing import (
    ATTRIBUTES,
    CATEGORIES,
    CITY,
    MAX_Z_SCORE,
    NUMERIC,
    preprocess_businesses,
)
from models.query_encoder import USER_COVARIATES

# The z-score of the largest of three evenly spaced values: 1/√(2/3).
_Z = math.sqrt(1.5)
_NUM_COUNTS = 2 + len(features.USER_COUNTS)
# Order of the columns: years, elite years, friends, then the counts.
_FANS = 3 + features.USER_COUNTS.index("fans")
_USEFUL = 3 + features.USER_COUNTS.index("useful")
_HOT = 3 + features.USER_COUNTS.index("compliment_hot")


class TestUsers:
    def test_width_is_one_column_a_covariate_and_a_flag(self, user_graph):
        assert len(USER_COVARIATES) == 1 + _NUM_COUNTS
        assert user_graph.output.transformed_feature_spec()[NUMERIC].shape == [2 + _NUM_COUNTS]

    # The four columns that vary, by hand: dates are evenly spaced, log(1 + count) of 0, 1 and 3
    # likewise; friends fall where the others rise. The user without a profile has a part in none
    # of the means.
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (b"user 0", [-_Z, -_Z, _Z, -_Z]),
            (b"user 1", [0, 0, 0, 0]),
            (b"user 2", [_Z, _Z, -_Z, _Z]),
            (b"only an id", [0, 0, 0, 0]),
        ],
    )
    def test_z_scores_by_hand(self, user_graph, name, expected):
        numeric = user_graph.rows[name][NUMERIC]
        np.testing.assert_allclose(numeric[[0, 1, 2, _FANS]], expected, atol=1e-5)

    def test_flag_tells_a_profile_from_an_average(self, user_graph):
        flags = {name: row[NUMERIC][-1] for name, row in user_graph.rows.items()}
        assert flags == {b"user 0": 1.0, b"user 1": 1.0, b"user 2": 1.0, b"only an id": 0.0}

    def test_constant_and_absent_covariates_say_nothing(self, user_graph):
        numeric = np.stack([row[NUMERIC] for row in user_graph.rows.values()])
        assert not numeric[:, [_USEFUL, _HOT]].any()

    def test_serving_gives_the_same(self, user_graph, parse):
        layer = user_graph.output.transform_features_layer()
        raw = [
            {
                features.USER_ID: [b"anybody"],
                features.USER_YELPING_SINCE_SECONDS: [1_400_000_000],
                features.USER_NUM_ELITE_YEARS: [3],
                features.USER_NUM_FRIENDS: [0],
                "fans": [3],
                "useful": [5],
            },
            {features.USER_ID: [b"nobody"]},
        ]
        numeric = layer(parse(user_graph.spec, raw))[NUMERIC].numpy()
        np.testing.assert_allclose(numeric[0], user_graph.rows[b"user 2"][NUMERIC], rtol=1e-5)
        np.testing.assert_allclose(numeric[1], user_graph.rows[b"only an id"][NUMERIC])

    def test_an_absurd_count_is_bounded(self, user_graph, parse):
        layer = user_graph.output.transform_features_layer()
        raw = [{features.USER_ID: [b"bot"], "fans": [10**12], "compliment_hot": [7]}]
        numeric = layer(parse(user_graph.spec, raw))[NUMERIC].numpy()[0]
        assert numeric[_FANS] == MAX_Z_SCORE
        # Nothing was learnt of a covariate that no user had.
        assert np.isfinite(numeric).all()
        assert abs(numeric[_HOT]) <= MAX_Z_SCORE


class TestBusinesses:
    # Latitude, longitude, price, is it open, hours a week; two values each, so z = ±1; then the
    # flags of position, price and hours.
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (b"cafe", [-1, 1, -1, 1, -1, 1, 1, 1]),
            (b"bar", [1, -1, 1, -1, 1, 1, 1, 1]),
            (b"no hours", [0] * 8),
            (b"only an id", [0] * 8),
        ],
    )
    def test_numbers_by_hand(self, business_graph, name, expected):
        numeric = business_graph.rows[name][NUMERIC]
        np.testing.assert_allclose(numeric, expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("opening", "closing", "hours"),
        [
            ([0] * 7, [1_440] * 7, 168),
            ([600] * 5 + [-1, -1], [1_320] * 5 + [-1, -1], 60),
            ([-1] * 6 + [1_200], [-1] * 6 + [1_560], 6),
            ([-1] * 7, [-1] * 7, 0),
        ],
    )
    def test_week_hours_by_hand(self, business_graph, parse, opening, closing, hours):
        raw = {
            features.BUSINESS_ID: [b"x"],
            features.BUSINESS_OPENING_MINUTES: opening,
            features.BUSINESS_CLOSING_MINUTES: closing,
        }
        layer = business_graph.output.transform_features_layer()
        numeric = layer(parse(business_graph.spec, [raw]))[NUMERIC].numpy()[0]
        # The cafe's 10 hours and the bar's 30: mean 20, deviation 10.
        assert numeric[4] == pytest.approx(min((hours - 20) / 10, MAX_Z_SCORE), abs=1e-5)
        assert numeric[-1] == 1.0

    def test_tokens_are_numbered_by_frequency(self, business_graph):
        rows, output = business_graph.rows, business_graph.output
        assert output.vocabulary_by_name(CITY) == [b"Reno", b"Tampa"]
        categories = output.vocabulary_by_name(CATEGORIES)
        assert categories[0] == b"Tea"
        assert set(categories) == {b"Tea", b"Cakes", b"Bars"}
        tokens = {name: [categories[i] for i in row[CATEGORIES]] for name, row in rows.items()}
        assert tokens == {
            b"cafe": [b"Tea", b"Cakes"],
            b"bar": [b"Bars", b"Tea"],
            b"no hours": [b"Tea"],
            b"only an id": [],
        }

    def test_an_unknown_token_has_the_last_position(self, business_graph, parse):
        raw = [
            {
                features.BUSINESS_ID: [b"x"],
                features.BUSINESS_CITY: [b"Atlantis"],
                features.BUSINESS_CATEGORIES: [b"Alchemy", b"Tea"],
            },
            {features.BUSINESS_ID: [b"y"]},
        ]
        layer = business_graph.output.transform_features_layer()
        transformed = layer(parse(business_graph.spec, raw))
        # Positions 0 and 1, or 0 to 2, are the vocabulary's; a business without a city counts
        # as one of an unknown city.
        assert np.ravel(transformed[CITY]).tolist() == [2, 2]
        assert transformed[CATEGORIES].values.numpy().tolist() == [3, 0]

    def test_serving_gives_the_same(self, business_graph, parse):
        raw: list[dict] = [
            {features.BUSINESS_ID: [b"only an id"]},
            {
                features.BUSINESS_ID: [b"bar"],
                features.BUSINESS_CITY: [b"Reno"],
                features.BUSINESS_LATITUDE_DEGREES: [20.0],
                features.BUSINESS_LONGITUDE_DEGREES: [-50.0],
                features.BUSINESS_PRICE_RANGE: [3],
                features.BUSINESS_IS_OPEN: [0],
                features.BUSINESS_CATEGORIES: [b"Bars", b"Tea"],
                features.BUSINESS_OPENING_MINUTES: [-1, -1, -1, -1, 1_080, 1_080, 1_080],
                features.BUSINESS_CLOSING_MINUTES: [-1, -1, -1, -1, 1_680, 1_680, 1_680],
            },
        ]
        layer = business_graph.output.transform_features_layer()
        transformed = layer(parse(business_graph.spec, raw))
        for place, row in enumerate(raw):
            (name,) = row[features.BUSINESS_ID]
            expected = business_graph.rows[name]
            np.testing.assert_allclose(transformed[NUMERIC][place], expected[NUMERIC], atol=1e-6)
            assert np.ravel(transformed[CITY])[place] == expected[CITY]
        assert transformed[CATEGORIES].values.numpy().tolist() == (
            business_graph.rows[b"bar"][CATEGORIES].tolist()
        )

    def test_a_token_beside_an_empty_vocabulary_has_a_position_within_bounds(
        self, business_graph, parse
    ):
        assert all(len(row[ATTRIBUTES]) == 0 for row in business_graph.rows.values())
        raw = [{features.BUSINESS_ID: [b"x"], features.BUSINESS_ATTRIBUTES: [b"WiFi=free"]}]
        layer = business_graph.output.transform_features_layer()
        (position,) = layer(parse(business_graph.spec, raw))[ATTRIBUTES].values.numpy()
        # The trainer's tables have one position more than the vocabulary.
        assert 0 <= position <= business_graph.output.vocabulary_size_by_name(ATTRIBUTES)


def test_an_infinite_number_is_as_good_as_none(tmp_path_factory, make_graph):
    """It would make the mean infinite, and the whole column with it say nothing."""
    raw = [
        {features.BUSINESS_ID: [b"%d" % row], features.BUSINESS_LATITUDE_DEGREES: [latitude]}
        for row, latitude in enumerate((10.0, 20.0, float("inf"), float("nan")))
    ]
    folder = tmp_path_factory.mktemp("infinite")
    analysed = make_graph(folder, "businesses", preprocess_businesses, raw)
    found = np.array([analysed.rows[b"%d" % row][NUMERIC] for row in range(4)])
    # Mean 15 and deviation 5 of what is known; the flag says what is not.
    np.testing.assert_allclose(found[:, 0], [-1, 1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(found[:, 5], [1, 1, 0, 0])
