import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import metrics
from models.errors import InputError
from models.tables import Bag


def _bag(*lists):
    rows = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    return Bag.from_pairs(rows, np.array([v for values in lists for v in values], int), len(lists))


class TestTopK:
    def test_by_hand(self):
        queries = np.array([[1.0, 0.0], [0.0, -1.0]], np.float32)
        candidates = np.array([[1, 5], [3, 4], [2, 6]], np.float32)
        # Scores 1, 3, 2 and -5, -4, -6.
        assert metrics.top_k(queries, candidates, 2).tolist() == [[1, 2], [1, 0]]

    def test_seen_is_left_out_and_short_lists_are_padded(self):
        queries = np.ones([3, 1], np.float32)
        candidates = np.array([[3], [2], [1]], np.float32)
        seen = _bag([0], [0, 2, 1], [1, 1])
        assert metrics.top_k(queries, candidates, 3, seen).tolist() == [
            [1, 2, -1],
            [-1, -1, -1],
            [0, 2, -1],
        ]

    def test_k_beyond_the_catalogue_lists_the_catalogue(self):
        ranked = metrics.top_k(np.ones([1, 1], np.float32), np.array([[1], [2]], np.float32), 9)
        assert ranked.tolist() == [[1, 0]]

    @pytest.mark.parametrize(("num_queries", "num_candidates", "k"), [(0, 5, 3), (2, 0, 3)])
    def test_nothing_to_rank(self, num_queries, num_candidates, k):
        ranked = metrics.top_k(np.zeros([num_queries, 2]), np.zeros([num_candidates, 2]), k)
        assert ranked.shape == (num_queries, min(k, num_candidates))

    @pytest.mark.parametrize("num_candidates", [1, 2, 99, 100, 101])
    @pytest.mark.parametrize("k", [1, 4, 25])
    def test_all_tie_and_all_but_two_are_seen(self, num_candidates, k):
        candidates = np.ones([num_candidates, 3], np.float32)
        left = {0, num_candidates - 1}
        seen = _bag([row for row in range(num_candidates) if row not in left], [])
        ranked = metrics.top_k(np.ones([2, 3], np.float32), candidates, k, seen)
        length = min(k, num_candidates)
        assert ranked[0].tolist() == [*sorted(left), *[-1] * length][:length]
        assert ranked[1].tolist() == list(range(length))

    def test_infinite_scores(self):
        # One is the best there is, the other as good as left out.
        candidates = np.array([[-np.inf], [1], [np.inf], [2]], np.float32)
        ranked = metrics.top_k(np.ones([1, 1], np.float32), candidates, 4)
        assert ranked.tolist() == [[2, 3, 1, -1]]

    @pytest.mark.parametrize("num_candidates", [3, 300])
    def test_a_score_that_is_no_number_is_refused_unless_left_out(self, num_candidates):
        candidates = np.ones([num_candidates, 1], np.float32)
        candidates[1] = np.nan
        query = np.ones([1, 1], np.float32)
        with pytest.raises(InputError, match="Expected numbers for the scores.*got NaN"):
            metrics.top_k(query, candidates, 2)
        assert metrics.top_k(query, candidates, 2, _bag([1])).tolist() == [[0, 2]]

    @pytest.mark.parametrize("k", [1, 3, 7, 20])
    def test_ties_go_to_the_lower_row(self, k):
        # 20 candidates with scores 1, 0, 1, 0 …: the even rows come first.
        candidates = (np.arange(20) % 2 == 0).astype(np.float32)[:, None]
        expected = [*range(0, 20, 2), *range(1, 20, 2)][:k]
        assert metrics.top_k(np.ones([2, 1], np.float32), candidates, k).tolist() == [expected] * 2

    @pytest.mark.parametrize("most", [2, 1_000])
    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_equals_a_stable_sort_for_any_block_size(self, most, data):
        num_queries, num_candidates = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 300))
        # Integers, so that products are exact; small ones, so that ties are many.
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        queries = rng.integers(-most, most, [num_queries, 2], endpoint=True).astype(np.float32)
        candidates = rng.integers(-most, most, [num_candidates, 2], endpoint=True)
        # Duplicates: equal embeddings, near to each other and far apart.
        copied = rng.integers(num_candidates, size=num_candidates)
        candidates = np.where(rng.random([num_candidates, 1]) < 0.3, candidates[copied], candidates)
        k = data.draw(st.one_of(st.integers(1, 10), st.integers(1, 310)))
        share = data.draw(st.sampled_from([0.0, 0.1, 0.9, 1.0]))
        left_out = rng.random([num_queries, num_candidates]) < share
        seen = Bag.from_pairs(*np.nonzero(left_out), num_queries)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(metrics, "_BLOCK_CELLS", data.draw(st.sampled_from([1, 600, 10_000])))
            ranked = metrics.top_k(queries, candidates.astype(np.float32), k, seen)
        scores = np.where(left_out, -np.inf, queries @ candidates.T)
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        expected = np.where(np.take_along_axis(left_out, expected, axis=1), -1, expected)
        assert ranked.tolist() == expected.tolist()


