"""Keeps a sample of requests and answers as TFRecords of PredictionLog, to look for skew later.

The files can be replayed as warm-up requests, and TFX's BulkInferrer and TFDV read them.
"""

import contextlib
import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config.logging_config_pb2 import LoggingConfig

from serving import tensors
from serving.signatures import Given

# Answers that wait to be written; beyond that the sample is smaller rather than memory larger.
_MAX_WAITING = 256
_MAX_FILE_BYTES = 64 << 20
_FLUSH_SECONDS = 1.0
# How long a stop waits for a disk that doesn't answer.
_STOP_SECONDS = 5.0

_LOGGER = logging.getLogger("t2rec")


class RequestLog:
    """Writes the sample in a thread of its own; use it as a context manager.

    A file is named `PREFIX-MODEL-TIME-PID.tfrecord`, with the time in nanoseconds; a new one is
    begun every 64 MB.
    """

    def __init__(self, config: Callable[[str], LoggingConfig | None]):
        """Starts to wait for requests.

        Args:
          config: Tells what to log of a model, by its name.
        """
        self._config = config
        self._waiting: queue.Queue[tuple | None] = queue.Queue(_MAX_WAITING)
        self._files: dict[str, _File] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)

    def __enter__(self) -> "RequestLog":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # Then there is enough to wake up for.
            self._waiting.put_nowait(None)
        self._thread.join(_STOP_SECONDS)

    def offer(self, model: str, prediction: Any, given: Given) -> None:
        """Keeps a request and its answer, if chance and the model's configuration want it.

        Args:
          model: Name of the model.
          prediction: The `serving.core.Prediction`.
          given: Its inputs.
        """
        config = self._config(model)
        if not config or random.random() >= config.sampling_config.sampling_rate:
            return
        try:
            self._waiting.put_nowait((model, config, prediction, given))
        except queue.Full:
            return

    def _work(self) -> None:
        flushed = time.monotonic()
        while not (self._stopping.is_set() and self._waiting.empty()):
            item = None
            with contextlib.suppress(queue.Empty):
                item = self._waiting.get(timeout=_FLUSH_SECONDS)
            try:
                if item:
                    self._write(*item)
                if time.monotonic() - flushed >= _FLUSH_SECONDS:
                    flushed = time.monotonic()
                    for file in self._files.values():
                        file.writer.flush()
            except Exception:
                # Such as a full disk: requests are answered all the same.
                _LOGGER.exception("Logging requests failed; trying again with a new file")
                # A file may now end within a record, behind which nothing can be read.
                self._files.clear()
                self._stopping.wait(_FLUSH_SECONDS)
        for file in self._files.values():
            with contextlib.suppress(Exception):  # The disk is full; nobody is left to be told.
                file.writer.close()

    def _write(
        self,
        model: str,
        config: LoggingConfig,
        prediction: Any,
        given: Given,
    ) -> None:
        log = prediction_log_pb2.PredictionLog()
        log.log_metadata.sampling_config.CopyFrom(config.sampling_config)
        log.log_metadata.timestamp_secs = int(time.time())
        request, response = log.predict_log.request, log.predict_log.response
        for model_spec in (log.log_metadata.model_spec, request.model_spec, response.model_spec):
            model_spec.name = model
            model_spec.version.value = prediction.version
            model_spec.signature_name = prediction.signature
        tensors.write_outputs(given, request.inputs)
        tensors.write_outputs(prediction.outputs, response.outputs)
        record = log.SerializeToString()
        file = self._files.get(model)
        if not file or file.prefix != config.log_collector_config.filename_prefix or file.full:
            if file:
                file.writer.close()
            file = _File(config.log_collector_config.filename_prefix, model)
            self._files[model] = file
        file.write(record)


class _File:
    """A file that is being written."""

    def __init__(self, prefix: str, model: str):
        import tensorflow as tf

        self.prefix = prefix
        path = f"{prefix}-{model}-{time.time_ns()}-{os.getpid()}.tfrecord"
        # Of the name, only the last part is ours to make.
        tf.io.gfile.makedirs(os.path.dirname(prefix) or ".")
        self.writer = tf.io.TFRecordWriter(path)
        self._num_bytes = 0

    @property
    def full(self) -> bool:
        return self._num_bytes > _MAX_FILE_BYTES

    def write(self, record: bytes) -> None:
        self.writer.write(record)
        self._num_bytes += len(record)
