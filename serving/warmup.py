"""Calls a fresh version before it answers requests, because first calls take far longer."""

import contextlib
import os

import numpy as np
from tensorflow_serving.apis import prediction_log_pb2

from serving import tensors
from serving.errors import InvalidRequestError
from serving.loader import ServedModel
from serving.model_folders import exists

# Where TensorFlow Serving, too, looks for requests to replay, and the most that it takes.
REQUESTS_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MAX_REQUESTS = 1_000


def warm_up(model: ServedModel, batch_rows: int) -> int:
    """Replays the requests that the export holds, or calls each signature with one row and many.

    Args:
      model: A model that was just loaded.
      batch_rows: Rows of a large call.

    Returns:
      Calls made.

    Raises:
      ServingError: If the model fails or refuses: it must not go live.
    """
    path = os.path.join(model.path, REQUESTS_FILE)
    if exists(path):
        return _replay(model, path)
    calls = 0
    for name, signature in model.signatures.items():
        example = signature.example()
        for rows in (1, batch_rows) if example else (1,):
            # Any model may be served, and one may refuse zeros.
            with contextlib.suppress(InvalidRequestError):
                model.call(name, {key: np.repeat(array, rows, 0) for key, array in example.items()})
            calls += 1
    return calls


def _replay(model: ServedModel, path: str) -> int:
    """Calls the model with the recorded requests."""
    import tensorflow as tf
    from tensorflow.python.util import deprecation

    calls = 0
    with deprecation.silence():
        records = tf.compat.v1.io.tf_record_iterator(path)
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if not log.HasField("predict_log") or calls == _MAX_REQUESTS:
            continue
        request = log.predict_log.request
        model.call(request.model_spec.signature_name, tensors.read_inputs(request.inputs))
        calls += 1
    return calls
