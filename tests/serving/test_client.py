import asyncio
import contextlib
import math
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
import tensorflow as tf

from models.errors import InputError
from serving.client import (
    Client,
    Filters,
    LocalClient,
    Newcomer,
    Recommendation,
    connect,
    connect_async,
    to_frame,
)
from serving.errors import (
    DeadlineError,
    InvalidRequestError,
    OverloadedError,
    ServingError,
    UnavailableError,
)
from serving.retries import Retries
from serving.server_process import ServerProcess


@pytest.fixture(scope="module")
def client(exact_export):
    return LocalClient(exact_export.root)


def _assert_recommends(found, expected):
    assert [r.business_id for r in found] == [e[0] for e in expected]
    np.testing.assert_allclose(
        [(r.score, r.rating) for r in found], [e[1:] for e in expected], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"k": 4, "exclude_seen": True},
        {"exclude_business_ids": ["place-0001", "place-0007"]},
        {"category": "Bars", "city": "Reno", "k": 30},
    ],
)
def test_local_client_recommends_to_each_user(client, exact_export, arguments):
    users = ["user-00", "user-30", "nobody"]
    found = client.recommend(users, **arguments)
    assert len(found) == 3
    for user, row in zip(users, found, strict=True):
        _assert_recommends(row, exact_export.recommend(user, **arguments))
        assert all(isinstance(r, Recommendation) for r in row)


def test_padding_is_dropped(client):
    assert [len(row) for row in client.recommend(["user-00", "nobody"], k=50)] == [30, 30]
    assert client.recommend(["user-00"], category="no such category") == [[]]
    assert [len(row) for row in client.similar(["place-0000", "unknown"], k=50)] == [29, 30]


def test_newcomers_are_sent_with_their_stars_and_covariates(client, exact_model):
    """Against inputs written by hand: all clients make theirs with the same code."""
    newcomers = [
        Newcomer({"place-0003": 5.0, "place-0007": 1.0}, {"fans": 40}),
        Newcomer({"place-0003": 1.0}, {"useful": 2}),
    ]
    outputs = exact_model.call(
        "recommend_features",
        {
            "history_business_id": [["place-0003", "place-0007"], ["place-0003", ""]],
            "history_stars": [[5.0, 1.0], [1.0, 0.0]],
            "fans": [40, -1],
            "useful": [-1, 2],
            "k": [4],
        },
    )
    found = client.recommend_to_newcomers(newcomers, k=4)
    for row, *columns in zip(
        found, *(outputs[name] for name in ("business_id", "score", "rating")), strict=True
    ):
        _assert_recommends(row, [(i.decode(), *rest) for i, *rest in zip(*columns, strict=True)])
    # Stars, covariates and the businesses themselves all matter here.
    for other in (
        Newcomer({"place-0003": 1.0, "place-0007": 5.0}, {"fans": 40}),
        Newcomer({"place-0003": 5.0, "place-0007": 1.0}),
    ):
        assert client.recommend_to_newcomers([other], k=4) != found[:1]


def test_filters_become_inputs_by_name():
    assert Filters().inputs() == {"k": [10]}
    assert Filters(
        k=3,
        exclude_seen=True,
        exclude_business_ids=("a", "b"),
        category="Bars",
        city="Reno",
        open_at_minute=0,
        near_degrees=(39.5, -119.8),
        within_km=2.5,
        min_stars=4.0,
        retrieval_weight=0.0,
        rating_weight=0.25,
        shortlist=50,
    ).inputs() == {
        "k": [3],
        "exclude_seen": [True],
        "exclude_business_id": [["a", "b"]],
        "category": ["Bars"],
        "city": ["Reno"],
        "open_at_minute": [0],
        "latitude_degrees": [39.5],
        "longitude_degrees": [-119.8],
        "within_km": [2.5],
        "min_stars": [4.0],
        "retrieval_weight": [0.0],
        "rating_weight": [0.25],
        "shortlist": [50],
    }


def test_no_users_need_no_call(client):
    assert client.recommend([]) == []
    assert client.rate([], []) == []
    assert client.similar([]) == []


