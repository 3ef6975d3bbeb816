"""Which businesses a batch job may recommend: filters that are the same for all of its users."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from models import filters
from models.recommender_tables import RecommenderTables
from models.tables import IdIndex


@dataclasses.dataclass(frozen=True)
class Filters:
    """Which businesses may be recommended, the same for all users of a job.

    Attributes:
      category: What they must be; "" for anything.
      city: Where they must be; "" for anywhere.
      open_at_minute: Minute of the week at which they must be open, in their own time, 0 being
        where Monday begins; -1 for any.
      near_degrees: Latitude and longitude that they must be near to.
      within_km: How near; 0 for anywhere.
      excluded: Ids of those that must not be recommended.
    """

    category: str = ""
    city: str = ""
    open_at_minute: int = -1
    near_degrees: tuple[float, float] = (0.0, 0.0)
    within_km: float = 0.0
    excluded: tuple[str, ...] = ()

    def inputs(self) -> dict[str, Any]:
        """Returns the inputs of a filter, one row each: see `models.filters.DEFAULTS`."""
        latitude, longitude = self.near_degrees
        return {
            "category": [self.category],
            "city": [self.city],
            "open_at_minute": [self.open_at_minute],
            "latitude_degrees": [latitude],
            "longitude_degrees": [longitude],
            "within_km": [self.within_km],
        }

    def allowed(self, tables: RecommenderTables) -> np.ndarray:
        """Returns a `[num_businesses]` bool array: which of an export's businesses pass."""
        told = {key: values[0] for key, values in self.inputs().items()}
        one = {
            key: tf.constant(told[key], tf.constant(default).dtype)
            for key, default in filters.DEFAULTS.items()
        }
        mask = np.zeros(len(tables.business_ids), bool)
        mask[filters.Filters(tables.places).rows(one).numpy()] = True
        excluded = IdIndex(tables.business_ids).rows([i.encode() for i in self.excluded])
        mask[excluded[excluded >= 0]] = False
        return mask


NO_FILTERS = Filters()
