"""Times search in the exports and in other libraries, in one process on one core."""

import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from models import export, metrics
from models.index_recall import recall_against_exact
from models.search import PLAIN
from serving.loader import ServedModel, load_model

_K, _BATCH, _CALLS, _WARM_CALLS = 10, 64, 30, 3
_NUM_QUERIES = 2_000
_HNSW_LINKS, _HNSW_BUILD = 32, 200
_HNSW_EFFORTS = (16, 32, 64, 128, 256, 512, 1_024)


def main(root: str, report: str) -> None:
    """Writes CPU microseconds a query and recalls.

    Args:
      root: Of `benchmarks.serving_model`.
      report: Gets a JSON object.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    measured: dict[str, dict[str, float]] = {"microseconds": {}, "recall": {}}
    for name, label in (("t2rec", "exact"), ("t2rec_scann", "ScaNN")):
        _measure_export(os.path.join(root, name), label, measured)
    _measure_peers(root, measured)
    pathlib.Path(report).write_text(json.dumps(measured))


def _measure_export(path: str, label: str, measured: dict) -> None:
    """Calls the signatures of an export."""
    model = load_model(path)
    users = _users(model.path)
    same = {"category": ["Category 3"], "city": ["City 3"]}
    different = {
        "category": [f"Category {row % 200}" for row in range(_BATCH)],
        "city": [f"City {row % 50}" for row in range(_BATCH)],
    }
    for name, rows, told in (
        (f"{label}, batch 64", _BATCH, {}),
        (f"{label}, batch 1", 1, {}),
        (f"{label}, category and city, batch 64", _BATCH, same),
        (f"{label}, category and city, batch 1", 1, same),
        (f"{label}, 64 different filters", _BATCH, different),
        (f"{label}, not seen, batch 64", _BATCH, {"exclude_seen": [True]}),
    ):

        def ask(number: int, rows=rows, told=told) -> dict:
            asked = users[number * rows % len(users) :][:rows]
            return model.call("recommend", {"user_id": asked, "k": [_K], **told})

        measured["microseconds"][name] = _time(ask) / rows
    model.close()


def _measure_peers(root: str, measured: dict) -> None:
    """Searches the same candidates by the same queries with other libraries, and with NumPy."""
    import faiss

    faiss.omp_set_num_threads(1)
    exact, approximate = (load_model(os.path.join(root, name)) for name in ("t2rec", "t2rec_scann"))
    users = _users(exact.path)[-_NUM_QUERIES:]  # The index was tuned on the first ones.
    recall = recall_against_exact(*(_lists(model, users) for model in (approximate, exact)))
    measured["recall"]["ScaNN, batch 64"] = recall
    tables, _ = export.load_tables(exact.path)
    queries, candidates = (
        np.ascontiguousarray(side[:, : tables.retrieval_dim], np.float32)
        for side in (tables.query_embeddings[:-1][-_NUM_QUERIES:], tables.candidate_embeddings[:-1])
    )
    truth = metrics.top_k(queries, candidates, _K)
    flat = faiss.IndexFlatIP(candidates.shape[1])
    flat.add(candidates)
    for name, search in (
        ("matmul and top-k, batch 64", lambda batch: _best(batch @ candidates.T)),
        ("FAISS exact, batch 64", lambda batch: flat.search(batch, _K)),
    ):
        measured["microseconds"][name] = _time_batches(search, queries)
    _take("ScaNN, index alone", _scann(approximate.path), queries, truth, 0.0, measured)
    _take("FAISS HNSW, index alone", _faiss_hnsw(candidates), queries, truth, recall, measured)
    if hnsw := _hnswlib(candidates):
        _take("hnswlib, index alone", hnsw, queries, truth, recall, measured)
    else:
        print("  hnswlib is not installed: pip install hnswlib, which needs a C++ compiler")


# An index: by growing effort, functions from a batch of queries to rows.
Efforts = Iterator[Callable[[np.ndarray], np.ndarray]]


def _take(
    name: str,
    efforts: Efforts,
    queries: np.ndarray,
    truth: np.ndarray,
    least: float,
    measured: dict,
) -> None:
    """Times the least effort that reaches a recall."""
    for search in efforts:
        found = np.concatenate([
            search(queries[start : start + _BATCH]) for start in range(0, len(queries), _BATCH)
        ])
        recall = recall_against_exact(found, truth)
        if recall >= least:
            measured["recall"][name] = recall
            measured["microseconds"][name] = _time_batches(search, queries)
            return
    print(f"  {name}: recall {recall:.3f} at the most effort, below {least:.3f}")


def _faiss_hnsw(candidates: np.ndarray) -> Efforts:
    import faiss

    index = faiss.IndexHNSWFlat(candidates.shape[1], _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _HNSW_BUILD
    index.add(candidates)

    def search(queries: np.ndarray) -> np.ndarray:
        return index.search(queries, _K)[1]

    for effort in _HNSW_EFFORTS:
        index.hnsw.efSearch = effort
        yield search


def _hnswlib(candidates: np.ndarray) -> Efforts | None:
    try:
        import hnswlib
    except ImportError:
        return None
    index = hnswlib.Index("ip", candidates.shape[1])
    index.init_index(len(candidates), ef_construction=_HNSW_BUILD, M=_HNSW_LINKS)
    index.set_num_threads(1)
    index.add_items(candidates)

    def efforts() -> Efforts:
        for effort in _HNSW_EFFORTS:
            index.set_ef(effort)
            yield lambda queries: index.knn_query(queries, _K)[0].astype(np.int64)

    return efforts()


def _scann(path: str) -> Efforts:
    """The export's own index, without the signature around it."""
    import tensorflow as tf
    from scann.scann_ops.py import scann_ops

    loaded = tf.saved_model.load(path).search
    searcher = scann_ops.searcher_from_module(loaded.state)
    leaves, reordered = loaded.efforts.numpy()[PLAIN]
    scales = loaded.query_scales.numpy()
    # Of this export's embeddings only those of the retrieval block count.
    used = loaded.columns.numpy()

    def search(queries: np.ndarray) -> np.ndarray:
        padded = np.zeros([len(queries), used.max() + 1], np.float32)
        padded[:, : queries.shape[1]] = queries
        found = searcher.search_batched(
            tf.constant(padded[:, used] * scales),
            final_num_neighbors=_K,
            pre_reorder_num_neighbors=reordered,
            leaves_to_search=leaves,
        )
        return found.indices.numpy()

    yield search


def _users(path: str) -> list[str]:
    with open(os.path.join(path, "assets", "user_ids.txt"), encoding="utf-8") as file:
        return file.read().splitlines()


def _lists(model: ServedModel, users: list[str]) -> np.ndarray:
    lists = [
        model.call("recommend", {"user_id": users[start : start + _BATCH], "k": [_K]})
        for start in range(0, len(users), _BATCH)
    ]
    return np.concatenate([found["business_id"] for found in lists])


def _best(scores: np.ndarray) -> np.ndarray:
    best = np.argpartition(-scores, _K, axis=1)[:, :_K]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
    return np.take_along_axis(best, order, 1)


def _time_batches(search: Callable[[np.ndarray], object], queries: np.ndarray) -> float:
    """Returns CPU microseconds a query, in batches of 64."""
    return (
        _time(lambda n: search(queries[n * _BATCH % (len(queries) - _BATCH) :][:_BATCH])) / _BATCH
    )


def _time(call: Callable[[int], object]) -> float:
    """Returns CPU microseconds a call."""
    for number in range(_WARM_CALLS):
        call(number)
    begin = time.process_time()
    for number in range(_CALLS):
        call(_WARM_CALLS + number)
    return (time.process_time() - begin) / _CALLS * 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
