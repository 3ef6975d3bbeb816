"""Answers requests that wait at the same time by one call to the model.

Batching is greedy: an idle worker is given what waits, as soon as the event loop has read all that
has come and has nothing else to do. So a single client loses nothing, and batches grow by
themselves as the load does. What waits is the event loop's own; workers only see whole batches.
"""

import asyncio
import collections
import contextlib
import dataclasses
import os
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from serving.errors import DeadlineError, InvalidRequestError
from serving.loader import ServedModel
from serving.signatures import LENGTH_INPUT, Given, Signature

Outputs = dict[str, np.ndarray]

# Requests with more rows are answered by several calls; those whose inputs don't agree on their
# number by none.
_MAX_CALL_ROWS = 64
# Turns of the event loop without a further call after which there is no more to come; and how many
# turns calls wait at most. An idle turn takes a few microseconds.
_QUIET_TURNS, _MAX_TURNS = 4, 64
# The most values of one output: about what a list of 10,000 for a user a call would have.
_MAX_ANSWER_VALUES = 4_000_000


@dataclasses.dataclass(eq=False)
class _Call:
    """A request to a model that waits or runs."""

    model: ServedModel
    signature: str
    given: Given
    num_rows: int  # 0 if it can't be joined with others.
    future: "asyncio.Future[Outputs]"
    enqueued: float

    def run(self) -> Outputs:
        return self.model.run(self.signature, self.given)


