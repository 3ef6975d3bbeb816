"""Sends calls to a server, over REST or gRPC, and gets columns back.

TensorFlow is only imported for gRPC, whose messages are made of TensorFlow's.
"""

import dataclasses
import os
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any, Protocol

import httpx

from models.errors import InputError
from serving.errors import (
    DeadlineError,
    ServingError,
    UnavailableError,
    error_of_status,
)

API_KEY_VARIABLE = "T2REC_API_KEY"


@dataclasses.dataclass(frozen=True)
class Address:
    """Says where a server is and how to speak to it.

    Attributes:
      given: What the user wrote.
      scheme: `http`, `https`, `grpc` or `grpcs`.
      host: Its host.
      port: Its port.
      path: What comes before `/v1`, behind a gateway.
      authority: PEM file of the authority of its certificate; "" for those of the system.
      api_key: Key to send; "" for none.
    """

    given: str
    scheme: str
    host: str
    port: int
    path: str
    authority: str
    api_key: str

    @classmethod
    def parse(cls, address: str, authority: str = "", api_key: str = "") -> "Address":
        """Reads an address.

        Args:
          address: `host:port` for REST, or a URL with `http`, `https`, `grpc` or `grpcs`.
          authority: PEM file of the authority of the server's certificate.
          api_key: Key to send; that of the environment's `T2REC_API_KEY` by default.

        Raises:
          InputError: If it is not one.
        """
        url = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        ports = {"http": 80, "https": 443, "grpc": 8500, "grpcs": 8500}
        try:
            host, port = url.hostname, url.port or ports.get(url.scheme)
        except ValueError:
            host = port = None
        if not host or not port:
            raise InputError(
                "Expected an address like localhost:8501, http://host:8501 or grpc://host:8500; "
                f"got {address!r}. Correct it."
            )
        key = api_key or os.environ.get(API_KEY_VARIABLE, "")
        return cls(address, url.scheme, host, port, url.path.rstrip("/"), authority, key)

    @property
    def is_grpc(self) -> bool:
        """Whether it speaks gRPC."""
        return self.scheme.startswith("grpc")

    def unreachable(self, reason: object) -> UnavailableError:
        """Makes the error that says that nobody answers there.

        Args:
          reason: What happened.
        """
        return UnavailableError(
            f"Expected a server at {self.given}; got {reason}. Start one with "
            "`t2rec serve --model DIR`, or correct the address."
        )


class Transport(Protocol):
    """Sends one call and waits for its answer."""

    def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        """Calls a signature with columns; raises ServingError."""

    def close(self) -> None:
        """Closes connections."""


class RestTransport:
    """Keeps connections to a REST server open."""

    def __init__(self, address: Address):
        """Opens no connection yet."""
        self._address = address
        self._client = httpx.Client(**_http_options(address))
        self._outputs: dict[tuple[str, str], tuple[str, ...]] = {}

    def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        """Calls a signature, whose outputs are asked for the first time, and when they differ."""
        asked = {"signature_name": signature, "inputs": inputs}
        key = (model, signature)
        try:
            # Before the call: a server that stops answers what it took, and nothing after that.
            if key not in self._outputs:
                self._outputs[key] = self._ask(key, timeout)
            path = _path(model, ":predict")
            response = self._client.post(path, json=asked, timeout=timeout)
            outputs = _read(self._address, response)["outputs"]
            if _are_several(outputs) == (len(self._outputs[key]) == 1):
                # Another model is served by now.
                self._outputs[key] = self._ask(key, timeout)
            return _columns(outputs, self._outputs[key])
        except (httpx.HTTPError, OSError) as error:
            raise _http_error(self._address, error) from error

    def _ask(self, key: tuple[str, str], timeout: float) -> tuple[str, ...]:
        model, signature = key
        response = self._client.get(_path(model, "/metadata"), timeout=timeout)
        return _find_outputs(_read(self._address, response), signature)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class AsyncRestTransport:
    """Keeps connections to a REST server open, for asyncio."""

    def __init__(self, address: Address):
        """Opens no connection yet."""
        self._address = address
        self._client = httpx.AsyncClient(**_http_options(address))
        self._outputs: dict[tuple[str, str], tuple[str, ...]] = {}

    async def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        """Calls a signature, whose outputs are asked for the first time, and when they differ."""
        asked = {"signature_name": signature, "inputs": inputs}
        key = (model, signature)
        try:
            # Before the call: a server that stops answers what it took, and nothing after that.
            if key not in self._outputs:
                self._outputs[key] = await self._ask(key, timeout)
            path = _path(model, ":predict")
            response = await self._client.post(path, json=asked, timeout=timeout)
            outputs = _read(self._address, response)["outputs"]
            if _are_several(outputs) == (len(self._outputs[key]) == 1):
                # Another model is served by now.
                self._outputs[key] = await self._ask(key, timeout)
            return _columns(outputs, self._outputs[key])
        except (httpx.HTTPError, OSError) as error:
            raise _http_error(self._address, error) from error

    async def _ask(self, key: tuple[str, str], timeout: float) -> tuple[str, ...]:
        model, signature = key
        response = await self._client.get(_path(model, "/metadata"), timeout=timeout)
        return _find_outputs(_read(self._address, response), signature)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _http_options(address: Address) -> dict[str, Any]:
    host = f"[{address.host}]" if ":" in address.host else address.host
    verify: ssl.SSLContext | bool = True
    if address.authority:
        try:
            verify = ssl.create_default_context(cafile=address.authority)
        except OSError as error:
            raise InputError(
                f"Expected a PEM file of an authority in {address.authority!r}; got: {error}. "
                "Correct it."
            ) from error
    headers = {"Authorization": f"Bearer {address.api_key}"} if address.api_key else {}
    return {
        "base_url": f"{address.scheme}://{host}:{address.port}{address.path}",
        "headers": headers,
        "verify": verify,
        "trust_env": False,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=64),
    }


def _path(model: str, what: str) -> str:
    return f"/v1/models/{urllib.parse.quote(model, safe='')}{what}"


def _http_error(address: Address, error: Exception) -> ServingError:
    if isinstance(error, httpx.TimeoutException):
        return DeadlineError(f"{address.given} did not answer in time")
    return address.unreachable(error or type(error).__name__)


def _read(address: Address, response: httpx.Response) -> Mapping[str, Any]:
    """Returns the answer to a call, or raises what it says is wrong."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if response.status_code == httpx.codes.OK and answer.keys() & {"outputs", "metadata"}:
        return answer
    message = f"{address.given} answered with HTTP status {response.status_code}"
    raise error_of_status(response.status_code)(str(answer.get("error", message)))


def _find_outputs(answer: Mapping[str, Any], signature: str) -> tuple[str, ...]:
    """Finds in the metadata what a signature's outputs are called; nothing if there is none."""
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    return tuple(signatures.get(signature, {}).get("outputs", ()))


def _are_several(outputs: Any) -> bool:
    """Tells whether there are several outputs, each by its name.

    A single one may be an object, too, but only with the one key `b64`.
    """
    return isinstance(outputs, dict) and len(outputs) > 1


def _columns(outputs: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    """Gives a single output its name, which an answer by columns leaves out."""
    return {names[0]: outputs} if len(names) == 1 else outputs