def test_rate_pairs_users_with_businesses(client, exact_export):
    pairs = [("user-00", "place-0003"), ("nobody", "place-0004")]
    found = client.rate(*zip(*pairs, strict=True))
    expected = [exact_export.rate(*pair) for pair in pairs]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(InvalidRequestError, match="got 1 users and 2 businesses"):
        client.rate(["user-00"], ["place-0003", "place-0004"])


def test_nobody_listens():
    client = connect("127.0.0.1:1")
    with pytest.raises(InputError, match=r"Expected a server at 127.0.0.1:1; .*t2rec serve"):
        client.recommend(["user-00"])


@pytest.mark.parametrize("address", ["", "ftp://host", "host:port", "http://"])
def test_address_must_be_one(address):
    with pytest.raises(InputError, match="Expected an address like localhost:8501"):
        connect(address)


def test_client_of_rest_needs_no_tensorflow():
    code = "import sys, serving.client; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_asyncio_clients_agree_with_the_model(exact_server, client, scheme):
    users = [f"user-{number:02d}" for number in range(20)]

    async def ask():
        async with connect_async(_address(exact_server, scheme)) as remote:
            lists = await asyncio.gather(*(remote.recommend([u], k=3) for u in users))
            newcomer = Newcomer({"place-0003": 5.0})
            assert await remote.recommend_to_newcomers([newcomer], k=2) == _rounded(
                client.recommend_to_newcomers([newcomer], k=2)
            )
            assert await remote.rate([], []) == []
            with pytest.raises(InvalidRequestError, match="k must be from 1"):
                await remote.similar(["place-0001"], k=0)
            return [row for (row,) in lists]

    assert asyncio.run(ask()) == _rounded(client.recommend(users, k=3))


def _address(server, scheme):
    return f"{scheme}://{server.grpc_address if scheme == 'grpc' else server.rest_address}"


def _rounded(lists):
    """A tolerant comparison: JSON has fewer digits than a float32 as a float64."""
    return [
        [
            Recommendation(r.business_id, pytest.approx(r.score), pytest.approx(r.rating))
            for r in row
        ]
        for row in lists
    ]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_any_signature_answers_by_name(exact_server, client, scheme):
    inputs = {"user_id": ["user-00", "nobody"]}
    expected = client.predict("embed_query", inputs)
    assert list(expected) == ["embedding"]
    with connect(_address(exact_server, scheme)) as asked:
        for _ in range(2):  # The second time the name is known.
            found = asked.predict("embed_query", inputs)
            assert list(found) == ["embedding"]
            np.testing.assert_allclose(found["embedding"], expected["embedding"], rtol=1e-5)

    async def ask():
        async with connect_async(_address(exact_server, scheme)) as asked:
            return await asked.predict("embed_query", inputs)

    assert list(asyncio.run(ask())) == ["embedding"]


def _build_swapped(path, dtype, extra="", outputs=("y",)):
    """Writes a SavedModel that tells the sum of its inputs, by one name or more."""
    module = tf.Module()
    names = [name for name in ("x", extra) if name]

    def total(**inputs):
        return {name: tf.cast(tf.add_n(list(inputs.values())), tf.float32) for name in outputs}

    specs = {name: tf.TensorSpec([None], dtype, name) for name in names}
    module.total = tf.function(total, autograph=False)
    signatures = {"total": module.total.get_concrete_function(**specs)}
    incoming = path.parent / f"incoming-{path.name}"
    tf.saved_model.save(module, str(incoming), signatures=signatures)
    incoming.rename(path)


