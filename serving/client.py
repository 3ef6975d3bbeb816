"""Asks a model for recommendations, ratings and similar places: at a server, or in this process.

`connect` and `connect_async` make a client for an address, over REST or gRPC. TensorFlow is
imported for gRPC and for `LocalClient` only.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from serving import questions
from serving.errors import ServingError
from serving.questions import (
    Filters,
    Newcomer,
    Place,
    Question,
    Recommendation,
    SimilarBusiness,
)
from serving.retries import Retries
from serving.transports import Address, AsyncRestTransport, RestTransport, Transport

__all__ = [
    "AsyncClient",
    "Client",
    "Filters",
    "LocalClient",
    "Newcomer",
    "Place",
    "Recommendation",
    "SimilarBusiness",
    "connect",
    "connect_async",
    "to_frame",
]

MODEL_NAME = "t2rec"
_TIMEOUT_SECONDS = 60.0
_Answer = TypeVar("_Answer")


def connect(
    address: str,
    model_name: str = MODEL_NAME,
    timeout_seconds: float = _TIMEOUT_SECONDS,
    retries: Retries | None = None,
    authority: str = "",
    api_key: str = "",
) -> "Client":
    """Makes a client of a server; nothing is sent yet.

    Args:
      address: `host:port` for REST, or a URL with `http`, `https`, `grpc` or `grpcs`.
      model_name: Name of the model on the server.
      timeout_seconds: How long to wait for an answer, retries included.
      retries: When to ask again.
      authority: PEM file of the authority of the server's certificate; those of the system by
        default.
      api_key: Key to send; that of the environment's `T2REC_API_KEY` by default.

    Raises:
      InputError: If the address is not one.
    """
    parsed = Address.parse(address, authority, api_key)
    transport: Transport
    if parsed.is_grpc:
        from serving.grpc_transports import GrpcTransport

        transport = GrpcTransport(parsed)
    else:
        transport = RestTransport(parsed)
    return Client(transport, model_name, timeout_seconds, retries or Retries())


def connect_async(
    address: str,
    model_name: str = MODEL_NAME,
    timeout_seconds: float = _TIMEOUT_SECONDS,
    retries: Retries | None = None,
    authority: str = "",
    api_key: str = "",
) -> "AsyncClient":
    """Makes a client of a server for asyncio; see `connect`."""
    parsed = Address.parse(address, authority, api_key)
    transport: Any
    if parsed.is_grpc:
        from serving.grpc_transports import AsyncGrpcTransport

        transport = AsyncGrpcTransport(parsed)
    else:
        transport = AsyncRestTransport(parsed)
    return AsyncClient(transport, model_name, timeout_seconds, retries or Retries())


class Client:
    """Asks and waits for the answer. May be used as a context manager."""

    def __init__(
        self, transport: Transport, model_name: str, timeout_seconds: float, retries: Retries
    ):
        """Remembers where to ask; see `connect`."""
        self._transport = transport
        self._model_name = model_name
        self._timeout_seconds = timeout_seconds
        self._retries = retries

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections."""
        self._transport.close()

    def recommend(self, user_ids: Sequence[str], **filters: Any) -> list[list[Recommendation]]:
        """Recommends businesses to users.

        Args:
          user_ids: Users; one who is unknown gets a newcomer's answer.
          **filters: The attributes of `Filters`.

        Returns:
          A list for each user, best first.

        Raises:
          ServingError: If the model can't be reached or refuses the request.
        """
        return self._ask(questions.recommend(user_ids, Filters(**filters)))

    def recommend_to_newcomers(
        self, newcomers: Sequence[Newcomer], **filters: Any
    ) -> list[list[Recommendation]]:
        """Recommends businesses to people whom the model was not trained on.

        Args:
          newcomers: What is known of them.
          **filters: The attributes of `Filters`.

        Returns:
          A list for each, best first.

        Raises:
          ServingError: If the model can't be reached or refuses the request.
        """
        return self._ask(questions.recommend_to_newcomers(newcomers, Filters(**filters)))

    def rate(self, user_ids: Sequence[str], business_ids: Sequence[str]) -> list[float]:
        """Predicts the stars of pairs.

        Args:
          user_ids: Users.
          business_ids: As many businesses.

        Returns:
          The stars, from 1 to 5, that user r would give business r.

        Raises:
          ServingError: If there are not as many businesses as users, or the model can't be
            reached.
        """
        return self._ask(questions.rate(user_ids, business_ids))

    def similar(self, business_ids: Sequence[str], k: int = 10) -> list[list[SimilarBusiness]]:
        """Lists businesses that draw the same people.

        Args:
          business_ids: Businesses.
          k: The most neighbours of each.

        Returns:
          A list for each business, most alike first, without itself.

        Raises:
          ServingError: If the model can't be reached or refuses the request.
        """
        return self._ask(questions.similar(business_ids, k))

    def describe(self, business_ids: Sequence[str]) -> list[Place]:
        """Tells names and locations.

        Args:
          business_ids: Businesses.

        Returns:
          What is known of each.

        Raises:
          ServingError: If the model can't be reached or refuses the request.
        """
        return self._ask(questions.describe(business_ids))

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Calls any signature.

        Args:
          signature: Its name.
          inputs: By name, columns as nested lists.

        Returns:
          By name, columns as nested lists.

        Raises:
          ServingError: If the model can't be reached or refuses the request.
        """
        deadline = time.monotonic() + self._timeout_seconds
        attempt = 0
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                return self._transport.predict(self._model_name, signature, inputs, left)
            except ServingError as error:
                attempt += 1
                delay = self._retries.delay(attempt, error, deadline)
                if delay is None:
                    raise
            time.sleep(delay)

    def _ask(self, question: Question[_Answer]) -> _Answer:
        if not question.num_rows:
            return []  # type: ignore[return-value]
        return question.read(self.predict(question.signature, question.inputs))


class AsyncClient:
    """Asks as `Client` does, for asyncio. May be used as an asynchronous context manager."""

    def __init__(self, transport: Any, model_name: str, timeout_seconds: float, retries: Retries):
        """Remembers where to ask; see `connect_async`."""
        self._transport = transport
        self._model_name = model_name
        self._timeout_seconds = timeout_seconds
        self._retries = retries

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes connections."""
        await self._transport.close()

    async def recommend(
        self, user_ids: Sequence[str], **filters: Any
    ) -> list[list[Recommendation]]:
        """Recommends businesses to users; see `Client.recommend`."""
        return await self._ask(questions.recommend(user_ids, Filters(**filters)))

    async def recommend_to_newcomers(
        self, newcomers: Sequence[Newcomer], **filters: Any
    ) -> list[list[Recommendation]]:
        """Recommends businesses to new people; see `Client.recommend_to_newcomers`."""
        return await self._ask(questions.recommend_to_newcomers(newcomers, Filters(**filters)))

    async def rate(self, user_ids: Sequence[str], business_ids: Sequence[str]) -> list[float]:
        """Predicts the stars of pairs; see `Client.rate`."""
        return await self._ask(questions.rate(user_ids, business_ids))

    async def similar(
        self, business_ids: Sequence[str], k: int = 10
    ) -> list[list[SimilarBusiness]]:
        """Lists businesses that draw the same people; see `Client.similar`."""
        return await self._ask(questions.similar(business_ids, k))

    async def describe(self, business_ids: Sequence[str]) -> list[Place]:
        """Tells names and locations; see `Client.describe`."""
        return await self._ask(questions.describe(business_ids))

    async def predict(self, signature: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Calls any signature; see `Client.predict`."""
        deadline = time.monotonic() + self._timeout_seconds
        attempt = 0
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                return await self._transport.predict(self._model_name, signature, inputs, left)
            except ServingError as error:
                attempt += 1
                delay = self._retries.delay(attempt, error, deadline)
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    async def _ask(self, question: Question[_Answer]) -> _Answer:
        if not question.num_rows:
            return []  # type: ignore[return-value]
        return question.read(await self.predict(question.signature, question.inputs))


class LocalClient(Client):
    """Asks an export directly, without a server."""

    def __init__(self, model_path: str):
        """Loads the model; takes seconds.

        Args:
          model_path: As `serving.model_folders.find_version` takes it.

        Raises:
          InputError: If there is no model.
        """
        from serving.loader import load_model

        self.model = load_model(model_path)
        super().__init__(_InProcess(self.model), "", _TIMEOUT_SECONDS, Retries())


class _InProcess:
    """Calls a model in this process."""

    def __init__(self, model: Any):
        self._model = model

    def predict(
        self, model: str, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        import numpy as np

        outputs = self._model.call(signature, inputs)
        return {
            name: np.char.decode(values.astype(bytes), "utf-8").tolist()
            if values.dtype == object
            else values.tolist()
            for name, values in outputs.items()
        }

    def close(self) -> None:
        self._model.close()


def to_frame(user_ids: Sequence[str], lists: Sequence[Sequence[Recommendation]]) -> Any:
    """Makes a pandas table of recommendations.

    Args:
      user_ids: The users who were asked for.
      lists: Their recommendations.

    Returns:
      A DataFrame with `user_id`, `rank` (from 1), `business_id`, `score` and `rating`.
    """
    import pandas as pd

    return pd.DataFrame(
        [
            (user, rank, found.business_id, found.score, found.rating)
            for user, row in zip(user_ids, lists, strict=True)
            for rank, found in enumerate(row, 1)
        ],
        columns=["user_id", "rank", "business_id", "score", "rating"],
    )
