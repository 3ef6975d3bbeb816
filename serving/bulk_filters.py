"""Which businesses a batch job may recommend: filters that are the same for all of its users."""

import dataclasses

import numpy as np

from models.recommender_tables import RecommenderTables


@dataclasses.dataclass(frozen=True)
class Filters:
    """Which businesses may be recommended, the same for all users of a job.

    Attributes:
      category: What they must be; "" for anything.
      city: Where they must be; "" for anywhere.
      excluded: Ids of those that must not be.
    """

    category: str = ""
    city: str = ""
    excluded: tuple[str, ...] = ()

    def allowed(self, tables: RecommenderTables) -> np.ndarray:
        """Returns a `[num_businesses]` bool array: which of an export's businesses pass."""
        mask = np.ones(len(tables.business_ids), bool)
        places = tables.places
        for label, postings in ((self.category, places.categories), (self.city, places.cities)):
            if label:
                carries_it = np.zeros_like(mask)
                carries_it[postings.get(label.encode(), np.zeros(0, np.int32))] = True
                mask &= carries_it
        mask[np.isin(tables.business_ids, [i.encode() for i in self.excluded])] = False
        return mask


NO_FILTERS = Filters()
