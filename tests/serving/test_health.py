"""The health service over a real socket."""

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.health import Health

SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)
SECONDS = 30.0


def _run(check, max_watchers=2):
    """Serves the health of "" and "a", and checks it with a stub."""

    async def run():
        server = grpc.aio.server()
        health = Health(("", "a"), max_watchers)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(check(health, health_pb2_grpc.HealthStub(channel)), SECONDS)
        await server.stop(None)

    asyncio.run(run())


def _request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


async def _next(watch):
    return (await watch.read()).status


def test_who_asks_is_told():
    async def check(health, stub):
        assert (await stub.Check(_request())).status == NOT_SERVING
        health.report(serving=True)
        for service in ("", "a"):
            assert (await stub.Check(_request(service))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Check(_request("b"))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND

    _run(check)


def test_watchers_are_told_of_changes_also_after_another_has_gone():
    async def check(health, stub):
        first, second = stub.Watch(_request()), stub.Watch(_request())
        assert [await _next(first), await _next(second)] == [NOT_SERVING] * 2
        first.cancel()
        await asyncio.sleep(0.2)
        health.report(serving=True)
        assert await _next(second) == SERVING
        health.report(serving=False)
        assert await _next(second) == NOT_SERVING

    _run(check)


def test_who_watches_what_is_not_there_learns_that():
    async def check(health, stub):
        watch = stub.Watch(_request("b"))
        assert await _next(watch) == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

    _run(check)


def test_watchers_beyond_the_limit_are_refused_until_one_goes():
    async def check(health, stub):
        first, second = stub.Watch(_request()), stub.Watch(_request("b"))
        await _next(first)
        await _next(second)
        with pytest.raises(grpc.aio.AioRpcError, match="at most 2 watchers") as error:
            await _next(stub.Watch(_request()))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.Check(_request())).status == NOT_SERVING
        first.cancel()
        await asyncio.sleep(0.2)
        assert await _next(stub.Watch(_request())) == NOT_SERVING

    _run(check)
