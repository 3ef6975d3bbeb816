"""Exact ranking of the catalogue, and metrics of ranked lists, by query."""

import math

import numpy as np

from models.errors import InputError
from models.tables import Bag

# Queries that are scored in one matrix product: it gains no speed beyond some hundreds of rows,
# and its scores, 64 MB at most, are gone through again.
_MAX_BLOCK_QUERIES = 512
_BLOCK_CELLS = 16_000_000
# Relevant pairs that are looked for in lists at a time: some megabytes of lists.
_BLOCK_PAIRS = 16_384


def top_k(
    queries: np.ndarray, candidates: np.ndarray, k: int, seen: Bag | None = None
) -> np.ndarray:
    """Ranks the full catalogue for each query, exactly; of equal scores the lower row is first.

    Args:
      queries: `[num_queries, dim]` float32 array.
      candidates: `[num_candidates, dim]` float32 array.
      k: Length of the lists.
      seen: Candidate rows to leave out, by query.

    Returns:
      `[num_queries, min(k, num_candidates)]` int32 array of candidate rows, best first; -1 where
      a list ran out of candidates, a score of minus infinity being none.

    Raises:
      InputError: If a score of a candidate that is not left out is NaN.
    """
    num_candidates, dim = candidates.shape
    k = min(k, num_candidates)
    ranked = np.empty([len(queries), k], np.int32)
    if not ranked.size:
        return ranked
    # Row r is member r % size of group r // size. At this size there are at least k groups, and
    # about as many maxima to look through as members of the k best groups.
    size = math.isqrt(num_candidates // k)
    num_groups = -(-num_candidates // size)
    padded = np.zeros([num_groups, size, dim], np.float32)
    padded.reshape(-1, dim)[:num_candidates] = candidates
    # Groups last, so that maxima over members are taken of whole rows of the cache at a time.
    columns = padded.swapaxes(0, 1).reshape(-1, dim).T
    block = min(_MAX_BLOCK_QUERIES, max(1, _BLOCK_CELLS // columns.shape[1]), len(queries))
    cells = np.empty([block, columns.shape[1]], np.float32)
    for start in range(0, len(queries), block):
        part = np.asarray(queries[start : start + block], np.float32)
        scores = np.matmul(part, columns, out=cells[: len(part)]).reshape(len(part), size, -1)
        scores[:, num_candidates - num_groups * size + size :, -1] = -np.inf
        if seen is not None:
            rows = seen.take(np.arange(start, start + len(part)))
            members, groups = rows.values % size, rows.values // size
            scores[np.repeat(np.arange(len(part)), rows.lengths()), members, groups] = -np.inf
        ranked[start : start + block] = _rank_groups(scores, k)
    return ranked


def _rank_groups(scores: np.ndarray, k: int) -> np.ndarray:
    """Ranks the members of all groups for each query.

    The k-th largest of the groups' maxima bounds the k-th best score from below. So nothing under
    it is in a list, and what is not under it lies in the few groups whose maximum is not either.

    Args:
      scores: `[num_queries, size, num_groups]` float32 array, at least k groups.
      k: Length of the lists.

    Returns:
      `[num_queries, k]` integer array of rows, `group * size + member`, -1 for none.
    """
    num_queries, size, num_groups = scores.shape
    maxima = scores.max(axis=1)
    if np.isnan(maxima).any():
        raise InputError(
            "Expected numbers for the scores of candidates; got NaN. Training has diverged: lower "
            "training.retrieval_learning_rate."
        )
    bounds = np.partition(maxima, num_groups - k, axis=1)[:, num_groups - k, None]
    chosen = maxima >= bounds
    if np.count_nonzero(chosen) > k * num_queries:
        # Of groups that tie at the bound, the first are enough: each has a member with that score.
        tied = maxima == bounds
        missing = k - np.count_nonzero(chosen & ~tied, axis=1)[:, None]
        chosen &= ~tied | (np.cumsum(tied, axis=1) <= missing)
    query, group = np.nonzero(chosen)
    members = scores[query, :, group]
    place, member = np.nonzero(members >= bounds[query])
    # They come by query and row, which the sort, a stable one, leaves so among equal scores.
    query, row, score = query[place], group[place] * size + member, members[place, member]
    order = np.lexsort((-score, query))
    best = order[np.searchsorted(query, np.arange(num_queries))[:, None] + np.arange(k)]
    return np.where(score[best] > -np.inf, row[best], -1)


def hits(ranked: np.ndarray, relevant: Bag) -> np.ndarray:
    """Marks which entries of ranked lists are relevant.

    Args:
      ranked: `[num_queries, k]` integer array of candidate rows, -1 for none.
      relevant: Relevant candidate rows, by query.

    Returns:
      `[num_queries, k]` bool array.
    """
    hit = np.zeros(ranked.shape, bool)
    queries = np.repeat(np.arange(len(ranked)), relevant.lengths())
    for start in range(0, len(queries), _BLOCK_PAIRS):
        of, wanted = (values[start : start + _BLOCK_PAIRS] for values in (queries, relevant.values))
        pair, place = np.nonzero(ranked[of] == wanted[:, None])
        hit[of[pair], place] = True
    return hit


def recall_at(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Computes each query's recall among its first k: |relevant ∩ list_k| / |relevant|.

    Source: Herlocker et al., "Evaluating Collaborative Filtering Recommender Systems" (2004).

    Args:
      hit: `[num_queries, >= k]` bool array.
      num_relevant: `[num_queries]` array, at least 1 each.
      k: Cut-off.
    """
    return hit[:, :k].sum(axis=1) / num_relevant


def ndcg_at(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Computes each query's NDCG: Σ hit_r / log₂(r+1) over its best value with |relevant| hits.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002),
    with binary gains.

    Args:
      hit: `[num_queries, >= k]` bool array.
      num_relevant: `[num_queries]` array, at least 1 each.
      k: Cut-off.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(num_relevant, k) - 1]
    width = min(k, hit.shape[1])
    return np.einsum("nk,k->n", hit[:, :width], discount[:width]) / ideal


def hit_at(hit: np.ndarray, k: int) -> np.ndarray:
    """Computes each query's hit rate among its first k: 1 if anything there is relevant, else 0.

    Source: Deshpande and Karypis, "Item-based top-N recommendation algorithms" (2004), who hold
    out one item a user.

    Args:
      hit: `[num_queries, >= k]` bool array.
      k: Cut-off.
    """
    return hit[:, :k].any(axis=1).astype(np.float64)


def reciprocal_rank(hit: np.ndarray) -> np.ndarray:
    """Computes each query's 1 / rank of the first relevant entry, 0 without one.

    Source: Voorhees, "The TREC-8 question answering track report" (1999); its mean is the MRR.

    Args:
      hit: `[num_queries, k]` bool array: what is beyond the end of a list counts as missed.
    """
    first = hit.argmax(axis=1)
    return np.where(hit.any(axis=1), 1.0 / (first + 1.0), 0.0)
