import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from serving.batcher import Batcher
from serving.errors import DeadlineError, InvalidRequestError
from serving.loader import ServedModel


@pytest.fixture(scope="module")
def model(tiny_versions):
    return ServedModel(str(tiny_versions / "1"))


class _Held:
    """A model whose first call waits, so that what comes meanwhile is joined."""

    def __init__(self, model):
        self.name = "held"
        self.signature = model.signature
        self.started, self.go = threading.Event(), threading.Event()
        self.rows = []
        self._model = model

    def run(self, signature, given):
        self.started.set()
        assert self.go.wait(30)
        self.rows.append(max(map(len, given.values())))
        return self._model.run(signature, given)


async def _call(batcher, model, deadline_seconds=30.0, **inputs):
    given = model.signature("").convert(inputs)
    return await batcher.call(model, "serving_default", given, time.monotonic() + deadline_seconds)


async def _join(batcher, held, requests):
    """Makes calls while the first one runs; returns all answers."""
    first = asyncio.create_task(_call(batcher, held, x=[0.0]))
    await asyncio.to_thread(held.started.wait)
    others = [asyncio.create_task(_call(batcher, held, **request)) for request in requests]
    await asyncio.sleep(0.05)
    held.go.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_what_waits_is_answered_by_one_call(model):
    held = _Held(model)

    async def ask(batcher):
        return await _join(batcher, held, [{"x": [2.0]}, {"x": [4.0, 6.0]}, {"x": [8.0]}])

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        answers = asyncio.run(ask(batcher))
    assert held.rows == [1, 4]
    assert [a["y"].tolist() for a in answers] == [[[1.0]], [[2.0]], [[3.0], [4.0]], [[5.0]]]


