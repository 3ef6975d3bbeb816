"""Asks the approximate export for lists, to hold them against exact search."""

import numpy as np

from components import export_lists
from components.evaluator.exported import ExportedModel
from models import metrics
from models.evaluation import RetrievalEvaluation
from models.tables import IdIndex

_K = 10
_MAX_USERS = 512


def scores_of_both(
    path: str, model: ExportedModel, user_ids: np.ndarray, protocol: RetrievalEvaluation
) -> tuple[np.ndarray, np.ndarray]:
    """Scores the first places of approximate and of exact lists, both with the exact embeddings.

    Args:
      path: The SavedModel with the index.
      model: Its exact twin.
      user_ids: `[num_users]` array of `bytes`: the rows that `protocol` counts.
      protocol: Its first users are asked for, at most 512, without what they have seen.

    Returns:
      Two `[n, k]` float32 arrays, best first, -inf where a list ran out.
    """
    users = protocol.users[:_MAX_USERS]
    exact = metrics.top_k(
        model.queries(users), model.candidates, _K, protocol.seen.take(np.arange(len(users)))
    )
    ask = export_lists.load(path, _K, exclude_seen=True)
    ids = ask(user_ids[users]).business_ids[:, : exact.shape[1]]
    rows = IdIndex(model.tables.business_ids).rows(ids.ravel()).reshape(ids.shape)
    return tuple(-np.sort(-_score(model, users, lists), axis=1) for lists in (rows, exact))  # type: ignore[return-value]


def _score(model: ExportedModel, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
    scores = np.einsum("nd,nkd->nk", model.queries(users), model.candidates[rows])
    return np.where(rows >= 0, scores, -np.inf)
