"""Asks an export for lists, as a client would, to measure them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from models import export

_SIGNATURE = "recommend"
BATCH = 64


def load(path: str, k: int, **told: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Loads an export.

    Args:
      path: Folder of the SavedModel.
      k: Length of the lists.
      **told: Optional inputs of `recommend`, by name, one value for all users.

    Returns:
      A function from a `[num_users]` array of ids, asked 64 at a time, to `[num_users, k]` business
      ids, "" where a list ran out. Its first call takes longer than others.
    """
    recommend = tf.saved_model.load(path).signatures[_SIGNATURE]
    inputs = {name: tf.constant(v) for name, v in export.optional_inputs(path, _SIGNATURE).items()}
    for name, value in {"k": k, **told}.items():
        inputs[name] = tf.constant([value], inputs[name].dtype)

    def ask(user_ids: np.ndarray) -> np.ndarray:
        lists = [np.zeros([0, k], object)]
        for start in range(0, len(user_ids), BATCH):
            batch = tf.constant(user_ids[start : start + BATCH])
            lists.append(recommend(user_id=batch, **inputs)["business_id"].numpy())
        return np.concatenate(lists)

    return ask