def test_what_comes_turn_by_turn_of_the_loop_is_joined(model):
    """An idle worker isn't woken by the first of several requests that are about to be read."""
    held = _Held(model)
    held.go.set()

    async def later(batcher, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return await _call(batcher, held, x=[float(turns)])

    async def ask(batcher):
        return await asyncio.gather(*(later(batcher, turns) for turns in range(6)))

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        answers = asyncio.run(ask(batcher))
    assert held.rows == [6]
    assert [a["y"].tolist() for a in answers] == [[[n / 2 + 1]] for n in range(6)]


def test_a_steady_stream_is_not_waited_out(model):
    """Calls are released when they fill a batch, and after some turns in any case."""
    held = _Held(model)
    held.go.set()

    async def ask(batcher):
        calls = []
        for number in range(200):
            calls.append(asyncio.create_task(_call(batcher, held, x=[float(number)])))
            await asyncio.sleep(0)
            if number == 150:
                time.sleep(0.1)  # The worker's turn, not the loop's.
                assert batcher.num_waiting < 150
        return await asyncio.gather(*calls)

    with Batcher(max_batch_rows=1_000, num_workers=1) as batcher:
        answers = asyncio.run(ask(batcher))
    assert sum(held.rows) == 200
    assert len(held.rows) > 1
    assert [a["y"].tolist() for a in answers] == [[[n / 2 + 1]] for n in range(200)]


def test_batches_are_no_larger_than_told(model):
    held = _Held(model)

    async def ask(batcher):
        return await _join(batcher, held, [{"x": [float(n)]} for n in range(7)])

    with Batcher(max_batch_rows=3, num_workers=1) as batcher:
        answers = asyncio.run(ask(batcher))
    assert held.rows == [1, 3, 3, 1]
    assert [a["y"].tolist() for a in answers[1:]] == [[[n / 2 + 1]] for n in range(7)]


def test_lists_of_other_lengths_are_not_joined(model):
    held = _Held(model)
    requests = [{"x": [0.0], "k": [2]}, {"x": [0.0], "k": [3]}, {"x": [2.0, 4.0], "k": [2]}]

    async def ask(batcher):
        return await _join(batcher, held, requests)

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        answers = asyncio.run(ask(batcher))
    # One k for two rows stands for both, and may be joined with one that has its own.
    assert sorted(held.rows) == [1, 1, 3]
    assert answers[1]["y"].tolist() == [[1.0, 1.0]]
    assert answers[2]["y"].tolist() == [[1.0, 1.0, 1.0]]
    assert answers[3]["y"].tolist() == [[2.0, 2.0], [3.0, 3.0]]


def test_only_the_request_that_is_to_blame_fails(model):
    held = _Held(model)

    async def ask(batcher):
        return await _join(batcher, held, [{"x": [2.0]}, {"x": [1e6]}, {"x": [4.0]}])

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        first, second, third, fourth = asyncio.run(ask(batcher))
    assert second["y"].tolist() == [[2.0]]
    assert isinstance(third, InvalidRequestError)
    assert "x must be small" in str(third)
    assert fourth["y"].tolist() == [[3.0]]


def test_nobody_waits_beyond_the_deadline(model):
    held = _Held(model)

    async def ask(batcher):
        first = asyncio.create_task(_call(batcher, held, x=[0.0]))
        await asyncio.to_thread(held.started.wait)
        begin = time.monotonic()
        with pytest.raises(DeadlineError):
            await _call(batcher, held, deadline_seconds=0.05, x=[2.0])
        assert time.monotonic() - begin < 5.0
        held.go.set()
        await first

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        asyncio.run(ask(batcher))
    assert held.rows == [1]  # What came too late was never computed.


def test_cancelled_requests_are_not_computed(model):
    held = _Held(model)

    async def ask(batcher):
        first = asyncio.create_task(_call(batcher, held, x=[0.0]))
        await asyncio.to_thread(held.started.wait)
        second = asyncio.create_task(_call(batcher, held, x=[2.0]))
        await asyncio.sleep(0.01)
        assert batcher.num_waiting == 1
        second.cancel()
        held.go.set()
        await first
        await asyncio.gather(second, return_exceptions=True)

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        asyncio.run(ask(batcher))
        assert batcher.num_waiting == 0
    assert held.rows == [1]


def test_what_nobody_waits_for_any_more_is_forgotten_at_once(model):
    """Also while the only worker is stuck: the core admits others in place of what it refused."""
    held = _Held(model)

    async def ask(batcher):
        first = asyncio.create_task(_call(batcher, held, x=[0.0]))
        await asyncio.to_thread(held.started.wait)
        arrays = []
        for number in range(20):
            given = model.signature("").convert({"x": [float(number)], "k": [1 + number % 3]})
            arrays += map(weakref.ref, given.values())
            deadline = time.monotonic() + (60.0 if number % 4 == 0 else 0.01)
            call = asyncio.create_task(batcher.call(held, "", given, deadline))
            del given
            await asyncio.sleep(0)
            if number % 4 == 0:
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            del call
        assert batcher.num_waiting == 0
        gc.collect()
        # All but the last call's, of which this loop's own frames may still know.
        assert not [array for array in arrays[:-2] if array() is not None]
        held.go.set()
        await first

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        asyncio.run(ask(batcher))
    assert held.rows == [1]


def test_what_can_not_be_joined_takes_turns(model):
    """With two rows a batch, A A A A B B B B becomes A A, B B, A A, B B."""
    held = _Held(model)
    batches = []
    requests = [{"x": [0.0], "k": [k]} for k in (2, 2, 2, 2, 3, 3, 3, 3)]

    async def ask(batcher):
        answers = await _join(batcher, held, requests)
        return [answer["y"].shape[1] for answer in answers]

    run = held.run
    held.run = lambda signature, given: (batches.append(given), run(signature, given))[1]
    with Batcher(max_batch_rows=2, num_workers=1) as batcher:
        assert asyncio.run(ask(batcher)) == [1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [given["k"].tolist() for given in batches[1:]] == [[2, 2], [3, 3], [2, 2], [3, 3]]


def test_joined_answers_equal_single_ones(exact_model):
    """Any mix of requests to the real export gets what each would get alone."""
    rng = np.random.default_rng(3)
    requests = []
    for number in range(60):
        request = {"user_id": [f"user-{number % 45:02d}"]}
        if rng.random() < 0.5:
            request["k"] = [int(rng.integers(1, 4))]
        if rng.random() < 0.3:
            request["category"] = ["Bars"]
        if rng.random() < 0.3:
            request["exclude_seen"] = [True]
        if rng.random() < 0.3:
            request["exclude_business_id"] = [["place-0001"] * int(rng.integers(1, 3))]
        requests.append(request)
    batches = []

    async def ask(batcher):
        spec = exact_model.signature("recommend")
        deadline = time.monotonic() + 60
        calls = [
            batcher.call(exact_model, "recommend", spec.convert(request), deadline)
            for request in requests
        ]
        return await asyncio.gather(*calls)

    on_batch = lambda *args: batches.append(args[2])  # noqa: E731
    with Batcher(max_batch_rows=16, num_workers=2, on_batch=on_batch) as batcher:
        answers = asyncio.run(ask(batcher))
    assert sum(batches) == 60
    assert max(batches) > 1
    for request, answer in zip(requests, answers, strict=True):
        alone = exact_model.call("recommend", request)
        assert answer["business_id"].tolist() == alone["business_id"].tolist()
        np.testing.assert_allclose(answer["score"], alone["score"], rtol=1e-4, atol=1e-4)


def test_large_requests_are_answered_in_parts(model):
    held = _Held(model)
    held.go.set()
    x = np.arange(150, dtype=np.float32)

    async def ask(batcher):
        return await _call(batcher, held, x=x, k=[2])

    with Batcher(max_batch_rows=8, num_workers=1) as batcher:
        answer = asyncio.run(ask(batcher))
    assert held.rows == [64, 64, 22]
    np.testing.assert_array_equal(answer["y"], np.stack([x / 2 + 1] * 2, axis=1))


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": np.zeros(5_000, np.float32), "k": [10_000]},
        {"x": np.zeros(5_000, np.float32), "k": [1, 2, 3]},
    ],
)
def test_answers_beyond_memory_are_refused(model, inputs):
    with (
        Batcher(max_batch_rows=8, num_workers=1) as batcher,
        pytest.raises(InvalidRequestError, match="got 5000 rows. Split the request"),
    ):
        asyncio.run(_call(batcher, model, **inputs))
