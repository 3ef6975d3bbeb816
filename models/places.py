"""Facts of the businesses that requests filter by: labels, location and opening hours."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from models import features, postings, tables
from models.tables import Bag


@dataclasses.dataclass(frozen=True)
class Places:
    """What filters know of the catalogue, by row.

    Attributes:
      names: `[num_businesses]` array of `bytes`; b"" where there is none.
      categories: By category, the sorted int32 rows of its businesses.
      cities: By city, the sorted int32 rows of its businesses.
      locations_degrees: `[num_businesses, 2]` float32 array of latitudes and longitudes; NaN where
        they are not known.
      opening_minutes: `[num_businesses, 7]` int16 array, Monday first, in minutes after midnight
        of the place's own time; -1 on a day without hours.
      closing_minutes: Likewise; over 1440 at a place that closes after midnight.
    """

    names: np.ndarray
    categories: Mapping[bytes, np.ndarray]
    cities: Mapping[bytes, np.ndarray]
    locations_degrees: np.ndarray
    opening_minutes: np.ndarray
    closing_minutes: np.ndarray

    @classmethod
    def unknown(
        cls,
        num_businesses: int,
        categories: Mapping[bytes, np.ndarray] | None = None,
        cities: Mapping[bytes, np.ndarray] | None = None,
    ) -> "Places":
        """Makes places of which nothing is known but, perhaps, labels."""
        hours = np.full([num_businesses, len(features.DAYS)], -1, np.int16)
        return cls(
            names=np.full(num_businesses, b"", object),
            categories=categories or {},
            cities=cities or {},
            locations_degrees=np.full([num_businesses, 2], np.nan, np.float32),
            opening_minutes=hours,
            closing_minutes=hours,
        )


def read_places(files: Sequence[str]) -> Places:
    """Reads the facts of all businesses, sorted by id; one that closed for good has no hours.

    Args:
      files: TFRecord files of raw businesses.
    """
    facts = read_facts(
        files,
        {
            features.BUSINESS_NAME: tf.string,
            features.BUSINESS_CATEGORIES: tf.string,
            features.BUSINESS_CITY: tf.string,
            features.BUSINESS_LATITUDE_DEGREES: tf.float32,
            features.BUSINESS_LONGITUDE_DEGREES: tf.float32,
            features.BUSINESS_IS_OPEN: tf.int64,
            features.BUSINESS_OPENING_MINUTES: tf.int64,
            features.BUSINESS_CLOSING_MINUTES: tf.int64,
        },
    )
    closed = facts[features.BUSINESS_IS_OPEN].padded(1, 1) == 0
    opening, closing = (
        np.where(closed, -1, facts[key].padded(len(features.DAYS), -1)).astype(np.int16)
        for key in (features.BUSINESS_OPENING_MINUTES, features.BUSINESS_CLOSING_MINUTES)
    )
    categories, cities = (
        postings.invert(facts[key], np.arange(len(closed), dtype=np.int32))
        for key in (features.BUSINESS_CATEGORIES, features.BUSINESS_CITY)
    )
    degrees = (features.BUSINESS_LATITUDE_DEGREES, features.BUSINESS_LONGITUDE_DEGREES)
    return Places(
        names=facts[features.BUSINESS_NAME].padded(1, b"")[:, 0],
        categories=categories,
        cities=cities,
        locations_degrees=np.hstack([facts[key].padded(1, np.nan) for key in degrees]),
        opening_minutes=opening,
        closing_minutes=closing,
    )


def read_facts(files: Sequence[str], keys: Mapping[str, tf.DType]) -> dict[str, Bag]:
    """Reads features of all businesses, sorted by id.

    Args:
      files: TFRecord files of raw businesses.
      keys: By feature, its type; it may be missing anywhere.
    """
    columns = tables.read_columns(
        files,
        {
            features.BUSINESS_ID: tf.io.FixedLenFeature([], tf.string),
            **{key: tf.io.RaggedFeature(dtype) for key, dtype in keys.items()},
        },
    )
    order = np.argsort(columns[features.BUSINESS_ID])
    return {key: columns[key].take(order) for key in keys}
