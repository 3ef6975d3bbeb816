"""TensorFlow Serving's gRPC services on the core, with health and reflection."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving import health, tensors
from serving.access import Access
from serving.core import Core
from serving.errors import (
    InvalidRequestError,
    ServingError,
    UnavailableError,
    UnimplementedError,
)
from serving.manager import ModelRef
from serving.signatures import signature_map

TRANSPORT = "grpc"
_SIGNATURE_DEF = "signature_def"
# Requests beside predictions that find room under any load.
_OTHER_REQUESTS = 16
_DRAIN_POLL_SECONDS = 0.05
_SERVICES = (
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
)
_LOGGER = logging.getLogger("t2rec")
_GRPC_LOGGER = logging.getLogger("grpc._cython.cygrpc")

_Answer = Callable[[Any, float, int], Awaitable[Message]]


def _is_news(record: logging.LogRecord) -> bool:
    """Tells whether something is wrong, not only a client gone while its answer was sent.

    gRPC logs the latter with a traceback. A deadline may end on both sides at the same time.
    """
    error = record.exc_info[0] if record.exc_info else None
    return error is None or error.__name__ != "ExecuteBatchError"


class GrpcApi:
    """Answers PredictionService and ModelService.

    Attributes:
      health: Says whether requests should come here; not until it is told so.
    """

    def __init__(
        self,
        core: Core,
        access: Access,
        timeout_seconds: float,
        max_pending_requests: int,
        reload: Callable[[Any], Awaitable[None]],
        is_live: Callable[[], bool],
    ):
        """Puts the core behind the services.

        Args:
          core: Answers.
          access: Says who may ask.
          timeout_seconds: How long a prediction may take whose client sets no deadline.
          max_pending_requests: Predictions under way that the core takes.
          reload: Serves what a `ModelServerConfig` says.
          is_live: Whether the server takes new requests, as it does until it is told to stop.
        """
        self._core = core
        self._access = access
        self._timeout_seconds = timeout_seconds
        self._max_open = max_pending_requests + _OTHER_REQUESTS
        self._num_open = 0
        self._reload = reload
        self._is_live = is_live
        self.health = health.Health(("", *(service.full_name for service in _SERVICES)))
        self._methods: dict[str, tuple[type[Message], _Answer]] = {
            "Predict": (predict_pb2.PredictRequest, self._predict),
            "GetModelMetadata": (
                get_model_metadata_pb2.GetModelMetadataRequest,
                self._get_model_metadata,
            ),
            "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, self._get_model_status),
            "HandleReloadConfigRequest": (
                model_management_pb2.ReloadConfigRequest,
                self._reload_config,
            ),
        }

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers all services.

        Args:
          server: A server that was not started yet.
        """
        _GRPC_LOGGER.addFilter(_is_news)
        for service in _SERVICES:
            handlers = {
                # Bytes in and bytes out: gRPC would call what it can't parse our own failure. As a
                # stream, the same to clients, of which the one message is read when we ask for it.
                method.name: grpc.stream_unary_rpc_method_handler(self._handler(method.name))
                for method in service.methods
            }
            server.add_generic_rpc_handlers((
                grpc.method_handlers_generic_handler(service.full_name, handlers),
            ))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        names = [service.full_name for service in _SERVICES]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )

    async def stop(self, server: grpc.aio.Server, grace_seconds: float) -> None:
        """Stops a server once the requests under way are answered, whoever watches its health.

        Args:
          server: The server.
          grace_seconds: How long to wait for the answers.
        """
        stopped = asyncio.ensure_future(server.stop(grace_seconds))
        while not stopped.done():
            # Before the first look: what has just come is not counted yet.
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
            if not self._num_open:
                break
        await server.stop(None)
        await stopped

    def _count(self, context: grpc.aio.ServicerContext) -> None:
        """Counts a request as open until its answer is sent, if it may be.

        Not by gRPC's own limit, which open streams, as of who watches the server's health, use up.

        Raises:
          OverloadedError: If too many are.
        """
        if self._num_open >= self._max_open:
            raise self._core.overload()
        self._num_open += 1
        context.add_done_callback(self._uncount)

    def _uncount(self, _: grpc.aio.ServicerContext) -> None:
        self._num_open -= 1

    def _handler(self, name: str) -> Callable[[Any, Any], Awaitable[bytes]]:
        request_type, answer = self._methods.get(name, (None, None))

        async def handle(_: Any, context: grpc.aio.ServicerContext) -> bytes:
            try:
                if error := self._access.check_metadata(context.invocation_metadata() or ()):
                    raise error
                self._count(context)
                if not self._is_live():
                    raise UnavailableError("The server is stopping. Ask another one.")
                if request_type is None or answer is None:
                    raise UnimplementedError(
                        f"{name} takes tf.Examples, which no signature here does. Use Predict."
                    )
                data = await context.read()
                request = request_type()
                try:
                    request.ParseFromString(data)
                except (DecodeError, TypeError) as error:  # The latter if nothing came.
                    raise InvalidRequestError(
                        f"Failed to parse {request_type.DESCRIPTOR.full_name}"
                    ) from error
                seconds = context.time_remaining()
                timeout = self._timeout_seconds if seconds is None else seconds
                return (await answer(request, timeout, len(data))).SerializeToString()
            except ServingError as error:
                code, message = error.code, str(error)
            except Exception:
                _LOGGER.exception("%s failed", name)
                code, message = "INTERNAL", "Internal error; see the log of the server"
            context.set_code(grpc.StatusCode[code])
            context.set_details(message)
            return b""

        return handle

    async def _predict(
        self, request: predict_pb2.PredictRequest, timeout: float, num_bytes: int
    ) -> predict_pb2.PredictResponse:
        spec = request.model_spec
        prediction = await self._core.predict(
            TRANSPORT,
            _model_ref(spec),
            spec.signature_name,
            lambda _: tensors.read_inputs(request.inputs),
            num_bytes,
            timeout,
            same_types=True,
        )
        outputs = prediction.outputs
        if request.output_filter:
            _check_filter(request.output_filter, outputs)
            outputs = {name: outputs[name] for name in request.output_filter}
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = prediction.version
        response.model_spec.signature_name = prediction.signature
        tensors.write_outputs(outputs, response.outputs)
        return response

    async def _get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, *_
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if not request.HasField("model_spec"):
            raise InvalidRequestError("Missing ModelSpec")
        if not request.metadata_field:
            raise InvalidRequestError(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                raise InvalidRequestError(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._core.manager.lease(_model_ref(request.model_spec)) as version:
            response.model_spec.name = version.name
            response.model_spec.version.value = version.number
            definitions = version.model.definitions
        response.metadata[_SIGNATURE_DEF].Pack(signature_map(definitions))
        return response

    async def _get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, *_
    ) -> get_model_status_pb2.GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise InvalidRequestError("Missing ModelSpec")
        response = get_model_status_pb2.GetModelStatusResponse()
        states = get_model_status_pb2.ModelVersionStatus.State
        for status in self._core.manager.statuses(_model_ref(request.model_spec)):
            added = response.model_version_status.add()
            added.version = status.version
            added.state = states.Value(status.state)
            added.status.error_code = error_codes_pb2.Code.Value(status.code)
            added.status.error_message = status.message
        return response

    async def _reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, *_
    ) -> model_management_pb2.ReloadConfigResponse:
        response = model_management_pb2.ReloadConfigResponse()
        try:
            await self._reload(request.config)
        except ServingError as error:
            response.status.error_code = error_codes_pb2.Code.Value(error.code)
            response.status.error_message = str(error)
        return response


