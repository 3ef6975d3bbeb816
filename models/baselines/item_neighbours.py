"""Item-based collaborative filtering: businesses that the same users visit."""

import functools
import itertools

import numpy as np
import scipy.sparse
from implicit.nearest_neighbours import all_pairs_knn

from models.baselines.choosing import MissedShare, choose
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.lists import by_row, rank_sparse, visits
from models.baselines.neighbours import keep_largest
from models.baselines.popularity import Popularity
from models.baselines.scorers import ItemNeighbourScorer
from models.tables import Bag, Interactions

# Damping of the cosine, in visits, and how many neighbours a business keeps; tried in this order.
DAMPINGS, NUM_NEIGHBOURS = (20.0, 0.0, 100.0), (400, 100, 30)

_BLOCK_USERS = 512
# Measured: of a pair of visits by one user; of an entry of a user's scores.
_SECONDS_PER_PAIR, _SECONDS_PER_SCORE = 2e-8, 1e-7


class ItemNeighbours:
    """Scores a business by its cosine to what a user has visited, summed.

    cos(i, j) = |users of i and of j| / √((|users of i| + h) (|users of j| + h)), where the damping
    h keeps chance meetings of rare businesses down; each visited j counts for its nearest
    neighbours only. Where a list runs out of them, popular businesses fill it up.

    Source: Deshpande and Karypis, "Item-based top-N recommendation algorithms" (2004); damping
    after Bell and Koren (2007).
    """

    def __init__(self, interactions: Interactions, num_users: int, similarity):
        """Takes what `cosines` found.

        Args:
          interactions: What users have visited.
          num_users: Rows of the users table.
          similarity: `[num_businesses, num_businesses]` sparse matrix, a row the neighbours of a
            business.
        """
        num_businesses = similarity.shape[0]
        self._visits = visits(interactions, num_users, num_businesses)
        self._similarity = similarity
        self._popularity = Popularity(interactions, num_businesses)

    def recommend(self, user_rows: np.ndarray, k: int, seen: Bag) -> np.ndarray:
        """Lists the best businesses: see `RetrievalModel`."""
        lists = np.empty([len(user_rows), min(k, self._similarity.shape[0])], np.int32)
        for start in range(0, len(user_rows), _BLOCK_USERS):
            block = np.arange(start, min(start + _BLOCK_USERS, len(user_rows)))
            scores = self._visits[user_rows[block]] @ self._similarity
            lists[block] = rank_sparse(scores, k, seen.take(block), self._popularity)
        return lists

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out what `list_scorer` goes by, and popularity, which fills up: see `Servable`."""
        return by_row(self._popularity, num_users, num_businesses)

    def list_scorer(self) -> ItemNeighbourScorer:
        """Makes what scores: see `ListScores`."""
        return ItemNeighbourScorer(self._visits, self._similarity)


def cosines(
    interactions: Interactions,
    num_users: int,
    num_businesses: int,
    damping: float,
    num_neighbours: int,
) -> scipy.sparse.csr_matrix:
    """Finds each business's nearest others.

    Args:
      interactions: Who visited what.
      num_users: Rows of the users table.
      num_businesses: Rows of the businesses table.
      damping: Added to the number of visits of a business; 0 for the plain cosine.
      num_neighbours: Neighbours of a business, at most.

    Returns:
      `[num_businesses, num_businesses]` sparse matrix of cosines, a row's largest first.
    """
    matrix = visits(interactions, num_users, num_businesses).astype(np.float64)
    counts = np.bincount(matrix.indices, minlength=num_businesses)
    matrix.data = 1.0 / np.sqrt(counts[matrix.indices] + damping)
    # Among the neighbours that are found is the business itself.
    found = all_pairs_knn(matrix, num_neighbours + 1, show_progress=False).tocoo()
    found.data[found.row == found.col] = 0.0
    return keep_largest(found.tocsr(), num_neighbours)


def _cost(data: BaselineData) -> Cost:
    lengths = np.bincount(data.fitted.user_rows, minlength=data.num_users).astype(np.float64)
    most = min(max(NUM_NEIGHBOURS) + 1, data.num_businesses)
    pairs = (lengths**2).sum()
    scores = len(data.fitted) * most
    return Cost(
        num_bytes=40 * data.num_businesses * most + 16 * len(data.fitted),
        seconds=_SECONDS_PER_PAIR * pairs + _SECONDS_PER_SCORE * scores,
    )


def _fit(data: BaselineData) -> Fitted[ItemNeighbours]:
    sizes = (data.num_users, data.num_businesses)
    missed = MissedShare(data)

    @functools.lru_cache(maxsize=1)
    def widest(damping: float) -> scipy.sparse.csr_matrix:
        return cosines(data.train, *sizes, damping, max(NUM_NEIGHBOURS))

    def loss(choice: tuple[float, int]) -> float:
        damping, num_neighbours = choice
        nearest = keep_largest(widest(damping), num_neighbours)
        return missed(ItemNeighbours(data.train, data.num_users, nearest))

    choices = list(itertools.product(DAMPINGS, NUM_NEIGHBOURS))
    chosen = choose(choices, loss, data.tuning_seconds)
    nearest = cosines(data.fitted, *sizes, *chosen.value)
    return Fitted(ItemNeighbours(data.fitted, data.num_users, nearest), chosen.loss)


ITEM_KNN = Baseline(_cost, _fit)
