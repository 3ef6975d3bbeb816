"""What clients that are slow, broken or hostile get; over raw sockets to a real server."""

import gzip
import json
import socket
import time
import zlib

import pytest

BODY = b'{"instances": ["user-01"]}'
DEEP = b"[" * 1_000 + b"]" * 1_000
PREDICT = b"POST /v1/models/t2rec:predict HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def connect(exact_server):
    host, port = exact_server.rest_address.split(":")
    opened = []

    def connect():
        connection = socket.create_connection((host, int(port)), timeout=30)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def _read(connection):
    """Reads one response: its status, headers and body; None if there is none."""
    stream = connection.makefile("rb")
    line = stream.readline()
    if not line:
        return None
    headers = {}
    while (header := stream.readline().strip()) != b"":
        name, _, value = header.partition(b": ")
        headers[name.decode().lower()] = value.decode()
    status = int(line.split()[1])
    length = 0 if status == 100 else int(headers["content-length"])
    return status, headers, stream.read(length)


def _post(body, *headers):
    lines = b"".join(header + b"\r\n" for header in headers)
    return PREDICT + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _ask(connection, request):
    connection.sendall(request)
    return _read(connection)


def test_connection_is_kept_and_requests_may_be_pipelined(connect):
    connection = connect()
    connection.sendall(_post(BODY) * 3)
    stream = connection.makefile("rb")
    statuses = []
    for _ in range(3):
        statuses.append(int(stream.readline().split()[1]))
        length = 0
        while (header := stream.readline().strip()) != b"":
            if header.startswith(b"content-length"):
                length = int(header.split()[1])
        stream.read(length)
    assert statuses == [200, 200, 200]


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (_post(b"{"), 400, "JSON Parse error"),
        (_post(b""), 400, "The document is empty"),
        (_post(b"\xff\xfe"), 400, "JSON Parse error"),
        (_post(b"[" * 90_000), 400, "JSON Parse error"),
        (_post(DEEP), 400, "Is not object"),
        (
            _post(b'{"instances": [{"user_id": %s}]}' % DEEP),
            400,
            "'user_id' to have shape [-1] but [",
        ),
        (_post(b'{"inputs": {"user_id": %s}}' % DEEP), 400, "'user_id' to have shape [-1] but ["),
        (_post(b'{"inputs": {"user_id": ["u"], "k": %s}}' % DEEP), 400, "'k' is not a tensor"),
        (_post(b'{"instances": []}'), 400, "No values in 'instances' array"),
        (_post(b'{"instances": [{"b64": "?"}]}'), 400, "Unable to base64 decode"),
        (_post(b'{"instances": [{"user_id": "u", "k": NaN}]}'), 400, "'k' to be int32"),
        (_post(b'{"instances": [{"user_id": "u", "k": 1e999}]}'), 400, ""),
        (_post(b'{"instances": [{"user_id": ["u", ["v"]]}]}'), 400, "user_id"),
        (_post(b'{"inputs": {"user_id": [1, "u"]}}'), 400, "to be string but int is provided"),
        (_post(BODY + b" " * 100_000), 413, "at most 100000 bytes"),
        (_post(b"x" * 300_000), 413, "at most 100000 bytes"),
        # Without the time in it: all workers must see the same tests.
        (
            _post(gzip.compress(b" " * 50_000_000, mtime=0), b"Content-Encoding: gzip"),
            413,
            "at most 100000",
        ),
        (_post(BODY, b"Content-Encoding: gzip"), 400, "Unable to decompress"),
        (
            _post(gzip.compress(BODY, mtime=0)[:-9], b"Content-Encoding: gzip"),
            400,
            "ends too early",
        ),
        (
            _post(gzip.compress(BODY, mtime=0) + b"\0" * 50_000, b"Content-Encoding: gzip"),
            400,
            "more follows its end",
        ),
        (_post(gzip.compress(BODY, mtime=0) * 2, b"Content-Encoding: gzip"), 400, "more follows"),
        (_post(BODY, b"Content-Encoding: br"), 400, "Expected the Content-Encoding gzip"),
        (b"DELETE /v1/models/t2rec HTTP/1.1\r\n\r\n", 400, "Malformed request: DELETE /v1/"),
        (b"GET /v1/models/t2rec:predict HTTP/1.1\r\n\r\n", 400, "Malformed request: GET"),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400, "Malformed request: GET /v1/models"),
        (b"GET /v1/models/%2e%2e%2fetc HTTP/1.1\r\n\r\n", 404, "any versions of model ../etc"),
        (b"GET /v1/models/../../etc/passwd HTTP/1.1\r\n\r\n", 400, "Malformed request"),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404, "Not found: GET /../etc/passwd"),
        (b"GET /v1/models/t2rec/labels/..%2f HTTP/1.1\r\n\r\n", 400, "version label: ../"),
        (b"GET /v1/models/t2rec/versions/99 HTTP/1.1\r\n\r\n", 404, "Could not find version 99"),
        (
            b"GET /v1/models/t2rec/versions/99999999999999999999 HTTP/1.1\r\n\r\n",
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (_post(BODY).replace(b":predict", b":classify"), 501, "Classify takes tf.Examples"),
        (b"NONSENSE\r\n\r\n", 400, "Malformed request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "Malformed request"),  # TLS.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "Malformed request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 15_000 + b"\r\n\r\n", 200, ""),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000 + b"\r\n\r\n", 400, "Headers of more than 16384"),
        (
            b"GET / HTTP/1.1\r\n%s\r\n" % b"".join(b"X%d: y\r\n" % i for i in range(3_000)),
            400,
            "Headers of more than 16384 bytes",
        ),
        (b"GET /" + b"x" * 30_000 + b" HTTP/1.1\r\n\r\n", 400, "Headers of more than 16384 bytes"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 3_000_000, 400, "Headers of more than 16384 bytes"),
    ],
)
def test_answers_to_bad_requests(connect, request_, status, message):
    found, headers, body = _ask(connect(), request_)
    assert found == status
    if status != 200:
        assert headers["content-type"] == "application/json"
        assert message in json.loads(body)["error"]


