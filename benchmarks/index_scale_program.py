"""Builds an index, and measures its curve for requests of the usual kind."""

import resource
import sys
import time

import numpy as np

from benchmarks import serving_model
from models import index_tuning
from models.index_tuning import Truth
from models.scann_index import ScannIndex
from models.search import PLAIN

_TARGET_RECALL = 0.99


def main(num_businesses: str, num_queries: str, leaves_by_root: str) -> None:
    """Prints seconds, and the cheapest search that reaches the target.

    Args:
      num_businesses: Size of the catalogue.
      num_queries: Users, half of whom choose; the others report.
      leaves_by_root: Partitions, as a multiple of the root of the catalogue's size.
    """
    with _timed("drawing them"):
        tables = serving_model.make_tables(int(num_queries), int(num_businesses))
    num_leaves = round(float(leaves_by_root) * int(num_businesses) ** 0.5)
    with _timed(f"index of {num_leaves:,} partitions"):
        index = ScannIndex(tables, num_leaves)
    queries = tables.query_embeddings[:-1].astype(np.float32) * tables.score_weights
    with _timed("exact search for all queries"):
        choosing, reporting = (Truth.of(tables, half) for half in (queries[::2], queries[1::2]))
    with _timed("curve"):
        points = list(index_tuning.measure(index, PLAIN, [choosing], _TARGET_RECALL))
    good = [point for point in points if point.reaches(_TARGET_RECALL)]
    if not good:
        best = max(points, key=lambda point: point.recall)
        print(f"  {_TARGET_RECALL} not reached: {best.recall:.4f} with {best.effort}")
        return
    chosen = min(good, key=lambda point: point.microseconds)
    found = np.concatenate([
        index.find(index.queries(reporting.queries[start : start + 64]), 10, chosen.effort)
        for start in range(0, len(reporting.queries), 64)
    ])
    print(
        f"  {chosen.microseconds:.0f} us a query in batches of 64 with {chosen.effort}; "
        f"recall@10 {reporting.recalls(found).mean():.4f} on other queries"
    )


class _timed:
    """Prints what a block took, and the peak of memory so far."""

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"  {self._name}: {wall:.1f} s, {cpu:.1f} CPU s; {peak_mb:,.0f} MB until then",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
