"""Tunes the ScaNN index: the least time that reaches a recall, measured on real queries."""

import dataclasses
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from models import metrics
from models.index_recall import Recall, recalls_by_score
from models.recommender import Recommender
from models.recommender_tables import RecommenderTables
from models.scann_index import (
    MIN_BUSINESSES,
    TUNED_K,
    Effort,
    ScannIndex,
    ScannSearch,
)
from models.search import KINDS, NEIGHBOURS, PLAIN, WEIGHTED

# Queries that are answered in one call, as a server's batches are.
_BATCH = 64
# Partitions tried, as multiples of the root of the catalogue's size.
_LEAVES = (1.0, 2.0, 4.0)
# Shares of the partitions that a query looks into; and candidates reordered.
_SEARCHED = tuple(2.0**-power for power in range(7, -1, -1))
_REORDERED = (20, 50, 100, 200, 400, 800, 1600, 3200)
# Of requests with weights of their own: what the rating block adds to the spread of scores,
# relative to the retrieval block.
_MIXTURES = (0.1, 1.0, 10.0)
# Standard errors that a recall must be over its target on the queries that it is chosen on.
_MARGIN = 2.0

_LOG = logging.getLogger("t2rec")


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of the curve of recall against time.

    Attributes:
      kind: Kind of request: `models.search.KINDS`.
      num_leaves: Partitions of the index.
      effort: How hard a search tries.
      recall: Share of the true `TUNED_K` neighbours found; of several sets of queries, the least.
      error: Its standard error.
      microseconds: CPU time a query, in batches of 64.
    """

    kind: int
    num_leaves: int
    effort: Effort
    recall: float
    error: float
    microseconds: float

    def reaches(self, target_recall: float) -> bool:
        """Tells whether its recall is surely enough on queries that nothing was chosen on."""
        return self.recall - _MARGIN * self.error >= target_recall


@dataclasses.dataclass(frozen=True)
class Truth:
    """Queries and what the best there is scores.

    Attributes:
      queries: `[num_queries, dim]` float32 array, weights applied.
      candidates: `[num_businesses, dim]` float32 array.
      best: `[num_queries, TUNED_K]` float32 array of scores, best first.
    """

    queries: np.ndarray
    candidates: np.ndarray
    best: np.ndarray

    @classmethod
    def of(cls, tables: RecommenderTables, queries: np.ndarray) -> "Truth":
        """Searches exactly."""
        candidates = tables.candidate_embeddings[:-1]
        rows = metrics.top_k(queries, candidates, TUNED_K)
        return cls(queries, candidates, _score(queries, candidates[rows]))

    def recalls(self, rows: np.ndarray) -> np.ndarray:
        """Holds `[num_queries, TUNED_K]` rows, -1 for none, against it; `[num_queries]` float64."""
        scores = np.where(rows < 0, -np.inf, _score(self.queries, self.candidates[rows]))
        return recalls_by_score(scores, self.best)


@dataclasses.dataclass(frozen=True)
class Tuned:
    """An index and how to search it.

    Attributes:
      index: The index; None where exact search is as fast for requests of the usual kind.
      efforts: By kind of request, how hard to try; None for exact search.
      curve: All that was measured, on the queries that the choice was made on.
      exact_microseconds: CPU time of an exact search of the usual kind, a query.
    """

    index: ScannIndex | None
    efforts: Mapping[int, Effort | None]
    curve: Sequence[Point]
    exact_microseconds: float

    def recalls(self, tables: RecommenderTables, queries: np.ndarray) -> np.ndarray:
        """Holds the index against exact search, for requests of the usual kind.

        Args:
          tables: Those that it was built on.
          queries: `[num_queries, dim]` float32 array, without weights.

        Returns:
          `[num_queries]` float64 array.
        """
        effort = self.efforts.get(PLAIN)
        if self.index is None or effort is None:
            return np.ones(len(queries))
        weighted = queries * tables.score_weights
        truth = Truth.of(tables, weighted)
        found, _ = _timed(self.index, effort, weighted)
        return truth.recalls(found)

    def recommender(
        self, tables: RecommenderTables, encoder: tf.Module, assets_dir: str
    ) -> Recommender:
        """Builds the module to export: over the index, or over exact search.

        Args:
          tables: Those that the index was tuned on.
          encoder: See `Recommender`.
          assets_dir: Likewise.
        """
        index = self.index
        if index is None:
            return Recommender(tables, encoder, assets_dir)
        return Recommender(
            tables, encoder, assets_dir, lambda exact: ScannSearch(exact, index, self.efforts)
        )


def rebuild(path: str, tables: RecommenderTables) -> Tuned | None:
    """Builds an index with the settings that an export was tuned to.

    Args:
      path: Folder of the export; there may be none.
      tables: What to index.

    Returns:
      The index; None if there is nothing to go by, so that `tune` must be called.
    """
    if not tf.saved_model.contains_saved_model(path) or len(tables.business_ids) < MIN_BUSINESSES:
        return None
    earlier = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))

    def read(name: str) -> np.ndarray:
        return earlier.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")

    shapes = earlier.get_variable_to_shape_map()
    if not any(name.startswith("search/efforts/") for name in shapes):
        return None
    # As many partitions to a root of the catalogue as before, and the same share of them searched.
    growth = (len(tables.business_ids) / (len(read("business_ids")) - 1)) ** 0.5
    num_leaves = max(1, round(growth * int(read("search/num_leaves"))))
    efforts = {
        kind: Effort(min(num_leaves, math.ceil(growth * told[0])), int(told[1]))
        if told[0]
        else None
        for kind, told in zip(KINDS, read("search/efforts"), strict=True)
    }
    return Tuned(ScannIndex(tables, num_leaves), efforts, (), 0.0)


def tune(
    tables: RecommenderTables,
    queries: np.ndarray,
    target_recall: float,
    indexes: Iterable[ScannIndex] | None = None,
) -> Tuned:
    """Chooses a partition by requests of the usual kind, then an effort for each kind.

    Args:
      tables: Whose candidates.
      queries: `[num_queries, dim]` float32 array of real query embeddings, without weights. What
        is reported of the index is to be measured on others.
      target_recall: Share of the true `TUNED_K` neighbours to be found.
      indexes: To choose from; by default, ones of several partitions are built.
    """
    num_businesses = len(tables.business_ids)
    if num_businesses < MIN_BUSINESSES or not len(queries):
        _LOG.info("exact search: %d businesses are too few for an index", num_businesses)
        return Tuned(None, {}, (), 0.0)
    asked = {
        kind: [Truth.of(tables, weighted) for weighted in sets]
        for kind, sets in query_sets(tables, queries).items()
    }
    exact_microseconds = _exact_microseconds(asked[PLAIN][0])

    def curve(index: ScannIndex, kind: int) -> list[Point]:
        points = measure(index, kind, asked[kind], target_recall)
        return [point for point in points if point.microseconds < exact_microseconds]

    best: tuple[ScannIndex, Point] | None = None
    points = []
    for index in _partitions(tables) if indexes is None else indexes:
        points += (measured := curve(index, PLAIN))
        cheapest = cheapest_point(measured, target_recall)
        if cheapest and (best is None or cheapest.microseconds < best[1].microseconds):
            best = index, cheapest
    if best is None:
        _LOG.info("exact search: no index is faster at a recall of %g", target_recall)
        return Tuned(None, {}, points, exact_microseconds)
    index, cheapest = best
    efforts: dict[int, Effort | None] = {PLAIN: cheapest.effort}
    for kind in (WEIGHTED, NEIGHBOURS):
        points += (measured := curve(index, kind))
        found = cheapest_point(measured, target_recall)
        efforts[kind] = found.effort if found else None
    return Tuned(index, efforts, points, exact_microseconds)


def _partitions(tables: RecommenderTables) -> Iterator[ScannIndex]:
    """Builds indexes of few to many partitions, one at a time."""
    num_businesses = len(tables.business_ids)
    for share in _LEAVES:
        num_leaves = max(1, min(num_businesses // 16, round(share * num_businesses**0.5)))
        yield ScannIndex(tables, num_leaves)


def query_sets(tables: RecommenderTables, queries: np.ndarray) -> dict[int, list[np.ndarray]]:
    """Makes the queries of each kind of request.

    Args:
      tables: Whose candidates.
      queries: `[num_queries, dim]` float32 array, without weights.

    Returns:
      By kind, sets of `[num_queries, dim]` float32 arrays, weights applied.
    """
    candidates = tables.candidate_embeddings[:-1]
    cut = tables.retrieval_dim
    sample = queries[:_BATCH]
    spreads = [
        float((sample[:, block] @ candidates[:, block].T).std(axis=1).mean())
        for block in (slice(cut), slice(cut, None))
    ]
    weighted = [tables.spread(0.0, 1.0), tables.spread(1.0, 0.0)]
    if all(spreads):
        weighted += [tables.spread(1.0, share * spreads[0] / spreads[1]) for share in _MIXTURES]
    rows = np.random.default_rng(0).integers(len(candidates), size=len(queries))
    directions = np.zeros_like(queries)
    directions[:, : tables.direction_dim] = candidates[rows, : tables.direction_dim]
    return {
        PLAIN: [queries * tables.score_weights],
        WEIGHTED: [queries * weights for weights in weighted],
        NEIGHBOURS: [directions],
    }


def measure(
    index: ScannIndex, kind: int, sets: Sequence[Truth], target_recall: float
) -> Iterator[Point]:
    """Measures the curve of one kind of request, from the least effort on.

    It ends one step beyond the target: who looks into still more partitions only pays more, and
    that is where nearly all the time of a tuning would go. Where the greatest effort of all falls
    short, there is nothing else to measure.

    Args:
      index: The index.
      kind: Kind of request.
      sets: Sets of queries with what is to be found.
      target_recall: What is to be found of them.
    """

    def at(effort: Effort) -> Point:
        recalls, seconds = [], 0.0
        for truth in sets:
            found, spent = _timed(index, effort, truth.queries)
            recalls.append(truth.recalls(found))
            seconds += spent
        worst = min(map(Recall.of, recalls), key=lambda recall: recall.mean)
        num_queries = sum(len(truth.queries) for truth in sets)
        return Point(
            kind=kind,
            num_leaves=index.num_leaves,
            effort=effort,
            recall=worst.mean,
            error=worst.error,
            microseconds=1e6 * seconds / num_queries,
        )

    greatest = at(Effort(index.num_leaves, _REORDERED[-1]))
    if not greatest.reaches(target_recall):
        yield greatest
        return
    enough = False
    for share in _SEARCHED:
        is_last, leaves = enough, max(1, round(share * index.num_leaves))
        reached = 0.0
        for reordered in _REORDERED:
            point = at(Effort(leaves, reordered))
            yield point
            enough |= point.reaches(target_recall)
            if point.recall <= reached + 1e-4:
                break
            reached = point.recall
        if is_last:
            return


def cheapest_point(points: Sequence[Point], target_recall: float) -> Point | None:
    """Returns the fastest search whose recall is surely enough, None if there is none.

    Args:
      points: What was measured.
      target_recall: Share of the true neighbours to be found.
    """
    good = [point for point in points if point.reaches(target_recall)]
    return min(good, key=lambda point: point.microseconds, default=None)


def _score(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Computes `[num_queries, k]` scores of `[num_queries, k, dim]` candidates."""
    return np.einsum("nd,nkd->nk", queries, candidates)


def _timed(index: ScannIndex, effort: Effort, queries: np.ndarray) -> tuple[np.ndarray, float]:
    """Searches in batches; returns what `ScannIndex.find` does, and the CPU seconds it took."""
    batches = [
        index.queries(queries[start : start + _BATCH]) for start in range(0, len(queries), _BATCH)
    ]
    begin = time.process_time()
    found = [index.find(batch, TUNED_K, effort) for batch in batches]
    seconds = time.process_time() - begin
    return np.concatenate(found), seconds


def _exact_microseconds(truth: Truth) -> float:
    """Times what an export's exact search does, a query of some batches, at its best."""
    queries, candidates = truth.queries, tf.constant(truth.candidates)
    seconds = []
    for start in range(0, min(len(queries), 4 * _BATCH), _BATCH):
        batch = tf.constant(queries[start : start + _BATCH])
        begin = time.process_time()
        tf.math.top_k(tf.matmul(batch, candidates, transpose_b=True), TUNED_K)
        seconds.append((time.process_time() - begin) / len(batch))
    return 1e6 * min(seconds)
