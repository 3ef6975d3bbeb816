"""Asks an export for lists, as a client would, to measure them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from models import features
from serving.loader import ServedModel

_SIGNATURE = "recommend"
BATCH = 64


class Lists(NamedTuple):
    """Lists of businesses.

    Attributes:
      business_ids: `[num_users, k]` array of `bytes`, "" where a list ran out.
      scores: `[num_users, k]` float32 array.
    """

    business_ids: np.ndarray
    scores: np.ndarray


def load(path: str, k: int, **told: Any) -> Callable[[np.ndarray], Lists]:
    """Loads an export.

    Args:
      path: Folder of the SavedModel.
      k: Length of the lists.
      **told: Optional inputs of `recommend`, by name, one value for all users.

    Returns:
      A function from a `[num_users]` array of ids, asked 64 at a time, to their lists. Its first
      call takes longer than others.
    """
    # Loaded as the server does, which is also what goes again without a trace: of what
    # `tf.saved_model.load` makes, TensorFlow keeps the tables of ids for good.
    model = ServedModel(path)
    optional = {name: [value] for name, value in {"k": k, **told}.items()}

    def ask(user_ids: np.ndarray) -> Lists:
        business_ids, scores = [np.zeros([0, k], object)], [np.zeros([0, k], np.float32)]
        for start in range(0, len(user_ids), BATCH):
            batch = user_ids[start : start + BATCH]
            found = model.call(_SIGNATURE, {features.USER_ID: batch, **optional})
            business_ids.append(found[features.BUSINESS_ID])
            scores.append(found["score"])
        return Lists(np.concatenate(business_ids), np.concatenate(scores))

    return ask
