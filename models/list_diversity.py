"""What lists are like apart from whether they are right: coverage, novelty, popularity, overlap."""

import numpy as np


def coverage(ranked: np.ndarray, num_candidates: int) -> float:
    """Computes the share of the catalogue that is in somebody's list: |∪ list_u| / |catalogue|.

    Source: Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by
    coverage and serendipity" (2010), catalogue coverage.

    Args:
      ranked: `[num_queries, k]` integer array of candidate rows, -1 for none.
      num_candidates: Size of the catalogue, at least 1.
    """
    is_listed = np.zeros(num_candidates + 1, bool)
    is_listed[ranked] = True  # What is none marks the last one.
    return np.count_nonzero(is_listed[:-1]) / num_candidates


def novelty(ranked: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Computes how surprising each list is: the mean of -log₂ p_i over its entries, in bits.

    p_i is the share of training interactions that are with i, one more added to each count, so that
    a candidate without any has a finite value.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems"
    (2010), self-information, with the smoothing of Laplace.

    Args:
      ranked: `[num_queries, k]` integer array of candidate rows, -1 for none.
      counts: `[num_candidates]` array of training interactions.

    Returns:
      `[num_queries]` array; 0 for an empty list.
    """
    bits = np.log2(counts.sum() + len(counts)) - np.log2(counts + 1.0)
    return _mean_over_entries(ranked, bits)


def popularity(ranked: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Computes how popular each list is: the mean over its entries of the share less popular.

    A candidate's popularity is its percentile by training interactions, ties at their middle: 0.5
    on average over the catalogue, near 1 for lists of what everybody knows.

    Source: the average popularity of recommendations (Abdollahpouri, Burke and Mobasher, "Managing
    popularity bias in recommender systems", 2019, ARP), counts replaced by percentiles, which
    compare across data sets.

    Args:
      ranked: `[num_queries, k]` integer array of candidate rows, -1 for none.
      counts: `[num_candidates]` array of training interactions.

    Returns:
      `[num_queries]` array in [0, 1]; 0 for an empty list.
    """
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts, "left") + np.searchsorted(ordered, counts, "right")
    return _mean_over_entries(ranked, below / (2.0 * len(counts)))


def overlap(ranked: np.ndarray) -> float:
    """Computes how alike lists are: the mean over pairs of users of |list_u ∩ list_v| / k.

    0 where no two lists share anything, 1 where all are the same. With c_i lists that hold i, the
    pairs that share i are c_i (c_i - 1) / 2, so that no pair need be looked at.

    Source: 1 - inter-list diversity of Zhou et al. (2010), the Hamming distance of lists.

    Args:
      ranked: `[num_queries, k]` integer array of distinct candidate rows, -1 for none.

    Returns:
      A value in [0, 1]; 0 for fewer than two lists.
    """
    num_queries, k = ranked.shape
    if num_queries < 2 or not k:
        return 0.0
    counts = np.zeros(ranked.max() + 1)
    for column in ranked.T:
        counts += np.bincount(column[column >= 0], minlength=len(counts))
    return float((counts * (counts - 1)).sum() / (k * num_queries * (num_queries - 1.0)))


def _mean_over_entries(ranked: np.ndarray, values: np.ndarray) -> np.ndarray:
    values = np.append(values, 0.0)  # What is none finds the last one.
    total, num_listed = np.zeros([2, len(ranked)])
    # By rank, for the values of all entries would be several times the lists.
    for column in ranked.T:
        total += values[column]
        num_listed += column >= 0
    return total / np.maximum(num_listed, 1)