def _model_ref(spec: ModelSpec) -> ModelRef:
    """Reads which model is meant.

    Raises:
      InvalidRequestError: If none is named.
    """
    if not spec.name:
        raise InvalidRequestError("ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    return ModelRef(spec.name, version, spec.version_label)


def _check_filter(names: Any, outputs: Any) -> None:
    """Checks which outputs are asked for.

    Raises:
      InvalidRequestError: If one is not there or is named twice.
    """
    for name in names:
        if name not in outputs:
            raise InvalidRequestError(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {{{','.join(sorted(outputs))}}}."
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InvalidRequestError(f"duplicate output tensor alias: {twice}")


def credentials(
    certificate: bytes, key: bytes, client_authority: bytes | None
) -> grpc.ServerCredentials:
    """Makes the credentials of a server that speaks TLS.

    Args:
      certificate: PEM of the server's certificate chain.
      key: PEM of its private key.
      client_authority: PEM of the authority whose certificates clients must show; None for any
        client.
    """
    return grpc.ssl_server_credentials(
        [(key, certificate)], client_authority, require_client_auth=client_authority is not None
    )


def make_server(max_message_bytes: int) -> grpc.aio.Server:
    """Makes a gRPC server for the running event loop.

    Args:
      max_message_bytes: Largest request.
    """
    return grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # A second server on the same port would take half of the requests unnoticed.
            ("grpc.so_reuseport", 0),
        ],
    )
