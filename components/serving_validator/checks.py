"""Serves exports by the real server and compares its answers with the models' own."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from components.serving_validator.canned_requests import CannedRequest, canned_requests
from models.errors import InputError
from serving.client import connect
from serving.loader import load_model
from serving.server_process import ServerProcess

_START_SECONDS = 300.0
# Scores are sums of float32, whose order may differ from call to call.
_TOLERANCE = 1e-4


def find_problems(models: Mapping[str, str], start_seconds: float = _START_SECONDS) -> list[str]:
    """Starts a server and asks it.

    Args:
      models: By name, folders of SavedModels.
      start_seconds: How long the server may take to load them.

    Returns:
      What is wrong, in words; empty if nothing is.
    """
    with tempfile.TemporaryDirectory(prefix="serving-validator-") as folder, ExitStack() as stack:
        config_file = os.path.join(folder, "models.config")
        with open(config_file, "w", encoding="utf-8") as file:
            file.write(text_format.MessageToString(_config(models)))
        server = stack.push(ServerProcess(["--model-config-file", config_file], start_seconds))
        server.start()
        try:
            # While it starts.
            expected = {name: _answers_in_process(path) for name, path in models.items()}
            server.wait_until_ready()
        except InputError as error:
            return [str(error)]
        addresses = (server.rest_address, f"grpc://{server.grpc_address}")
        return [
            problem
            for address in addresses
            for name, answers in expected.items()
            for problem in _compare(address, name, answers)
        ]


def _config(models: Mapping[str, str]) -> ModelServerConfig:
    config = ModelServerConfig()
    for name, path in models.items():
        config.model_config_list.config.add(name=name, base_path=path, model_platform="tensorflow")
    return config


def _answers_in_process(path: str) -> list[tuple[CannedRequest, dict[str, np.ndarray]]]:
    model = load_model(path)
    try:
        requests = canned_requests(model)
        return [(request, model.call(request.signature, request.inputs)) for request in requests]
    finally:
        model.close()


def _compare(
    address: str, name: str, answers: list[tuple[CannedRequest, dict[str, np.ndarray]]]
) -> list[str]:
    """Asks one model over one protocol."""
    protocol = "gRPC" if address.startswith("grpc:") else "REST"
    problems = []
    with connect(address, name) as client:
        for request, expected in answers:
            where = f"{name} {request.signature} over {protocol}"
            try:
                found = client.predict(request.signature, request.inputs)
            except InputError as error:
                problems.append(f"{where} failed: {error}")
                continue
            # REST does not name a single output.
            if len(expected) == 1:
                found = dict(zip(expected, found.values(), strict=True))
            problems += [
                f"{where}: {output} is not what the model gives in process"
                for output, values in expected.items()
                if not _same(found.get(output), values)
            ]
    return problems


def _same(found: Any, expected: np.ndarray) -> bool:
    if expected.dtype == object:
        texts = [value.decode("utf-8", "replace") for value in expected.ravel()]
        return np.array_equal(np.array(found, object).ravel(), np.array(texts, object))
    # JSON has no infinity; the server writes null.
    values = np.array(found, np.float64)
    finite = np.isfinite(expected)
    return (
        values.shape == expected.shape
        and np.array_equal(np.isfinite(values), finite)
        and np.allclose(values[finite], expected[finite], _TOLERANCE, _TOLERANCE)
    )
