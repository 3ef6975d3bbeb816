"""Times what no exact scorer of many users can do without, in CPU µs a user."""

import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np

from models import export, metrics

_BLOCK, _NUM_BLOCKS = 106, 40  # Blocks as in `models.metrics`: 64 MB of scores.


def main(root: str, k: str, out: str) -> None:
    """Writes the times as JSON.

    Args:
      root: Folder of the model `t2rec`, version 1.
      k: Length of the lists.
      out: The JSON file.
    """
    tables, _ = export.load_tables(os.path.join(root, "t2rec", "1"))
    scored = np.flatnonzero(tables.score_weights)
    candidates = np.ascontiguousarray(tables.candidate_embeddings[:-1, scored])
    queries = tables.query_embeddings[: _BLOCK * _NUM_BLOCKS, scored].astype(np.float32)
    columns, length = np.ascontiguousarray(candidates.T), int(k)
    cells = np.empty([_BLOCK, len(candidates)], np.float32)

    def multiply(part: np.ndarray) -> np.ndarray:
        return np.matmul(part, columns, out=cells)

    def partition(part: np.ndarray) -> None:
        scores = multiply(part)
        best = np.argpartition(scores, -length, axis=1)[:, -length:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        np.take_along_axis(best, order, axis=1)

    blocks = np.split(queries, _NUM_BLOCKS)
    times = {
        "product alone": _time(multiply, blocks),
        "product and top-k": _time(lambda part: metrics.top_k(part, candidates, length), [queries]),
        "product and argpartition": _time(partition, blocks[:10]),
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(times, file)


def _time(function: Callable[[np.ndarray], object], parts: list[np.ndarray]) -> float:
    function(parts[0])
    start = time.process_time()
    for part in parts:
        function(part)
    return 1e6 * (time.process_time() - start) / sum(len(part) for part in parts)


if __name__ == "__main__":
    main(*sys.argv[1:])
