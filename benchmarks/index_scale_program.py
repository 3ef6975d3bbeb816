"""Builds an index, and measures its curve for requests of the usual kind."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np

from benchmarks import serving_model
from models import index_tuning
from models.index_tuning import Truth, Tuned
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
    queries = tables.query_embeddings[:-1].astype(np.float32)
    with _timed("exact search for half of the queries"):
        truth = Truth.of(tables, queries[::2] * tables.score_weights)
    with _timed("curve"):
        points = list(index_tuning.measure(index, PLAIN, [truth], _TARGET_RECALL))
    chosen = index_tuning.cheapest_point(points, _TARGET_RECALL)
    if chosen is None:
        best = max(points, key=lambda point: point.recall)
        print(f"  {_TARGET_RECALL} not reached: {best.recall:.4f} with {best.effort}")
        return
    recalls = Tuned(index, {PLAIN: chosen.effort}, points, 0.0).recalls(tables, queries[1::2])
    print(
        f"  {chosen.microseconds:.0f} us a query in batches of 64 with {chosen.effort}; "
        f"recall@10 {recalls.mean():.4f} on other queries"
    )


@contextlib.contextmanager
def _timed(name: str) -> Iterator[None]:
    """Prints what a block took, and the peak of memory so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"  {name}: {wall:.1f} s, {cpu:.1f} CPU s; {peak_mb:,.0f} MB until then", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
