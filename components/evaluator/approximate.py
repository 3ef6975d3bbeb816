"""Asks the approximate export for lists, to hold them against exact search."""

import numpy as np
import tensorflow as tf

from components.evaluator.exported import ExportedModel
from models import export, metrics
from models.evaluation import RetrievalEvaluation
from models.tables import IdIndex

_SIGNATURE = "recommend"
_K = 10
_MAX_USERS = 512
_BATCH = 64


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
    ids = _ask(path, user_ids[users])[:, : exact.shape[1]]
    rows = IdIndex(model.tables.business_ids).rows(ids.ravel()).reshape(ids.shape)
    return tuple(-np.sort(-_score(model, users, lists), axis=1) for lists in (rows, exact))  # type: ignore[return-value]


def _score(model: ExportedModel, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
    scores = np.einsum("nd,nkd->nk", model.queries(users), model.candidates[rows])
    return np.where(rows >= 0, scores, -np.inf)


def _ask(path: str, user_ids: np.ndarray) -> np.ndarray:
    """Returns `[num_users, k]` business ids, "" where a list ran out."""
    recommend = tf.saved_model.load(path).signatures[_SIGNATURE]
    told = {
        **export.optional_inputs(path, _SIGNATURE),
        "k": np.array([_K], np.int32),
        "exclude_seen": np.array([True]),
    }
    inputs = {name: tf.constant(value) for name, value in told.items()}
    lists = [np.zeros([0, _K], object)]
    for start in range(0, len(user_ids), _BATCH):
        batch = tf.constant(user_ids[start : start + _BATCH])
        lists.append(recommend(user_id=batch, **inputs)["business_id"].numpy())
    return np.concatenate(lists)
