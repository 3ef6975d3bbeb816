"""Answers requests, whatever they came over: the part that REST and gRPC share."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from serving import off_loop
from serving.batcher import Batcher, Outputs
from serving.errors import CancelledError, OverloadedError, ServingError
from serving.loader import DEFAULT_SIGNATURE
from serving.manager import ModelManager, ModelRef
from serving.metrics import Metrics
from serving.request_log import RequestLog
from serving.signatures import Given, Signature


class Prediction(NamedTuple):
    """An answer.

    Attributes:
      version: Number of the version that answered.
      signature: Name of the signature that was called.
      outputs: By name, arrays.
    """

    version: int
    signature: str
    outputs: Outputs


class Core:
    """Finds the model, reads the inputs, calls and counts.

    Attributes:
      manager: The models.
      metrics: What is counted.
    """

    def __init__(
        self,
        manager: ModelManager,
        batcher: Batcher,
        metrics: Metrics,
        request_log: RequestLog,
        max_pending_requests: int,
        max_pending_bytes: int,
    ):
        """Puts the parts together.

        Args:
          manager: The models.
          batcher: Calls them.
          metrics: Counts.
          request_log: Keeps a sample of the requests.
          max_pending_requests: Requests that have been read and have no answer yet, at most;
            further ones are refused. What a connection sends meanwhile has limits of its own.
          max_pending_bytes: Bytes of such requests, beyond which further ones are refused.
        """
        self.manager = manager
        self.metrics = metrics
        self._batcher = batcher
        self._request_log = request_log
        self._max_pending_requests = max_pending_requests
        self._max_pending_bytes = max_pending_bytes
        self._pending_requests = 0
        self._pending_bytes = 0
        metrics.watch(lambda: self.num_pending, lambda: batcher.num_waiting, manager)

    @property
    def num_pending(self) -> int:
        """Requests under way."""
        return self._pending_requests

    @property
    def is_full(self) -> bool:
        """Whether the next prediction would be refused."""
        return (
            self._pending_requests >= self._max_pending_requests
            or self._pending_bytes >= self._max_pending_bytes
        )

    def overload(self, reason: str = "") -> OverloadedError:
        """Counts a request that is refused, and makes the error that says so.

        Args:
          reason: What there is too much of; requests that are under way by default.
        """
        self.metrics.count_refused()
        reason = reason or f"{self._pending_requests} requests are waiting"
        return OverloadedError(f"The server is overloaded: {reason}. Send it again later.")

    async def predict(
        self,
        transport: str,
        ref: ModelRef,
        signature_name: str,
        read: Callable[[Signature], Mapping],
        num_bytes: int,
        timeout_seconds: float,
        same_types: bool = False,
    ) -> Prediction:
        """Answers a request.

        Args:
          transport: What it came over, for the metrics.
          ref: The model that is asked.
          signature_name: Name of the signature; "" stands for the default one.
          read: Reads the inputs, by name, for a signature.
          num_bytes: Size of the request.
          timeout_seconds: How long an answer is worth waiting for.
          same_types: Whether inputs must have just the types of the signature.

        Raises:
          ServingError: If it can't be answered.
        """
        begin = time.monotonic()
        code, model_name, signature = "OK", "", ""
        try:
            with self._admit(num_bytes), self.manager.lease(ref) as version:
                model = version.model
                spec = model.signature(signature_name)
                # Only names that exist become labels of metrics, as there are few of those.
                model_name, signature = ref.name, signature_name or DEFAULT_SIGNATURE

                def inputs() -> Given:
                    return spec.convert(read(spec), same_types)

                given = await off_loop.call(num_bytes, inputs)
                outputs = await self._batcher.call(model, signature, given, begin + timeout_seconds)
                prediction = Prediction(version.number, signature, outputs)
            self._request_log.offer(ref.name, prediction, given)
            return prediction
        except ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = CancelledError.code
            raise
        except Exception:
            code = ServingError.code
            raise
        finally:
            seconds = time.monotonic() - begin
            self.metrics.count_request(transport, model_name, signature, code, seconds)

    @contextlib.contextmanager
    def _admit(self, num_bytes: int) -> Iterator[None]:
        """Counts a request as under way, if it may be.

        Raises:
          OverloadedError: If too many are.
        """
        if self.is_full:
            raise self.overload()
        self._pending_requests += 1
        self._pending_bytes += num_bytes
        try:
            yield
        finally:
            self._pending_requests -= 1
            self._pending_bytes -= num_bytes
