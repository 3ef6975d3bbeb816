"""Sends a server what no client should send, and looks for answers that no server should give."""

import collections
import dataclasses
import gzip
import http.client
import json
import random
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import predict_pb2

_TIMEOUT = 60
# What a client's mistake may be answered with.
GOOD_CODES = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}
# Of the five hundreds only "not implemented", for paths that the protocol has and models don't.
_NOT_IMPLEMENTED = 501
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE")
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308, 0.5, float("nan"), float("inf"),
    "", "\0", "é", "\ud800", "x" * 5_000, [], [[]], [None], [[], ["a"]], {}, {"b64": "//4="},
    {"b64": "?"}, {"b64": 3}, {"b64": "YQ==", "x": 1}, [["a", ["b"]]], "../../etc/passwd",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Finding:
    """Says what a fuzzing run saw.

    Attributes:
      sent: Inputs sent.
      answers: How often each status or code was answered.
      problems: Inputs that were answered as they should not be, and how; the first few.
    """

    sent: int
    answers: dict[str, int]
    problems: list[str]


def fuzz_rest(address: str, model: str, count: int, seed: int) -> Finding:
    """Sends malformed and odd requests over REST.

    Args:
      address: `host:port`.
      model: Name of a model with t2rec's signatures.
      count: Requests.
      seed: Of the random choices.
    """
    rng = random.Random(seed)
    connection: http.client.HTTPConnection | None = None

    def send() -> tuple[str, str]:
        nonlocal connection
        method, path, headers, body = rest_request(rng, model)
        connection = connection or http.client.HTTPConnection(address, timeout=_TIMEOUT)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            connection = None
            # The client library itself refuses some paths.
            expected = isinstance(error, http.client.InvalidURL | ValueError)
            return ("not sent" if expected else "no answer"), f"{method} {path} {body[:200]!r}"
        status = response.status
        json_needed = method != "HEAD" and status != 200
        if status >= 500 and status != _NOT_IMPLEMENTED:
            return f"bad {status}", f"{method} {path} {body[:300]!r}: {content[:300]!r}"
        if json_needed and "error" not in json.loads(content):
            return "no reason", f"{method} {path}: {content[:300]!r}"
        return str(status), ""

    return _run(send, count)


def fuzz_grpc(address: str, model: str, count: int, seed: int) -> Finding:
    """Sends mutated messages over gRPC.

    Args:
      address: `host:port`.
      model: Name of a model with t2rec's signatures.
      count: Requests.
      seed: Of the random choices.
    """
    rng = random.Random(seed)
    with grpc.insecure_channel(address) as channel:
        methods = [
            channel.unary_unary(f"/tensorflow.serving.{name}")
            for name in (
                "PredictionService/Predict",
                "PredictionService/Predict",
                "PredictionService/Predict",
                "PredictionService/GetModelMetadata",
                "PredictionService/Classify",
                "ModelService/GetModelStatus",
            )
        ]

        def send() -> tuple[str, str]:
            message = grpc_message(rng, model)
            try:
                rng.choice(methods)(message, timeout=_TIMEOUT)
            except grpc.RpcError as error:
                code = error.code().name
                if code not in GOOD_CODES:
                    return f"bad {code}", f"{message[:200]!r}: {error.details()}"
                return code, ""
            return "OK", ""

        return _run(send, count)


def _run(send: Callable[[], tuple[str, str]], count: int) -> Finding:
    answers: collections.Counter[str] = collections.Counter()
    problems = []
    for _ in range(count):
        answer, problem = send()
        answers[answer] += 1
        if problem and answer != "not sent":
            problems.append(f"{answer}: {problem}")
            if len(problems) == 10:
                break
    return Finding(sum(answers.values()), dict(answers), problems)


