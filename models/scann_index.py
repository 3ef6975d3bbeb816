"""The ScaNN index over both blocks of the candidate embeddings, and search by it."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scann.scann_ops.py import scann_ops

from models.recommender_tables import RecommenderTables
from models.search import KINDS, ExactSearch, Found, Request, by_filter, gather_rows

# Length of the lists that an index is tuned for.
TUNED_K = 10
# The most neighbours that one approximate search fetches; a request that needs more is answered
# exactly.
MAX_FETCHED = 512
# ScaNN can't learn a partition or a codebook from a handful of points.
MIN_BUSINESSES = 1_000
# Where a filter lets fewer than one business in so many through, scoring those few is cheaper than
# a search that throws nearly all it finds away.
_MAX_OVERFETCH = 20
# What the block that does not count by default may add to the squared distances that partition the
# catalogue, relative to the block that does.
_MINOR_SHARE = 0.05


# Candidates that the partition is learnt from, and the codebooks: sixteen centres of two
# coordinates each, of which more candidates tell nothing, and cost as much as all the rest.
_PARTITION_SAMPLE, _CODEBOOK_SAMPLE = 100_000, 20_000


@dataclasses.dataclass(frozen=True)
class Effort:
    """How hard a search for `TUNED_K` neighbours tries.

    Attributes:
      num_leaves_to_search: Partitions that a query looks into.
      num_reordering: Candidates whose exact score is computed.
    """

    num_leaves_to_search: int
    num_reordering: int


class ScannIndex:
    """An index that holds for all weights: a request's weights scale the query alone.

    ScaNN's partition and codebook see distances between candidates. By default only one block
    counts in a score, and the other would only blur them: it is scaled down in the candidates and
    up in the queries, which leaves inner products as they are. Coordinates that are the same in all
    candidates change no order and are left out.
    """

    def __init__(self, tables: RecommenderTables, num_leaves: int):
        """Builds the index.

        Args:
          tables: Whose candidates, at least `MIN_BUSINESSES`.
          num_leaves: Partitions of the catalogue.
        """
        candidates = tables.candidate_embeddings[:-1]
        scales = _block_scales(tables, candidates)
        self.num_leaves = num_leaves
        self.columns = np.flatnonzero((np.ptp(candidates, axis=0) > 0) & (scales > 0))
        self.query_scales = (1.0 / scales[self.columns]).astype(np.float32)
        # The only copy: a catalogue of millions takes gigabytes.
        indexed = np.take(candidates, self.columns, axis=1)
        indexed *= scales[self.columns]
        self._searcher = (
            scann_ops
            .builder(indexed, TUNED_K, "dot_product")
            .tree(
                num_leaves=num_leaves,
                num_leaves_to_search=num_leaves,
                training_sample_size=min(len(candidates), _PARTITION_SAMPLE),
            )
            .score_ah(
                2,
                anisotropic_quantization_threshold=0.2,
                training_sample_size=min(len(candidates), _CODEBOOK_SAMPLE),
            )
            .reorder(TUNED_K)
            .build()
        )
        self.state = self._searcher.serialize_to_module()

    def queries(self, queries: np.ndarray) -> tf.Tensor:
        """Brings `[num_queries, dim]` weighted queries to the index's columns and scales."""
        return tf.constant(queries[:, self.columns] * self.query_scales, tf.float32)

    def find(self, queries: tf.Tensor, k: int, effort: Effort) -> np.ndarray:
        """Searches at once, outside any export.

        Args:
          queries: What `queries` made.
          k: Length of the lists.
          effort: How hard to try.

        Returns:
          `[num_queries, k]` int32 array of rows, -1 where the partitions hold too few.
        """
        found = self._searcher.search_batched(
            queries,
            final_num_neighbors=k,
            pre_reorder_num_neighbors=max(k, effort.num_reordering),
            leaves_to_search=effort.num_leaves_to_search,
        )
        rows = np.where(np.isnan(found.distances), -1, found.indices)
        # ScaNN's lists are narrower where nobody's are full.
        return np.pad(rows, [(0, 0), (0, k - rows.shape[1])], constant_values=-1)


