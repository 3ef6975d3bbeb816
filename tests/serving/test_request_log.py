"""The sample of requests, on real files; one is full when it may not grow."""

import contextlib
import resource
import time

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config.logging_config_pb2 import LoggingConfig

from serving.core import Prediction
from serving.request_log import RequestLog
from tests.harnesses.waiting import wait_until


@pytest.fixture
def config(tmp_path):
    text = f"""
        sampling_config {{ sampling_rate: 1.0 }}
        log_collector_config {{ filename_prefix: "{tmp_path / "log"}" }}
    """
    return text_format.Parse(text, LoggingConfig())


def _offer(log, x):
    array = np.array([x], np.float32)
    log.offer("tiny", Prediction(1, "serving_default", {"y": array}), {"x": array})


def _logged(tmp_path):
    """The inputs that can be read back, file by file."""
    records = [
        record
        for path in sorted(tmp_path.glob("log-tiny-*"))
        for record in tf.compat.v1.io.tf_record_iterator(str(path))
    ]
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    return [log.predict_log.request.inputs["x"].float_val[0] for log in logs]


@contextlib.contextmanager
def _full_disk():
    """No file of this process may grow, which an error says as that of a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_steady_traffic_is_on_the_disk_before_it_ends(config, tmp_path):
    """Twenty records are too few for the operating system's library to write by itself."""
    with RequestLog(lambda _: config) as log:
        for _ in range(20):
            _offer(log, 1.0)
            time.sleep(0.2)
            if any(path.stat().st_size for path in tmp_path.glob("log-*")):
                return
    pytest.fail("Nothing was written")


def test_log_goes_on_once_a_full_disk_has_room(config, tmp_path, caplog):
    with RequestLog(lambda _: config) as log:
        with _full_disk():
            _offer(log, 1.0)
            wait_until(lambda: "trying again with a new file" in caplog.text)
        _offer(log, 2.0)
    assert _logged(tmp_path)[-1] == 2.0


def test_stop_does_not_wait_for_a_full_disk(config, caplog):
    with _full_disk():
        with RequestLog(lambda _: config) as log:
            for _ in range(1_000):  # More than may wait.
                _offer(log, 1.0)
            wait_until(lambda: "trying again with a new file" in caplog.text)
            for _ in range(1_000):
                _offer(log, 1.0)
            begin = time.monotonic()
        assert time.monotonic() - begin < 20.0