def test_ids_that_are_not_utf8_get_the_cold_answer(connect):
    status, _, body = _ask(connect(), _post(b'{"instances": [{"b64": "//4="}, "nobody"]}'))
    assert status == 200
    first, second = json.loads(body)["predictions"]
    assert first == second


@pytest.mark.parametrize(
    ("compress", "encoding"), [(gzip.compress, b"gzip"), (zlib.compress, b"deflate")]
)
def test_compressed_bodies_are_understood(connect, compress, encoding):
    plain = _ask(connect(), _post(BODY))
    assert _ask(connect(), _post(compress(BODY), b"Content-Encoding: " + encoding))[2] == plain[2]


def test_chunks_and_expectations(connect):
    plain = _ask(connect(), _post(BODY))[2]
    connection = connect()
    head = PREDICT + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    assert _ask(connection, head)[0] == 100
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert _ask(connection, chunks)[2] == plain


def test_head_has_no_body(connect):
    connection = connect()
    connection.sendall(b"HEAD /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n")
    time.sleep(0.3)
    answer = connection.recv(10_000)
    assert answer.count(b"200 OK") == 2
    assert answer.count(b"ok") == 1


def test_refused_bodies_leave_the_connection_usable(connect):
    connection = connect()
    assert _ask(connection, _post(BODY, b"Content-Encoding: br"))[0] == 400
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (200_000, b"x" * 200_000)
    assert _ask(connection, PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)[0] == 413
    assert _ask(connection, _post(BODY))[0] == 200


def test_bodies_that_are_announced_as_too_large_are_refused_at_once(connect):
    connection = connect()
    status, headers, _ = _ask(connection, _post(b"")[:-5] + b"100001\r\n\r\n")
    assert (status, headers["connection"]) == (413, "close")


def test_half_closed_connection_still_gets_its_answer(connect):
    connection = connect()
    connection.sendall(_post(BODY))
    connection.shutdown(socket.SHUT_WR)
    status, headers, _ = _read(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.recv(1) == b""


def test_half_a_request_before_a_half_close_ends_the_connection(connect):
    connection = connect()
    connection.sendall(_post(BODY)[:-5])
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""


@pytest.mark.parametrize("sent", [PREDICT, _post(BODY)[:-5]])
def test_who_dawdles_is_cut_off(connect, sent):
    """The server of these tests gives a request two seconds to arrive, in however many parts."""
    begin = time.monotonic()  # Before the server's clock.
    connection = connect()
    connection.sendall(sent[:-3])
    num_parts = 0
    with pytest.raises((ConnectionError, TimeoutError)):
        for byte in b"abc" * 40:
            num_parts += 1
            time.sleep(0.2)
            connection.sendall(b"X: %c\r\n" % byte if sent is PREDICT else b"")
            connection.settimeout(0.01)
            try:
                if connection.recv(1) == b"":
                    raise ConnectionError
            except TimeoutError:
                continue
    assert time.monotonic() - begin > 1.9
    # By parts, eight seconds of them, for this process may be held up itself.
    assert num_parts < 40


def test_others_are_answered_meanwhile(connect):
    for _ in range(50):
        connect().sendall(PREDICT)
    begin = time.monotonic()
    assert _ask(connect(), _post(BODY))[0] == 200
    assert time.monotonic() - begin < 5.0