def _block_scales(tables: RecommenderTables, candidates: np.ndarray) -> np.ndarray:
    """Chooses what each coordinate is multiplied by in the index, `[dim]` float32; 0: left out."""
    # Of so many rows: variances in 64 bits take twice the memory of all of them.
    sample = candidates[:: max(1, len(candidates) // _PARTITION_SAMPLE)]
    spreads = sample.var(axis=0, dtype=np.float64)
    cut = tables.retrieval_dim
    scales = []
    for own, other, weight in (
        (spreads[:cut].sum(), spreads[cut:].sum(), tables.retrieval_weight),
        (spreads[cut:].sum(), spreads[:cut].sum(), tables.rating_weight),
    ):
        counts = weight or not other
        scales.append(1.0 if counts or not own else np.sqrt(_MINOR_SHARE * other / own))
    return tables.spread(*scales)


class ScannSearch(tf.Module):
    """Answers by the index where that is faster, else exactly."""

    def __init__(self, exact: ExactSearch, index: ScannIndex, efforts: Mapping[int, Effort | None]):
        """Joins an index and exact search.

        Args:
          exact: Of the same candidates.
          index: The index.
          efforts: By kind of request, how hard to try; None for exact search.
        """
        super().__init__(name="scann_search")
        self._exact = exact
        self.state = index.state
        self._columns, self._query_scales = index.columns, index.query_scales
        self._plans = _plans(efforts, index.num_leaves, exact.num_businesses)
        # For who loads an export; what the graph itself needs of them it has as constants.
        self.columns = tf.Variable(index.columns, trainable=False, dtype=tf.int32)
        self.query_scales = tf.Variable(index.query_scales, trainable=False)
        self.num_leaves = tf.Variable(index.num_leaves, trainable=False)
        self.efforts = tf.Variable(
            [dataclasses.astuple(efforts.get(kind) or Effort(0, 0)) for kind in KINDS],
            trainable=False,
            dtype=tf.int32,
        )

    def find(self, request: Request) -> Found:
        """Finds the best businesses: see `ExactSearch`."""
        return by_filter(
            request,
            self._exact.filters,
            unfiltered=lambda: self._find(request, None),
            filtered=self._find,
        )

    def _find(self, request: Request, allowed: tf.Tensor | None) -> Found:
        """Tries the index, and searches exactly where it can't or did not find enough."""
        num_businesses = self._exact.num_businesses
        excluded = tf.cast(request.excluded < num_businesses, tf.int32)
        fetched = request.k + tf.reduce_max(tf.pad(tf.reduce_sum(excluded, axis=1), [[0, 1]]))
        fetched = tf.where(request.asks_for_stars(), 4 * fetched, fetched)
        possible = tf.constant(True)
        if allowed is not None:
            num_allowed = tf.size(allowed)
            possible = num_allowed * _MAX_OVERFETCH >= num_businesses
            # Half as many again: matches may be rarer among the best than elsewhere.
            share = tf.cast(num_allowed, tf.float32) / num_businesses
            wanted = 1.5 * tf.cast(fetched, tf.float32) / tf.maximum(share, 1e-6)
            fetched = tf.cast(tf.minimum(wanted, 2.0 * MAX_FETCHED), tf.int32)
        plan = tf.gather_nd(
            self._plans, tf.stack([request.kind, tf.minimum(fetched, MAX_FETCHED + 1)])
        )
        leaves, reordered = tf.unstack(plan)

        def approximately() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            rows, scores = self._approximate(request, allowed, fetched, leaves, reordered)
            # Too few passed, or the partitions that were searched hold too few.
            is_complete = (tf.shape(scores)[1] == request.k) & tf.reduce_all(
                tf.math.is_finite(scores)
            )
            return rows, scores, is_complete

        def nothing() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return tf.zeros([0, 0], tf.int32), tf.zeros([0, 0]), tf.constant(False)

        rows, scores, is_complete = tf.cond(possible & (leaves > 0), approximately, nothing)
        return tf.cond(
            is_complete, lambda: (rows, scores), lambda: self._exact.among(request, allowed)
        )

    def _approximate(
        self,
        request: Request,
        allowed: tf.Tensor | None,
        fetched: tf.Tensor,
        leaves: tf.Tensor,
        reordered: tf.Tensor,
    ) -> Found:
        """Fetches neighbours and drops those that the request does not let through.

        Returns:
          Lists of up to k, -inf where there is nothing.
        """
        found = scann_ops.searcher_from_module(self.state).search_batched(
            tf.gather(request.queries, self._columns, axis=1) * self._query_scales,
            final_num_neighbors=fetched,
            pre_reorder_num_neighbors=reordered,
            leaves_to_search=leaves,
        )
        # Narrower than asked for where the partitions hold fewer, and of the queries that have
        # fewer still ScaNN says so by a distance of NaN.
        for values in (found.indices, found.distances):
            values.set_shape([None, None])
        rows = tf.where(tf.math.is_nan(found.distances), self._exact.num_businesses, found.indices)
        candidates = gather_rows(self._exact.candidates, rows)
        scores = tf.einsum("bd,bkd->bk", request.queries, candidates)
        drop = tf.reduce_any(rows[:, :, None] == request.excluded[:, None, :], axis=2)
        drop |= rows == self._exact.num_businesses
        stars = tf.einsum(
            "bd,bkd->bk", request.rating_queries, candidates[:, :, -self._exact.rating_dim :]
        )
        drop |= stars < request.min_stars[:, None]
        if allowed is not None:
            passes = tf.scatter_nd(
                allowed[:, None], tf.ones_like(allowed, tf.bool), [self._exact.num_businesses + 1]
            )
            drop |= ~tf.gather(passes, rows)
        scores = tf.where(drop, float("-inf"), scores)
        best = tf.math.top_k(scores, tf.minimum(request.k, tf.shape(scores)[1]))
        return tf.gather(rows, best.indices, batch_dims=1), best.values


def _plans(
    efforts: Mapping[int, Effort | None], num_leaves: int, num_businesses: int
) -> np.ndarray:
    """Plans the searches of each kind.

    Returns:
      `[kinds, MAX_FETCHED + 2, 2]` int32 array: by kind and neighbours to fetch, the partitions to
      look into and the candidates to score again; 0 where exact search is to answer.
    """
    plans = np.zeros([len(KINDS), MAX_FETCHED + 2, 2], np.int32)
    fetched = np.arange(MAX_FETCHED + 1)
    for kind, effort in efforts.items():
        if effort is None:
            continue
        # Longer lists reach into more partitions, though less than in proportion.
        stretch = np.sqrt(np.maximum(fetched / TUNED_K, 1.0))
        plans[kind, :-1, 0] = np.minimum(effort.num_leaves_to_search * stretch, num_leaves)
        plans[kind, :-1, 1] = np.maximum(effort.num_reordering, 2 * fetched)
    plans[:, num_businesses + 1 :] = 0
    return plans