def rest_request(rng: random.Random, model: str) -> tuple[str, str, dict[str, str], bytes]:
    """Makes one request.

    Returns:
      Method, path, headers and body.
    """
    path, headers = f"/v1/models/{model}:predict", {"Content-Type": "application/json"}
    request = _seed_request(rng)
    for _ in range(rng.randint(0, 3)):
        request = _mutate_json(rng, request)
    body = json.dumps(request, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
    method, kind = "POST", rng.random()
    if kind < 0.2:
        body = _mutate_bytes(rng, body)
    elif kind < 0.4:
        method, path = rng.choice(_METHODS), _odd_path(rng, model)
    elif kind < 0.5:
        packed = gzip.compress(body)
        body = _mutate_bytes(rng, packed) if rng.random() < 0.7 else packed
        headers["Content-Encoding"] = rng.choice(["gzip", "deflate", "br", "GZIP", ""])
    return method, path, headers, body


def grpc_message(rng: random.Random, model: str) -> bytes:
    """Makes one message: a request with odd parts, or bytes that were one."""
    request = predict_pb2.PredictRequest()
    spec = request.model_spec
    spec.name = rng.choice([model, model, model, "", "../x", "é"])
    spec.signature_name = rng.choice([
        "",
        "recommend",
        "rate",
        "similar",
        "recommend_features",
        "x",
        "__saved_model_init_op",
    ])
    if rng.random() < 0.2:
        spec.version.value = rng.choice([0, -1, 1, 3, 2**62])
    for name in rng.sample(_INPUTS, rng.randint(0, 4)):
        tensor = request.inputs[name]
        tensor.dtype = rng.choice([7, 7, 7, 1, 3, 9, 10, 0, 2, 22, 99])
        for size in rng.choice([[1], [1], [2], [1, 1], [], [0], [-1], [2**40], [1] * 300]):
            tensor.tensor_shape.dim.add().size = size
        tensor.tensor_shape.unknown_rank = rng.random() < 0.05
        for _ in range(rng.randint(0, 2)):
            tensor.string_val.append(rng.choice([b"user-01", b"", b"\xff\xfe", b"x" * 3_000]))
            tensor.int_val.append(rng.choice([0, 1, 5, -1, 2**31 - 1]))
            tensor.float_val.append(rng.choice([0.0, 5.0, float("nan"), float("inf")]))
            tensor.int64_val.append(rng.choice([0, 1, 2**62]))
            tensor.bool_val.append(rng.random() < 0.5)
        if rng.random() < 0.2:
            tensor.tensor_content = rng.randbytes(rng.choice([1, 4, 8, 9]))
    if rng.random() < 0.1:
        request.output_filter.append(rng.choice(["rating", "score", "x", ""]))
    message = request.SerializeToString()
    return _mutate_bytes(rng, message) if rng.random() < 0.5 else message


_INPUTS = [
    "user_id", "k", "business_id", "exclude_seen", "exclude_business_id", "category", "city",
    "history_business_id", "history_stars", "fans", "x", "",
]  # fmt: skip


def _seed_request(rng: random.Random) -> dict[str, Any]:
    row = {"user_id": "user-01", "k": 3, "category": "Tea", "exclude_seen": True}
    return rng.choice([
        {"instances": ["user-01", "nobody"]},
        {"signature_name": "recommend", "instances": [dict(row), dict(row)]},
        {"inputs": {"user_id": ["user-01"], "k": [2], "exclude_business_id": [["place-0001"]]}},
        {"signature_name": "rate", "inputs": {"user_id": ["a", "b"], "business_id": ["c", "d"]}},
        {
            "signature_name": "recommend_features",
            "inputs": {"history_business_id": [["place-0001"]], "history_stars": [[5.0]]},
        },
        {"signature_name": "similar", "instances": [{"business_id": "place-0003", "k": 2}]},
    ])


def _mutate_json(rng: random.Random, value: Any) -> Any:
    """Changes one place of a JSON value, anywhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(list(value))
        changed = dict(value)
        kind = rng.random()
        if kind < 0.1:
            del changed[name]
        elif kind < 0.2:
            changed[rng.choice(["x", "", "b64", "k", "inputs", "signature_name"])] = rng.choice(
                _ODD
            )
        else:
            changed[name] = _mutate_json(rng, value[name])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        changed_list = list(value)
        kind = rng.random()
        if kind < 0.15:
            del changed_list[place]
        elif kind < 0.3:
            changed_list *= rng.choice([2, 10])
        else:
            changed_list[place] = _mutate_json(rng, value[place])
        return changed_list
    return rng.choice(_ODD)


def _mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flips, drops, repeats or inserts some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0 and place < len(changed):
            changed[place] = rng.randrange(256)
        elif kind == 1:
            del changed[place : place + rng.randint(1, 8)]
        elif kind == 2:
            changed[place:place] = changed[place : place + rng.randint(1, 40)]
        else:
            changed[place:place] = rng.randbytes(rng.randint(1, 8))
    return bytes(changed)


def _odd_path(rng: random.Random, model: str) -> str:
    parts = ["/v1", "/models", f"/{model}", "/versions", "/3", "/labels", "/x", ":predict", "/..",
             "/%2e%2e", "/metadata", "/", "//", ":regress", "/99999999999999999999", "%00", "%ff",
             "?x=1", "#", "/metrics", "/state", "/healthz", "*", ";"]  # fmt: skip
    chosen = [rng.choice(parts) for _ in range(rng.randint(1, 6))]
    start = rng.choice(["", f"/v1/models/{model}", "/v1/models"])
    return (start + "".join(chosen)) or "/"
