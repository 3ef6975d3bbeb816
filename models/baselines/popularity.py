"""The businesses with most visits: the floor of all retrieval models."""

import numpy as np

from models.baselines.choosing import MissedShare
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.tables import Bag, Interactions

# Bounds the memory of a block of lists: rows x entries.
_BLOCK_CELLS = 4_000_000


class Popularity:
    """Ranks businesses by their number of training interactions."""

    def __init__(self, interactions: Interactions, num_businesses: int):
        """Counts.

        Args:
          interactions: What to count.
          num_businesses: Rows of the businesses table.
        """
        counts = np.bincount(interactions.business_rows, minlength=num_businesses)
        self._order = np.argsort(-counts, kind="stable").astype(np.int32)
        self._places = np.argsort(self._order)

    def recommend(self, user_rows: np.ndarray, k: int, seen: Bag) -> np.ndarray:
        """Lists the most visited businesses, ties by row: see `RetrievalModel`."""
        k = min(k, len(self._order))
        lists = np.full([len(user_rows), k], -1, np.int32)
        lengths = seen.lengths()
        # Whoever has seen n businesses needs the first k + n of the order; alike go together.
        by_length = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(by_length):
            size = max(1, _BLOCK_CELLS // (k + int(lengths[by_length[start]])))
            rows = by_length[start : start + size]
            lists[rows] = self._first_unseen(k, seen.take(rows))
            start += size
        return lists

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out both sides: see `Servable`; a score falls with the place in the order."""
        scores = 1.0 - np.append(self._places, num_businesses) / num_businesses
        return np.ones([num_users + 1, 1]), scores[:, None]

    def _first_unseen(self, k: int, seen: Bag) -> np.ndarray:
        reach = min(k + int(seen.lengths().max(initial=0)), len(self._order))
        is_seen = np.zeros([seen.num_rows, reach], bool)
        rows = np.repeat(np.arange(seen.num_rows), seen.lengths())
        places = self._places[seen.values]
        is_seen[rows[places < reach], places[places < reach]] = True
        first = np.argsort(is_seen, axis=1, kind="stable")[:, :k]
        return np.where(np.take_along_axis(is_seen, first, axis=1), -1, self._order[first])


def _cost(data: BaselineData) -> Cost:
    return Cost(num_bytes=64 * data.num_businesses, seconds=1e-5 * data.num_users)


def _fit(data: BaselineData) -> Fitted[Popularity]:
    eval_loss = MissedShare(data)(Popularity(data.train, data.num_businesses))
    return Fitted(Popularity(data.fitted, data.num_businesses), eval_loss)


POPULARITY = Baseline(_cost, _fit)