def test_clients_notice_that_another_model_is_served(tmp_path):
    """Of other types, inputs and outputs, under the same name; over any transport."""
    folder = tmp_path / "swapped"
    steps = [
        ({"dtype": tf.float32}, {"x": [1]}, {"y": [1.0]}),
        ({"dtype": tf.int32}, {"x": [2]}, {"y": [2.0]}),
        ({"dtype": tf.int32, "extra": "z"}, {"x": [3], "z": [4]}, {"y": [7.0]}),
        ({"dtype": tf.int32}, {"x": [5]}, {"y": [5.0]}),
        ({"dtype": tf.int32, "outputs": ("a", "b")}, {"x": [6]}, {"a": [6.0], "b": [6.0]}),
        ({"dtype": tf.float32, "outputs": ("c",)}, {"x": [7]}, {"c": [7.0]}),
    ]
    folder.mkdir()
    _build_swapped(folder / "1", **steps[0][0])
    with (
        ServerProcess(["--model", str(folder), "--poll-seconds", "0.1"]) as server,
        contextlib.ExitStack() as stack,
    ):
        clients = [
            stack.enter_context(connect(_address(server, scheme), "swapped"))
            for scheme in ("http", "grpc")
        ]
        states = f"http://{server.rest_address}/v1/models/swapped"

        def is_served(version):
            found = httpx.get(states, trust_env=False).json()["model_version_status"]
            return [s["version"] for s in found if s["state"] == "AVAILABLE"] == [str(version)]

        async def ask_all():
            addresses = [_address(server, scheme) for scheme in ("http", "grpc")]
            async with contextlib.AsyncExitStack() as opened:
                others = [
                    await opened.enter_async_context(connect_async(address, "swapped"))
                    for address in addresses
                ]
                for version, (model, inputs, expected) in enumerate(steps, start=1):
                    if version > 1:
                        _build_swapped(folder / str(version), **model)
                    while not is_served(version):
                        await asyncio.sleep(0.05)
                    for asked in clients:
                        assert asked.predict("total", inputs) == expected
                    for asked in others:
                        assert await asked.predict("total", inputs) == expected

        asyncio.run(asyncio.wait_for(ask_all(), 120.0))
        # What is wrong stays wrong, and is told in the words of the model that is served.
        for asked in clients:
            with pytest.raises(InvalidRequestError, match="z"):
                asked.predict("total", {"x": [1.0], "z": [1.0]})


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_unknown_business_is_nowhere(exact_server, scheme):
    with connect(_address(exact_server, scheme)) as asked:
        (place,) = asked.describe(["no such place"])
    assert np.isnan([place.latitude_degrees, place.longitude_degrees]).all()


def test_only_refusals_are_asked_again():
    retries = Retries(attempts=3, first_seconds=0.001)

    class Refusing:
        calls = 0

        def predict(self, *_):
            self.calls += 1
            raise self.error

    for error, calls in (
        (OverloadedError("full"), 3),
        (UnavailableError("away"), 3),
        (DeadlineError("late"), 1),
        (InvalidRequestError("wrong"), 1),
        (ServingError("broken"), 1),
    ):
        transport = Refusing()
        transport.error = error
        with pytest.raises(type(error)):
            Client(transport, "t2rec", 5.0, retries).rate(["a"], ["b"])
        assert transport.calls == calls
    # No retry would end in time.
    late = Retries(attempts=9, first_seconds=60.0)
    begin = time.monotonic()
    transport.error = OverloadedError("full")
    with pytest.raises(OverloadedError):
        Client(transport, "t2rec", 0.5, late).rate(["a"], ["b"])
    assert time.monotonic() - begin < 5.0


def test_waits_double_and_differ():
    """Clients that were refused together come back apart, and ever later."""
    retries = Retries(attempts=5, first_seconds=1.0)
    for attempt, base in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0)):
        waits = [retries.delay(attempt, OverloadedError("full"), math.inf) for _ in range(400)]
        assert min(waits) >= 0.5 * base
        assert max(waits) <= 1.5 * base
        # Of 400 uniform draws none is in an outer tenth once in 10^18 times.
        assert min(waits) < 0.6 * base
        assert max(waits) > 1.4 * base
    assert retries.delay(5, OverloadedError("full"), math.inf) is None


def test_answers_as_a_table(client):
    users = ["user-00", "nobody"]
    frame = to_frame(users, client.recommend(users, k=3))
    assert list(frame.columns) == ["user_id", "rank", "business_id", "score", "rating"]
    assert frame["user_id"].tolist() == ["user-00"] * 3 + ["nobody"] * 3
    assert frame["rank"].tolist() == [1, 2, 3] * 2
