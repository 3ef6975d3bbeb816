"""gRPC's health service, for a limited number of watchers."""

import asyncio

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# Each is a stream that stays open: some kilobytes, and no time until something changes.
_MAX_WATCHERS = 1_024

_Answer = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Says of some services whether they serve, all the same.

    Not grpc_health's own, which takes any number of watchers, and once one of a service has gone
    tells the others nothing any more.
    """

    def __init__(self, services: tuple[str, ...], max_watchers: int = _MAX_WATCHERS):
        """Says that they don't serve yet.

        Args:
          services: Their names; "" stands for the whole server.
          max_watchers: The most streams that are told of changes at a time.
        """
        self._services = services
        self._max_watchers = max_watchers
        self._num_watchers = 0
        self._status = _Answer.NOT_SERVING
        self._changed = asyncio.Event()

    def report(self, serving: bool) -> None:
        """Tells the watchers, and who asks from now on.

        Args:
          serving: Whether requests should come here.
        """
        self._status = _Answer.SERVING if serving else _Answer.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Answers how a service is."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return _Answer(status=self._status)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> None:
        """Sends how a service is, now and after each change."""
        if self._num_watchers >= self._max_watchers:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"Expected at most {self._max_watchers} watchers of the health; got one more. "
                "Ask by Check.",
            )
        self._num_watchers += 1
        told = None
        try:
            while True:
                # Taken before the status is looked at, so that no change is missed meanwhile.
                changed = self._changed
                known = request.service in self._services
                status = self._status if known else _Answer.SERVICE_UNKNOWN
                if status != told:
                    await context.write(_Answer(status=status))
                    told = status
                await changed.wait()
        finally:
            self._num_watchers -= 1
