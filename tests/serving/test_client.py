import subprocess
import sys

import numpy as np
import pytest

from models.errors import InputError
from serving.client import LocalClient, Recommendation, connect
from serving.errors import InvalidRequestError


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
