import numpy as np
import pytest
import tensorflow as tf

from models.filters import DEFAULTS, EARTH_RADIUS_KM, WEEK_MINUTES, Filters, is_in
from models.places import Places

_NUM = 400


@pytest.fixture(scope="module")
def places():
    """Anywhere on Earth, often open past midnight; of one in eight nothing is known."""
    rng = np.random.default_rng(0)
    degrees = np.stack([rng.uniform(-90, 90, _NUM), rng.uniform(-180, 180, _NUM)], axis=1)
    degrees[::8] = np.nan
    opening = rng.integers(0, 1_440, (_NUM, 7))
    closing = opening + rng.integers(1, 1_441, (_NUM, 7))
    closed = rng.random((_NUM, 7)) < 0.3
    closed[::8] = True
    rows = np.arange(_NUM, dtype=np.int32)
    return Places(
        names=np.full(_NUM, b"", object),
        categories={b"Tea": rows[::3], b"Bars": rows[300:]},
        cities={b"Reno": rows[::2], b"Elko": rows[:7]},
        locations_degrees=degrees.astype(np.float32),
        opening_minutes=np.where(closed, -1, opening).astype(np.int16),
        closing_minutes=np.where(closed, -1, closing).astype(np.int16),
    )


@pytest.fixture(scope="module")
def rows_of(places):
    filters = Filters(places)

    def rows(**told):
        one = {key: tf.constant(told.get(key, value)) for key, value in DEFAULTS.items()}
        return filters.rows(one).numpy().tolist()

    return rows


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, range(_NUM)),
        ({"category": "Tea"}, range(0, _NUM, 3)),
        ({"city": "Elko"}, range(7)),
        ({"category": "Tea", "city": "Reno"}, range(0, _NUM, 6)),
        ({"category": "Tea", "city": "Elko"}, [0, 3, 6]),
        ({"category": "Bars", "city": "Elko"}, []),
        ({"category": "Alchemy"}, []),
        ({"category": "Tea", "city": "Atlantis"}, []),
    ],
)
def test_labels(rows_of, told, expected):
    assert rows_of(**told) == list(expected)


def _is_open(places, row, minute):
    """Walks through the hours of the week, and through those of the week before."""
    for day in range(7):
        opening, closing = places.opening_minutes[row, day], places.closing_minutes[row, day]
        for week in (0, -WEEK_MINUTES):
            begin = day * 1_440 + week
            if opening >= 0 and begin + opening <= minute < begin + closing:
                return True
    return False


@pytest.mark.parametrize("minute", [0, 1, 59, 600, 1_439, 1_440, 5_000, 8_700, WEEK_MINUTES - 1])
def test_open_at(rows_of, places, minute):
    expected = [row for row in range(_NUM) if _is_open(places, row, minute)]
    assert 0 < len(expected) < _NUM
    assert rows_of(open_at_minute=minute) == expected


def _kilometres(one, other):
    """Great-circle distance by the angle between unit vectors, in 64 bits."""

    def vector(degrees):
        latitude, longitude = np.radians(degrees.astype(np.float64))
        return np.array([
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ])

    a, b = vector(np.asarray(one)), vector(np.asarray(other))
    return EARTH_RADIUS_KM * np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)


@pytest.mark.parametrize("here", [(0.0, 0.0), (36.1, -115.2), (89.0, 10.0), (-45.0, 179.5)])
@pytest.mark.parametrize("within_km", [50.0, 700.0, 5_000.0, 20_100.0])
def test_distance(rows_of, places, here, within_km):
    distances = np.array([_kilometres(there, here) for there in places.locations_degrees])
    found = set(rows_of(latitude_degrees=here[0], longitude_degrees=here[1], within_km=within_km))
    # Within a metre in a kilometre either answer is right.
    assert set(np.flatnonzero(distances < within_km * 0.999)) <= found
    assert found <= set(np.flatnonzero(distances < within_km * 1.001))


def test_short_distances_keep_their_digits():
    """Places 100 m apart, where the cosine of the angle is 1 in 32 bits."""
    metres = np.arange(0, 2_000, 100)
    degrees = np.stack([36.1 + metres / 111_195, np.full(20, -115.2)], axis=1)
    filters = Filters(
        Places(**{**vars(Places.unknown(20)), "locations_degrees": degrees.astype(np.float32)})
    )
    one = {key: tf.constant(value) for key, value in DEFAULTS.items()} | {
        "latitude_degrees": tf.constant(36.1),
        "longitude_degrees": tf.constant(-115.2),
        "within_km": tf.constant(0.95),
    }
    assert filters.rows(one).numpy().tolist() == list(range(10))


def test_filters_combine(rows_of, places):
    told = {"category": "Tea", "open_at_minute": 600, "within_km": 9_000.0}
    alone = [set(rows_of(**{key: value})) for key, value in told.items()]
    assert rows_of(**told) == sorted(set.intersection(*alone))
    assert rows_of(**told)


@pytest.mark.parametrize("ordered", [[], [3], [1, 3, 3, 9]])
def test_is_in(ordered):
    found = is_in(tf.constant([0, 3, 9, 12], tf.int32), tf.constant(ordered, tf.int32))
    assert found.numpy().tolist() == [value in ordered for value in (0, 3, 9, 12)]
