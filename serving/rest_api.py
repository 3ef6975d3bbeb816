"""TensorFlow Serving's REST API on the core, and what else is asked over HTTP.

| path | answer |
|---|---|
| `/v1/models/NAME[/versions/N or /labels/L]:predict` | POST: predictions |
| `/v1/models/NAME[/versions/N or /labels/L]` | states of the versions |
| `/v1/models/NAME[...]/metadata` | signatures |
| `/healthz`, `/readyz` | 200 while the server lives; while every model can answer, otherwise 503 |
| `/metrics`, `/monitoring/prometheus/metrics` | for Prometheus |
| `/state` | models and live latency, as the page shows them |
| `/` | the page |
"""

import json
import logging
import re
import urllib.parse
import weakref
from collections.abc import Callable, Mapping

import orjson
from google.protobuf import json_format

from serving import off_loop, page, rest
from serving.access import Access
from serving.core import Core
from serving.errors import (
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ServingError,
    UnavailableError,
    UnimplementedError,
    UnknownSignatureError,
)
from serving.http_messages import Request, Response
from serving.manager import ModelRef
from serving.metrics import CONTENT_TYPE
from serving.signatures import signature_map

TRANSPORT = "rest"
# Of JSON, about.
_BYTES_A_VALUE = 6
_MAX_VERSION = (1 << 63) - 1
_LOGGER = logging.getLogger("t2rec")

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(_MODEL + r"(?:/(metadata))?", re.IGNORECASE | re.ASCII)


class RestApi:
    """Answers whole HTTP requests."""

    def __init__(
        self, core: Core, access: Access, timeout_seconds: float, is_live: Callable[[], bool]
    ):
        """Puts the core behind paths.

        Args:
          core: Answers.
          access: Says who may ask.
          timeout_seconds: How long a prediction may take.
          is_live: Whether the server takes new requests, as it does until it is told to stop.
        """
        self._core = core
        self._access = access
        self._timeout_seconds = timeout_seconds
        self._is_live = is_live
        # By model, what is the same as long as it is loaded.
        self._signatures: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        self._open: Mapping[str, Callable[[], Response]] = {
            "/": page.response,
            "/healthz": lambda: _text(200, "ok"),
            "/readyz": self._ready,
        }
        self._closed: Mapping[str, Callable[[], Response]] = {
            "/metrics": self._metrics,
            "/monitoring/prometheus/metrics": self._metrics,
            "/state": self._state,
        }

    def refuse(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> ServingError | None:
        """Says why a request needn't be read, if so.

        Args:
          method: Its method.
          path: Its path.
          headers: Its headers.
        """
        if path not in self._open and (error := self._access.check_headers(headers)):
            return error
        if method == "POST" and self._core.is_full:
            return self._core.overload()
        return None

    async def answer(self, request: Request) -> Response:
        """Answers a request.

        Args:
          request: The request; `refuse` had nothing against it.
        """
        try:
            return await self._answer(request)
        except ServingError as error:
            return write_error(error)
        except Exception:
            _LOGGER.exception("%s %s failed", request.method, request.path)
            return write_error(ServingError("Internal error; see the log of the server"))

    async def _answer(self, request: Request) -> Response:
        method, path = request.method, request.path
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            return await self._predict(match, request.body)
        if method in {"GET", "HEAD"}:
            if known := self._open.get(path) or self._closed.get(path):
                return known()
            if match := _STATUS.fullmatch(path):
                return Response(200, self._metadata(match) if match[4] else self._status(match))
        if path.lower().startswith("/v1/"):
            raise InvalidRequestError(f"Malformed request: {method} {path}")
        raise NotFoundError(f"Not found: {method} {path}")

    async def _predict(self, match: re.Match, body: bytes) -> Response:
        ref = _model_ref(match)
        if match[4].lower() != "predict":
            raise UnimplementedError(
                f"{match[4].capitalize()} takes tf.Examples, which no signature here does. Use "
                "predict."
            )
        try:
            request = await off_loop.call(len(body), rest.parse_body, body)
        except InvalidRequestError as error:
            self._core.metrics.count_request(TRANSPORT, "", "", error.code, 0.0)
            raise
        name = request.get("signature_name", "")
        try:
            prediction = await self._core.predict(
                TRANSPORT,
                ref,
                name,
                lambda signature: rest.read_inputs(request, signature),
                len(body),
                self._timeout_seconds,
            )
        except UnknownSignatureError as error:
            # TensorFlow Serving has other words for it here.
            name = name or "serving_default"
            raise InvalidRequestError(
                f'Serving signature name: "{name}" not found in signature def'
            ) from error
        outputs = prediction.outputs
        write = rest.write_rows if "instances" in request else rest.write_columns
        num_bytes = _BYTES_A_VALUE * max((array.size for array in outputs.values()), default=0)
        return Response(200, await off_loop.call(num_bytes, write, outputs))

    def _status(self, match: re.Match) -> bytes:
        statuses = [
            {
                "version": str(status.version),
                "state": status.state,
                "status": {"error_code": status.code, "error_message": status.message},
            }
            for status in self._core.manager.statuses(_model_ref(match))
        ]
        return orjson.dumps({"model_version_status": statuses})

    def _metadata(self, match: re.Match) -> bytes:
        ref = _model_ref(match)
        with self._core.manager.lease(ref) as version:
            signatures = self._signatures.get(version.model)
            if signatures is None:
                signatures = json_format.MessageToDict(
                    signature_map(version.model.definitions),
                    including_default_value_fields=True,
                    preserving_proto_field_name=True,
                )
                self._signatures[version.model] = signatures
            spec = {"name": ref.name, "signature_name": "", "version": str(version.number)}
        # Not by orjson: defaults may hold numbers that it refuses.
        content = {"model_spec": spec, "metadata": {"signature_def": signatures}}
        return json.dumps(content).encode()

    def _ready(self) -> Response:
        ready = self._is_live() and self._core.manager.is_ready()
        return _text(200, "ready") if ready else _text(503, "not ready")

    def _metrics(self) -> Response:
        return Response(200, self._core.metrics.export(), CONTENT_TYPE)

    def _state(self) -> Response:
        return Response(200, orjson.dumps(page.state(self._core)))


def write_error(error: ServingError) -> Response:
    """Writes an error as TensorFlow Serving does.

    Args:
      error: What went wrong.
    """
    headers = b""
    if isinstance(error, OverloadedError | UnavailableError):
        headers = b"retry-after: 1\r\n"
    elif error.http_status == 401:
        headers = b"www-authenticate: Bearer\r\n"
    return Response(error.http_status, rest.write_error(str(error)), headers=headers)


def _model_ref(match: re.Match) -> ModelRef:
    """Reads the model off a path."""
    name, number, label = match[1], match[2], match[3]
    version = None if number is None else int(number)
    if version is not None and version > _MAX_VERSION:
        raise InvalidRequestError(f"Failed to convert version: {number} to numeric.")
    return ModelRef(urllib.parse.unquote(name), version, urllib.parse.unquote(label or ""))


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), b"text/plain")
