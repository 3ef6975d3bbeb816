"""Sends calls to a server over gRPC; importing this takes seconds, as TensorFlow comes with it."""

from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio
import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from models.errors import InputError
from serving import tensors
from serving.errors import (
    InvalidRequestError,
    RequestTooLargeError,
    ServingError,
    UnknownSignatureError,
    error_of_code,
)
from serving.signatures import Signature, read_signature
from serving.transports import Address

_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class GrpcTransport:
    """Keeps a channel to a gRPC server open."""

    def __init__(self, address: Address):
        """Opens no connection yet."""
        self._address = address
        self._channel = _channel(grpc, address)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._signatures: dict[tuple[str, str], Signature] = {}

    def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        """Calls a signature, whose types are asked for the first time, and when they don't fit."""
        key = (model, signature)
        options = {"timeout": timeout, "metadata": _metadata(self._address)}
        try:
            known = self._signatures.get(key)
            if known:
                try:
                    return self._call(key, inputs, options)
                except (InvalidRequestError, grpc.RpcError) as error:
                    if not _is_misfit(error):
                        raise
                    misfit = error
            answer = self._stub.GetModelMetadata(_metadata_request(model), **options)
            self._signatures[key] = _find_signature(answer, signature)
            if known and _takes_the_same(known, self._signatures[key]):
                raise misfit
            return self._call(key, inputs, options)
        except grpc.RpcError as error:
            raise _serving_error(self._address, error) from error

    def _call(
        self, key: tuple[str, str], inputs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        request = _predict_request(*key, self._signatures[key], inputs)
        return _columns(self._stub.Predict(request, **options))

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class AsyncGrpcTransport:
    """Keeps a channel to a gRPC server open, for asyncio."""

    def __init__(self, address: Address):
        """Opens no connection yet."""
        self._address = address
        self._channel = _channel(grpc.aio, address)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._signatures: dict[tuple[str, str], Signature] = {}

    async def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        """Calls a signature, whose types are asked for the first time, and when they don't fit."""
        key = (model, signature)
        options = {"timeout": timeout, "metadata": _metadata(self._address)}
        try:
            known = self._signatures.get(key)
            if known:
                try:
                    return await self._call(key, inputs, options)
                except (InvalidRequestError, grpc.RpcError) as error:
                    if not _is_misfit(error):
                        raise
                    misfit = error
            answer = await self._stub.GetModelMetadata(_metadata_request(model), **options)
            self._signatures[key] = _find_signature(answer, signature)
            if known and _takes_the_same(known, self._signatures[key]):
                raise misfit
            return await self._call(key, inputs, options)
        except grpc.RpcError as error:
            raise _serving_error(self._address, error) from error

    async def _call(
        self, key: tuple[str, str], inputs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        request = _predict_request(*key, self._signatures[key], inputs)
        return _columns(await self._stub.Predict(request, **options))

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()


def _channel(library: Any, address: Address) -> Any:
    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{address.port}"
    if address.scheme == "grpc":
        return library.insecure_channel(target, options=_OPTIONS)
    authority = None
    if address.authority:
        try:
            with open(address.authority, "rb") as file:
                authority = file.read()
        except OSError as error:
            raise InputError(
                f"Expected a PEM file of an authority in {address.authority!r}; got: {error}. "
                "Correct it."
            ) from error
    return library.secure_channel(target, grpc.ssl_channel_credentials(authority), options=_OPTIONS)


def _metadata(address: Address) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {address.api_key}"),) if address.api_key else ()


def _metadata_request(model: str) -> get_model_metadata_pb2.GetModelMetadataRequest:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    return request


def _find_signature(
    answer: get_model_metadata_pb2.GetModelMetadataResponse, name: str
) -> Signature:
    found = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(found)
    if name not in found.signature_def:
        raise UnknownSignatureError(f'Serving signature key "{name}" not found.')
    return read_signature(found.signature_def[name])


def _is_misfit(error: Exception) -> bool:
    """Tells whether inputs don't fit: another model may be served by now, with other ones."""
    return not isinstance(error, grpc.RpcError) or error.code() == grpc.StatusCode.INVALID_ARGUMENT


def _takes_the_same(one: Signature, other: Signature) -> bool:
    one_inputs, other_inputs = (
        {name: (spec.dtype, spec.shape) for name, spec in signature.inputs.items()}
        for signature in (one, other)
    )
    return one_inputs == other_inputs


def _predict_request(
    model: str, name: str, signature: Signature, inputs: Mapping[str, Any]
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = name
    for extra in inputs.keys() - signature.inputs.keys():
        raise InvalidRequestError(f"The signature {name} has no input {extra}")
    arrays = {key: signature.inputs[key].convert(values) for key, values in inputs.items()}
    tensors.write_outputs(arrays, request.inputs)
    return request


def _columns(response: predict_pb2.PredictResponse) -> dict[str, Any]:
    return {name: _plain(array) for name, array in tensors.read_inputs(response.outputs).items()}


def _plain(array: np.ndarray) -> list:
    if array.dtype != object:
        return array.tolist()
    decoded = [value.decode("utf-8", "replace") for value in array.ravel()]
    return np.array(decoded, object).reshape(array.shape).tolist()


def _serving_error(address: Address, error: grpc.RpcError) -> ServingError:
    code, details = error.code(), error.details()
    if code == grpc.StatusCode.UNAVAILABLE:
        return address.unreachable(details)
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        # gRPC itself, which has no code of its own for it: to ask again would not help.
        return RequestTooLargeError(details)
    return error_of_code(code.name)(details)