class TestListMetrics:
    def test_hits_by_hand(self):
        ranked = np.array([[2, 0, -1], [1, 5, 0], [-1, -1, -1]])
        marked = metrics.hits(ranked, _bag([0, 9], [1, 0], [0]))
        assert marked.tolist() == [[False, True, False], [True, False, True], [False] * 3]

    def test_padding_never_hits(self):
        # -1 of query 1 must not be taken for the last candidate of query 0.
        assert not metrics.hits(np.array([[0], [-1]]), _bag([3], [3])).any()

    def test_recall_by_hand(self):
        hit = np.array([[True, False, True], [False, False, False]])
        # 1 of 4 and 2 of 4 are found among 1 and 3.
        assert metrics.recall_at(hit, np.array([4, 1]), 1).tolist() == [0.25, 0.0]
        assert metrics.recall_at(hit, np.array([4, 1]), 3).tolist() == [0.5, 0.0]

    def test_k_beyond_the_list_adds_nothing(self):
        hit = np.array([[False, True]])
        assert metrics.recall_at(hit, np.array([2]), 50).tolist() == [0.5]
        # One hit on rank 2, of two relevant: (1/log2 3) / (1 + 1/log2 3).
        gain = 1 / math.log2(3)
        assert metrics.ndcg_at(hit, np.array([2]), 50)[0] == pytest.approx(gain / (1 + gain))

    def test_ndcg_by_hand(self):
        hit = np.array([[True, False, True], [True, True, False], [False, False, False]])
        # 1: (1 + 1/log2 4) / (1 + 1/log2 3 + 1/2) with three relevant.
        # 2: two relevant, both on top: 1.
        expected = [1.5 / (1.5 + 1 / math.log2(3)), 1.0, 0.0]
        np.testing.assert_allclose(metrics.ndcg_at(hit, np.array([3, 2, 1]), 3), expected)
        # At 1 the best value is 1, however many are relevant.
        assert metrics.ndcg_at(hit, np.array([3, 2, 1]), 1).tolist() == [1.0, 1.0, 0.0]

    def test_reciprocal_rank_by_hand(self):
        hit = np.array([[False, True, True], [True, False, False], [False, False, False]])
        assert metrics.reciprocal_rank(hit).tolist() == [0.5, 1.0, 0.0]

    @given(st.data())
    def test_metrics_equal_plain_loops(self, data):
        num_candidates = data.draw(st.integers(1, 9))
        lists = st.permutations(range(num_candidates)).flatmap(
            lambda order: st.integers(0, len(order)).map(lambda n: order[:n])
        )
        relevant_sets = st.sets(st.integers(0, num_candidates - 1), min_size=1)
        cases = data.draw(st.lists(st.tuples(lists, relevant_sets), min_size=1, max_size=5))
        k = data.draw(st.integers(1, 12))
        ranked = np.full([len(cases), num_candidates], -1)
        for row, (places, _) in enumerate(cases):
            ranked[row, : len(places)] = places
        relevant = _bag(*[sorted(wanted) for _, wanted in cases])
        hit = metrics.hits(ranked, relevant)
        count = relevant.lengths()
        recall = metrics.recall_at(hit, count, k)
        ndcg = metrics.ndcg_at(hit, count, k)
        reciprocal = metrics.reciprocal_rank(hit)
        for row, (places, wanted) in enumerate(cases):
            ranks = [rank for rank, place in enumerate(places, 1) if place in wanted]
            within = [rank for rank in ranks if rank <= k]
            best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
            assert recall[row] == pytest.approx(len(within) / len(wanted))
            assert ndcg[row] == pytest.approx(sum(1 / math.log2(r + 1) for r in within) / best)
            assert reciprocal[row] == pytest.approx(1 / ranks[0] if ranks else 0.0)

    def test_hit_rate_by_hand(self):
        hit = np.array([[False, True, True], [False, False, False]])
        assert metrics.hit_at(hit, 1).tolist() == [0.0, 0.0]
        assert metrics.hit_at(hit, 2).tolist() == [1.0, 0.0]
