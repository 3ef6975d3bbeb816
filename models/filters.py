"""Which businesses a request lets through: by label, opening hours and distance."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.features import DAYS
from models.places import Places
from models.postings import Postings

EARTH_RADIUS_KM = 6_371.0088  # Mean radius, IUGG.
DAY_MINUTES = 1_440
WEEK_MINUTES = len(DAYS) * DAY_MINUTES

# Inputs of a filter, with the values that let everything through.
DEFAULTS = {
    "category": "",
    "city": "",
    # Minute of the week in the place's own time, 0 being where Monday begins.
    "open_at_minute": -1,
    "latitude_degrees": 0.0,
    "longitude_degrees": 0.0,
    "within_km": 0.0,
}
# What they mean, for those who call.
DESCRIPTIONS = {
    "category": 'Category that a business must have, spelt as in the data; "" for any.',
    "city": 'City that a business must be in, spelt as in the data; "" for any.',
    "open_at_minute": "Minute of the week at which a business must be open, in its own time: 0 is "
    "where Monday begins; -1 for any time.",
    "latitude_degrees": "Latitude of the point that within_km counts from.",
    "longitude_degrees": "Longitude of the point that within_km counts from.",
    "within_km": "Greatest distance from the point in km, along a great circle; 0 for anywhere.",
}


class Filters(tf.Module):
    """Finds the rows of the businesses that pass a filter."""

    def __init__(self, places: Places):
        """Builds the look-ups.

        Args:
          places: Facts of the catalogue.
        """
        super().__init__(name="filters")
        self._num_businesses = len(places.locations_degrees)
        self.categories = Postings(places.categories, "categories")
        self.cities = Postings(places.cities, "cities")
        self.locations_degrees = tf.Variable(
            places.locations_degrees, trainable=False, name="locations_degrees"
        )
        self.opening_minutes = tf.Variable(
            places.opening_minutes, trainable=False, name="opening_minutes"
        )
        self.closing_minutes = tf.Variable(
            places.closing_minutes, trainable=False, name="closing_minutes"
        )

    def asked(self, filters: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Tells which rows filter at all.

        Args:
          filters: By the names of `DEFAULTS`, `[batch]` tensors.

        Returns:
          `[batch]` bool tensor.
        """
        return (
            (filters["category"] != "")
            | (filters["city"] != "")
            | (filters["open_at_minute"] >= 0)
            | (filters["within_km"] > 0)
        )

    def rows(self, one: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Finds the businesses that pass one filter.

        Args:
          one: By the names of `DEFAULTS`, scalars.

        Returns:
          `[num_rows]` int32 tensor of rows, sorted.
        """
        by_category, by_city = one["category"] != "", one["city"] != ""

        def labelled() -> tf.Tensor:
            return tf.cond(
                by_category & by_city,
                lambda: _intersection(
                    self.categories.rows(one["category"]), self.cities.rows(one["city"])
                ),
                lambda: tf.cond(
                    by_category,
                    lambda: self.categories.rows(one["category"]),
                    lambda: self.cities.rows(one["city"]),
                ),
            )

        rows = tf.cond(
            by_category | by_city,
            labelled,
            lambda: tf.range(self._num_businesses, dtype=tf.int32),
        )
        rows = tf.cond(
            one["open_at_minute"] >= 0,
            lambda: tf.boolean_mask(rows, self._is_open(rows, one["open_at_minute"])),
            lambda: rows,
        )
        return tf.cond(
            one["within_km"] > 0,
            lambda: tf.boolean_mask(rows, self._is_near(rows, one)),
            lambda: rows,
        )

    def _is_open(self, rows: tf.Tensor, minute: tf.Tensor) -> tf.Tensor:
        """Tells who is open then, by the hours of that day or of the night before."""
        day, minute = minute // DAY_MINUTES, minute % DAY_MINUTES
        is_open = tf.zeros_like(rows, tf.bool)
        for day_, minute_ in ((day, minute), ((day - 1) % len(DAYS), minute + DAY_MINUTES)):
            opening = tf.cast(tf.gather(self.opening_minutes[:, day_], rows), tf.int32)
            closing = tf.cast(tf.gather(self.closing_minutes[:, day_], rows), tf.int32)
            is_open |= (opening >= 0) & (opening <= minute_) & (minute_ < closing)
        return is_open

    def _is_near(self, rows: tf.Tensor, one: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Tells who is within the distance, along a great circle of a sphere.

        By the haversine, whose small values keep their digits. A place without a location is NaN
        far away.
        """
        radians = np.float32(np.pi / 180)
        here = radians * tf.stack([one["latitude_degrees"], one["longitude_degrees"]])
        there = radians * tf.gather(self.locations_degrees, rows)
        sines = tf.sin((there - here) / 2.0) ** 2
        haversine = sines[:, 0] + tf.cos(here[0]) * tf.cos(there[:, 0]) * sines[:, 1]
        # Nothing is farther than half a turn.
        half_angle = one["within_km"] / np.float32(2 * EARTH_RADIUS_KM)
        return haversine <= tf.sin(tf.minimum(half_angle, np.float32(np.pi / 2))) ** 2


def _intersection(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Finds the values of two sorted int32 vectors that are in both."""
    small, large = tf.cond(
        tf.size(one) < tf.size(other), lambda: (one, other), lambda: (other, one)
    )
    return tf.boolean_mask(small, is_in(small, large))


def is_in(values: tf.Tensor, ordered: tf.Tensor) -> tf.Tensor:
    """Tells which values a sorted vector holds.

    Args:
      values: `[num_values]` int32 tensor.
      ordered: `[size]` int32 tensor, sorted.

    Returns:
      `[num_values]` bool tensor.
    """
    # One value more than all, so that a place behind the end can be looked at, too.
    padded = tf.concat([ordered, [tf.int32.max]], axis=0)
    return tf.gather(padded, tf.searchsorted(ordered, values)) == values
