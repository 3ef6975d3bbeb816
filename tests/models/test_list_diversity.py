import itertools
import math

import numpy as np
import pytest

from models import list_diversity

RANKED = np.array([[0, 1], [1, 2], [1, -1]])


def test_coverage_by_hand():
    assert list_diversity.coverage(RANKED, 4) == 0.75
    assert list_diversity.coverage(np.full([2, 3], -1), 4) == 0.0


def test_novelty_by_hand():
    # Counts 5, 0, 1 and one more each: shares 6/9, 1/9, 2/9.
    bits = [math.log2(9 / 6), math.log2(9), math.log2(9 / 2)]
    expected = [(bits[0] + bits[1]) / 2, (bits[1] + bits[2]) / 2, bits[1]]
    np.testing.assert_allclose(list_diversity.novelty(RANKED, np.array([5, 0, 1])), expected)


def test_popularity_by_hand():
    # Percentiles of counts 5, 0, 1, 0, ties at their middle: 7/8, 2/8, 5/8, 2/8; ½ on average.
    found = list_diversity.popularity(RANKED, np.array([5, 0, 1, 0]))
    np.testing.assert_allclose(found, [(7 / 8 + 2 / 8) / 2, (2 / 8 + 5 / 8) / 2, 2 / 8])
    everything = np.arange(4)[None]
    assert list_diversity.popularity(everything, np.array([5, 0, 1, 0])).tolist() == [0.5]


def test_an_empty_list_is_neither_novel_nor_popular():
    empty, counts = np.full([1, 2], -1), np.array([3, 1])
    assert list_diversity.novelty(empty, counts).tolist() == [0.0]
    assert list_diversity.popularity(empty, counts).tolist() == [0.0]


def test_overlap_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(0)
    ranked = np.stack([rng.permutation(9)[:4] for _ in range(12)])
    ranked[3, 2:] = -1
    shared = [
        len(set(a[a >= 0]) & set(b[b >= 0])) / 4 for a, b in itertools.combinations(ranked, 2)
    ]
    assert list_diversity.overlap(ranked) == pytest.approx(np.mean(shared))


def test_overlap_at_its_ends():
    assert list_diversity.overlap(np.tile(np.arange(5), [3, 1])) == 1.0
    assert list_diversity.overlap(np.arange(6).reshape(2, 3)) == 0.0
    assert list_diversity.overlap(RANKED[:1]) == 0.0
