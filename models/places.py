"""Facts of the businesses that requests filter by: labels, location and opening hours."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from models.features import DAYS


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
        hours = np.full([num_businesses, len(DAYS)], -1, np.int16)
        return cls(
            names=np.full(num_businesses, b"", object),
            categories=categories or {},
            cities=cities or {},
            locations_degrees=np.full([num_businesses, 2], np.nan, np.float32),
            opening_minutes=hours,
            closing_minutes=hours,
        )
