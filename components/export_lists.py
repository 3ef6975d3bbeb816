"""Asks an export for lists, as a client would, to measure them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from models import export

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
    recommend = tf.saved_model.load(path).signatures[_SIGNATURE]
    inputs = {name: tf.constant(v) for name, v in export.optional_inputs(path, _SIGNATURE).items()}
    for name, value in {"k": k, **told}.items():
        inputs[name] = tf.constant([value], inputs[name].dtype)

    def ask(user_ids: np.ndarray) -> Lists:
        business_ids, scores = [np.zeros([0, k], object)], [np.zeros([0, k], np.float32)]
        for start in range(0, len(user_ids), BATCH):
            batch = tf.constant(user_ids[start : start + BATCH])
            found = recommend(user_id=batch, **inputs)
            business_ids.append(found["business_id"].numpy())
            scores.append(found["score"].numpy())
        return Lists(np.concatenate(business_ids), np.concatenate(scores))

    return ask