class Batcher:
    """Calls models on a few threads, joining what waits for the same signature.

    Call it from one event loop only, and use it as a context manager: at the end the calls that
    run are finished.
    """

    def __init__(
        self,
        max_batch_rows: int,
        num_workers: int,
        on_batch: Callable[[str, str, int, float], None] = lambda *_: None,
    ):
        """Starts the threads.

        Args:
          max_batch_rows: The most rows of calls that are joined; 1 to join none.
          num_workers: Calls to models at the same time.
          on_batch: Gets a model's name, a signature, the rows of a call and the seconds that its
            oldest request waited.
        """
        self._max_batch_rows = max_batch_rows
        self._on_batch = on_batch
        # By what can be joined, the calls that wait. Keys take turns: the first gives a batch, and
        # goes to the end if calls are left, so that a busy one does not keep the others waiting.
        self._waiting: collections.OrderedDict[Hashable, collections.deque[_Call]]
        self._waiting = collections.OrderedDict()
        self._num_waiting = 0
        self._num_idle = num_workers
        # Whether a turn of the loop is to come that may hand out calls.
        self._gathering = False
        self._batches: queue.SimpleQueue[list[_Call]] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"batcher-{number}", daemon=True)
            for number in range(num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Batcher":
        return self

    def __exit__(self, *_) -> None:
        for _thread in self._threads:
            self._batches.put([])
        for thread in self._threads:
            thread.join()

    @property
    def num_waiting(self) -> int:
        """Requests that no worker has taken yet."""
        return self._num_waiting

    async def call(
        self, model: ServedModel, signature: str, given: Given, deadline: float
    ) -> Outputs:
        """Calls a signature.

        Args:
          model: The model; it must not be closed before this returns.
          signature: Name of a signature that there is.
          given: What `Signature.convert` returned.
          deadline: By `time.monotonic`, when the answer is not wanted any more.

        Returns:
          By name, the output arrays.

        Raises:
          DeadlineError: If there was no answer in time.
          ServingError: If the model refuses the inputs or fails.
        """
        spec = model.signature(signature)
        num_rows, given = _rows(spec, given)
        if num_rows <= _MAX_CALL_ROWS:
            return await self._enqueue(model, signature, given, num_rows, deadline)
        # What a call takes in memory grows with its rows, times the catalogue.
        parts = [
            await self._enqueue(
                model,
                signature,
                {name: array[start : start + _MAX_CALL_ROWS] for name, array in given.items()},
                min(_MAX_CALL_ROWS, num_rows - start),
                deadline,
            )
            for start in range(0, num_rows, _MAX_CALL_ROWS)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    async def _enqueue(
        self,
        model: ServedModel,
        signature: str,
        given: Given,
        num_rows: int,
        deadline: float,
    ) -> Outputs:
        """Waits for one call; it is joined with others if it has rows."""
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        if self._max_batch_rows == 1:
            num_rows = 0
        call = _Call(model, signature, given, num_rows, loop.create_future(), now)
        key: Hashable = _key(model, signature, given) if num_rows else id(call)
        self._waiting.setdefault(key, collections.deque()).append(call)
        self._num_waiting += 1
        self._gather(loop)
        timer = loop.call_later(max(0.0, deadline - now), _expire, call.future)
        try:
            return await call.future
        except (DeadlineError, asyncio.CancelledError):
            self._forget(key, call)
            raise
        finally:
            timer.cancel()

    def _forget(self, key: Hashable, call: _Call) -> None:
        """Drops a call that nobody waits for any more, unless a worker has taken it.

        While all workers are stuck others are admitted in its place, and their inputs would add up.
        """
        calls = self._waiting.get(key, collections.deque())
        if call in calls:
            calls.remove(call)
            self._num_waiting -= 1
            if not calls:
                del self._waiting[key]

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hands out what waits, once no more comes, if a worker is idle."""
        if self._num_waiting and self._num_idle and not self._gathering:
            self._gathering = True
            loop.call_soon(self._hand_out, loop, 0, _MAX_TURNS)

    def _hand_out(
        self, loop: asyncio.AbstractEventLoop, num_seen: int, turns: int, quiet: int = 0
    ) -> None:
        """Gives idle workers what waits, once some turns of the loop brought nothing more.

        A worker that took the first of many calls would leave the others to the next batch, and
        a small batch costs nearly what a full one does.
        """
        num_waiting = self._num_waiting
        quiet = quiet + 1 if num_waiting == num_seen else 0
        if num_waiting < self._max_batch_rows and turns and quiet < _QUIET_TURNS:
            if quiet:
                # gRPC reads in a thread of its own, which may wait for this core.
                os.sched_yield()
            loop.call_soon(self._hand_out, loop, num_waiting, turns - 1, quiet)
            return
        self._gathering = False
        while self._num_idle and (batch := self._take()):
            self._num_idle -= 1
            self._batches.put(batch)

    def _take(self) -> list[_Call]:
        """Takes calls that can be joined; none if none wait."""
        taken: list[_Call] = []
        num_rows = 0
        while self._waiting and not taken:
            key, calls = self._waiting.popitem(last=False)
            while calls and (not taken or num_rows + calls[0].num_rows <= self._max_batch_rows):
                call = calls.popleft()
                self._num_waiting -= 1
                # Of the others nobody waits for the answer, but that has not been noticed yet.
                if not call.future.done():
                    taken.append(call)
                    num_rows += call.num_rows
            if calls:
                self._waiting[key] = calls
        if taken:
            first = taken[0]
            waited = time.monotonic() - first.enqueued
            self._on_batch(first.model.name, first.signature, max(1, num_rows), waited)
        return taken

    def _work(self) -> None:
        while batch := self._batches.get():
            results = self._answer(batch) if len(batch) > 1 else [_attempt(batch[0].run)]
            loop = batch[0].future.get_loop()
            # One wake-up of the event loop for all of them; none is left at the end of a server.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._finish, loop, batch, results)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Call],
        results: Sequence[Outputs | Exception],
    ) -> None:
        self._num_idle += 1
        for call, result in zip(batch, results, strict=True):
            if call.future.done():
                continue
            if isinstance(result, Exception):
                call.future.set_exception(result)
            else:
                call.future.set_result(result)
        self._gather(loop)

    def _answer(self, batch: list[_Call]) -> list[Outputs | Exception]:
        """Answers calls by one; if that fails, each by one of its own, for one may be to blame."""
        first = batch[0]
        given = {name: np.concatenate([call.given[name] for call in batch]) for name in first.given}
        total = sum(call.num_rows for call in batch)
        outputs = _attempt(lambda: first.model.run(first.signature, given))
        if isinstance(outputs, Exception) or any(len(a) != total for a in outputs.values()):
            return [_attempt(call.run) for call in batch]
        results: list[Outputs | Exception] = []
        start = 0
        for call in batch:
            end = start + call.num_rows
            results.append({name: array[start:end] for name, array in outputs.items()})
            start = end
        return results


def _rows(spec: Signature, given: Given) -> tuple[int, Given]:
    """Finds the rows of a call that may be joined with others.

    Returns:
      The number of rows, and the inputs with one for each in those of which one row stands for all;
      or 0 and the inputs as they are, if the call must be made alone.

    Raises:
      InvalidRequestError: If the answer would be too large.
    """
    if not spec.has_rows:
        return 0, given
    num_rows = max(map(len, given.values()), default=0)
    fits = all(
        len(array) == num_rows or (len(array) == 1 and spec.inputs[name].one_row_for_all)
        for name, array in given.items()
    )
    if num_rows * _length(spec, given) > _MAX_ANSWER_VALUES or (
        not fits and num_rows > _MAX_CALL_ROWS
    ):
        raise InvalidRequestError(
            f"Expected inputs of as many rows as each other, with rows times {LENGTH_INPUT} at "
            f"most {_MAX_ANSWER_VALUES}; got {num_rows} rows. Split the request."
        )
    if not num_rows or not fits:
        return 0, given
    return num_rows, {
        name: array if len(array) == num_rows else np.repeat(array, num_rows, 0)
        for name, array in given.items()
    }


def _length(spec: Signature, given: Given) -> int:
    """Returns how long a list of the answer may be."""
    wanted = given.get(LENGTH_INPUT)
    if wanted is None:
        return spec.default_length
    return max(1, int(wanted.max(initial=1)))


def _key(model: ServedModel, signature: str, given: Given) -> Hashable:
    """Says what calls must have in common to be joined.

    The length of lists, too, so that an answer doesn't depend on who else asked.
    """
    shapes = tuple(
        (name, array.shape[1:], int(array.max()) if name == LENGTH_INPUT else 0)
        for name, array in given.items()
    )
    return id(model), signature, shapes


def _attempt(run: Callable[[], Outputs]) -> Outputs | Exception:
    try:
        return run()
    except Exception as error:
        return error


def _expire(future: "asyncio.Future[Outputs]") -> None:
    if not future.done():
        future.set_exception(DeadlineError("Deadline exceeded"))
