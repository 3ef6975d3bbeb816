import concurrent.futures
import json
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest

from models.errors import InputError
from serving.client import LocalClient, connect
from serving.errors import InvalidRequestError, NotFoundError, RequestTooLargeError
from serving.server import serve
from serving.server_options import ServerOptions


@pytest.fixture
def address(exact_server):
    return exact_server.rest_address


def _open(request):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _predict(address, body, model="t2rec"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _open(urllib.request.Request(f"http://{address}/v1/models/{model}:predict", data))


def _assert_found(found, expected):
    assert found["business_id"] == [e[0] for e in expected]
    np.testing.assert_allclose(found["score"], [e[1] for e in expected], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["rating"], [e[2] for e in expected], rtol=1e-4)


def test_rows_are_answered_by_rows(address, exact_export):
    status, answer = _predict(address, {"instances": ["user-01", "nobody"]})
    assert status == 200
    for user, found in zip(["user-01", "nobody"], answer["predictions"], strict=True):
        _assert_found(found, exact_export.recommend(user))


def test_rows_may_have_their_own_filters(address, exact_export):
    excluded = [["place-0001", "place-0002", "place-0003"], []]
    rows = [
        {"user_id": user, "k": 5, "category": category, "exclude_business_id": ids}
        for user, category, ids in zip(["user-01", "user-02"], ["", "Tea"], excluded, strict=True)
    ]
    status, answer = _predict(address, {"signature_name": "recommend", "instances": rows})
    assert status == 200
    for row, found in zip(rows, answer["predictions"], strict=True):
        expected = exact_export.recommend(
            row["user_id"],
            k=5,
            category=row["category"],
            exclude_business_ids=row["exclude_business_id"],
        )
        _assert_found(found, expected)


def test_columns_are_answered_by_columns(address, exact_export):
    inputs = {"user_id": ["user-03", "user-04"], "k": [32]}
    status, answer = _predict(address, {"inputs": inputs}, model="t2rec/versions/3")
    assert status == 200
    outputs = answer["outputs"]
    for row, user in enumerate(inputs["user_id"]):
        found = {name: outputs[name][row][:30] for name in outputs}
        _assert_found(found, exact_export.recommend(user, k=30))
        # Padding: its score of -inf is no JSON.
        assert outputs["business_id"][row][30:] == ["", ""]
        assert outputs["score"][row][30:] == [None, None]


def test_rate_has_one_output(address, exact_export):
    pairs = [{"user_id": "user-09", "business_id": "place-0011"}]
    status, answer = _predict(address, {"signature_name": "rate", "instances": pairs})
    assert status == 200
    rating = exact_export.rate("user-09", "place-0011")
    np.testing.assert_allclose(answer["predictions"], [rating], rtol=1e-4)


@pytest.mark.parametrize(
    ("body", "model", "status", "message"),
    [
        (b"{", "t2rec", 400, "JSON Parse error"),
        ({"inputs": {}}, "t2rec", 400, "Missing named input: user_id in 'inputs' object."),
        ({"inputs": ["u"], "signature_name": "x"}, "t2rec", 400, 'signature name: "x" not found'),
        ({"inputs": {"user_id": ["u"], "k": [0]}}, "t2rec", 400, "k must be from 1 to 10000"),
        ({"inputs": ["u"]}, "other", 404, "Servable not found for request: Latest(other)"),
        (
            {"inputs": ["u"]},
            "t2rec/versions/4",
            404,
            "Servable not found for request: Specific(t2rec, 4)",
        ),
        ({"inputs": ["u" * 100_000]}, "t2rec", 413, "at most 100000 bytes"),
    ],
)
def test_errors_read_as_those_of_tensorflow_serving(address, body, model, status, message):
    found, answer = _predict(address, body, model)
    assert found == status
    assert message in answer["error"]


def test_status_of_the_model(address):
    version = {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    expected = (200, {"model_version_status": [version]})
    assert _open(f"http://{address}/v1/models/t2rec") == expected
    assert _open(f"http://{address}/v1/models/t2rec/versions/3") == expected
    assert _open(f"http://{address}/v1/models/x") == (
        404,
        {"error": "Could not find any versions of model x"},
    )
    assert _open(f"http://{address}/v1/models/t2rec/versions/9")[0] == 404


def test_metadata_lists_signatures(address):
    status, answer = _open(f"http://{address}/v1/models/t2rec/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "t2rec", "signature_name": "", "version": "3"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["rate"]["inputs"]["user_id"]["dtype"] == "DT_STRING"
    shape = signatures["recommend"]["outputs"]["score"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", "-1"]


def test_other_requests_are_malformed_or_not_found(address):
    found = _open(f"http://{address}/v1/models/t2rec/nothing")
    assert found == (400, {"error": "Malformed request: GET /v1/models/t2rec/nothing"})
    assert _open(f"http://{address}/v2/x") == (404, {"error": "Not found: GET /v2/x"})


def test_clients_in_and_out_of_process_agree(address, exact_export):
    local, remote = LocalClient(exact_export.path), connect(address)
    users = ["user-07", "user-08", "nobody"]
    arguments = {"k": 40, "exclude_seen": True, "exclude_business_ids": ["place-0002"]}
    for found, expected in zip(
        remote.recommend(users, **arguments), local.recommend(users, **arguments), strict=True
    ):
        assert [r.business_id for r in found] == [r.business_id for r in expected]
        # JSON holds the shortest decimals of float32, the arrays hold float32.
        assert [np.float32(r.score) for r in found] == [np.float32(r.score) for r in expected]
        assert [np.float32(r.rating) for r in found] == [np.float32(r.rating) for r in expected]
    assert remote.recommend(users, category="none such") == [[], [], []]
    ratings = local.rate(users, ["place-0001", "nowhere", "place-0003"])
    found = remote.rate(users, ["place-0001", "nowhere", "place-0003"])
    np.testing.assert_allclose(found, ratings, rtol=1e-6)
    similar = remote.similar(["place-0001"], k=3)
    assert [[s.business_id for s in row] for row in similar] == [
        [s.business_id for s in row] for row in local.similar(["place-0001"], k=3)
    ]


def test_client_raises_typed_errors(address):
    with pytest.raises(InvalidRequestError, match="k must be from 1 to 10000"):
        connect(address).recommend(["user-01"], k=0)
    with pytest.raises(NotFoundError, match=r"Latest\(other\)"):
        connect(f"http://{address}", "other").recommend(["user-01"])
    with pytest.raises(RequestTooLargeError, match="at most 100000 bytes"):
        connect(address).recommend(["u" * 30_000_000])


def test_concurrent_requests_get_their_own_answers(address, exact_export):
    users = [f"user-{number % 40:02d}" for number in range(200)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda u: connect(address).recommend([u], k=3)[0], users))
    for user, found in zip(users, answers, strict=True):
        expected = exact_export.recommend(user, k=3)
        assert [r.business_id for r in found] == [e[0] for e in expected]


def test_taken_port_and_missing_model_are_input_errors(exact_export, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"listen on 127.0.0.1:{port}; .*another --port"):
            serve(ServerOptions(models=[exact_export.path], port=port))
    with pytest.raises(InputError, match="Expected an exported model"):
        serve(ServerOptions(models=[str(tmp_path)], port=0))
    with pytest.raises(InputError, match="path that can be read; got 'nosuch://bucket/model/saved"):
        serve(ServerOptions(models=["nosuch://bucket/model"], port=0))
