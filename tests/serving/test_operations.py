"""Keys, TLS, logs, overload, shutdown: servers of a tiny model, each started for the purpose."""

import concurrent.futures
import contextlib
import datetime
import http.client
import ipaddress
import json
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

import serving
from models.errors import InputError
from serving.client import connect
from serving.errors import OverloadedError, UnauthenticatedError, UnavailableError
from serving.retries import Retries
from serving.server import serve
from serving.server_options import ServerOptions
from serving.server_process import ServerProcess
from tests.harnesses.waiting import wait_until

ONCE = Retries(attempts=1)


def _get(address, path, context=None):
    scheme = "https" if context else "http"
    handlers = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(f"{scheme}://{address}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _until_the_end(stream):
    """The messages of a stream that the server ends by going away."""
    with contextlib.suppress(grpc.RpcError):
        yield from stream


def _authority():
    """Makes a certificate authority; returns a function that signs, and its own PEM."""
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    authority_key = ec.generate_private_key(ec.SECP256R1())

    def certify(subject, key, ca):
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return (
            x509
            .CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(authority_key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def sign(path, common_name):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        path.with_suffix(".pem").write_bytes(certify(subject, key, ca=False))
        path.with_suffix(".key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    return sign, certify(name, authority_key, ca=True)


class TestGuardedServer:
    """One server with a key, mutual TLS, a log of requests and JSON for its own log."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("guarded")
        sign, authority = _authority()
        (folder / "authority.pem").write_bytes(authority)
        for name in ("server", "client"):
            sign(folder / name, name)
        (folder / "keys").write_text("# for tests\nsecret\n\nother\n")
        return folder

    @pytest.fixture(scope="class")
    def server(self, folder, tiny_versions):
        options = {
            "model": tiny_versions,
            "api-keys": folder / "keys",
            "tls-certificate": folder / "server.pem",
            "tls-key": folder / "server.key",
            "tls-client-authority": folder / "authority.pem",
            "request-log": folder / "requests" / "log",
            "request-log-rate": 1.0,
            "log-format": "json",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with ServerProcess(arguments) as server:
            yield server

    @pytest.fixture
    def context(self, folder):
        context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        return context

    def _channel(self, server, folder, with_certificate=True):
        names = ("client.key", "client.pem") if with_certificate else ()
        credentials = grpc.ssl_channel_credentials(
            (folder / "authority.pem").read_bytes(), *[(folder / n).read_bytes() for n in names]
        )
        return grpc.secure_channel(server.grpc_address, credentials)

    def _predict(self, channel, **options):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "tiny"
        request.inputs["x"].dtype = 1
        request.inputs["x"].tensor_shape.dim.add(size=1)
        request.inputs["x"].float_val.append(4.0)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=30, **options).outputs["y"].float_val[:]

    def test_rest_needs_a_key(self, server, context):
        status, body = _get(server.rest_address, "/v1/models/tiny", context)
        assert status == 401
        assert "Authorization: Bearer KEY" in body
        assert _get(server.rest_address, "/metrics", context)[0] == 401
        for path in ("/healthz", "/readyz", "/"):
            assert _get(server.rest_address, path, context)[0] == 200

    @pytest.mark.parametrize("header", [("Authorization", "Bearer secret"), ("X-API-Key", "other")])
    def test_any_key_opens_rest(self, server, context, header):
        request = urllib.request.Request(f"https://{server.rest_address}/v1/models/tiny")
        request.add_header(*header)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=30) as response:
            assert response.status == 200

    @pytest.mark.parametrize("key", ["", "Secret", "secret2", "# for tests", "é"])
    def test_other_keys_do_not(self, server, context, key):
        request = urllib.request.Request(f"https://{server.rest_address}/v1/models/tiny")
        request.add_header("X-API-Key", key.encode("latin-1").decode("latin-1"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            opener.open(request, timeout=30)

    def test_clients_without_a_certificate_are_turned_away(self, server, folder):
        context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
        with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
            _get(server.rest_address, "/healthz", context)
        with (
            self._channel(server, folder, with_certificate=False) as channel,
            pytest.raises(grpc.RpcError),
        ):
            self._predict(channel, metadata=(("authorization", "Bearer secret"),))

    def test_grpc_needs_a_key_too(self, server, folder):
        with self._channel(server, folder) as channel:
            with pytest.raises(grpc.RpcError) as error:
                self._predict(channel)
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert self._predict(channel, metadata=(("authorization", "Bearer secret"),)) == [4.0]
            assert self._predict(channel, metadata=(("x-api-key", "other"),)) == [4.0]

    def test_probe_that_the_docs_tell_passes(self, server, folder):
        text = (pathlib.Path(serving.__file__).parent / "deploy" / "README.md").read_text()
        blocks = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
        (command,) = [block["exec"]["command"] for block in blocks if "exec" in block]
        assert command[:2] == ["python", "-c"]

        def probe(address):
            program = command[2].replace("127.0.0.1:8501", address)
            program = program.replace("/tls/", f"{folder}/")
            return subprocess.run([sys.executable, "-c", program], check=False, timeout=60)

        assert probe(server.rest_address).returncode == 0
        assert probe("127.0.0.1:1").returncode != 0

    def test_requests_are_logged_and_the_log_is_json(self, server, folder):
        import tensorflow as tf

        with self._channel(server, folder) as channel:
            self._predict(channel, metadata=(("x-api-key", "other"),))
        assert server.stop() == 0
        files = sorted((folder / "requests").glob("log-tiny-*.tfrecord"))
        records = [r for file in files for r in tf.compat.v1.io.tf_record_iterator(str(file))]
        log = prediction_log_pb2.PredictionLog.FromString(records[-1])
        assert log.predict_log.request.inputs["x"].float_val[:] == [4.0]
        assert "k" not in log.predict_log.request.inputs  # It was left out.
        assert log.predict_log.response.outputs["y"].float_val[:] == [4.0]
        assert log.predict_log.response.model_spec.version.value == 2
        assert log.log_metadata.sampling_config.sampling_rate == 1.0
        lines = [json.loads(line) for line in server.log().splitlines()]
        assert any(line["message"].startswith("Ready: REST at https://") for line in lines)
        assert lines[-1]["message"] == "Stopped serving"
        assert all(line.keys() >= {"time", "level", "message"} for line in lines)


class TestLoad:
    """One server that takes two requests at a time, of a model that can be slow."""

    @pytest.fixture(scope="class")
    def server(self, tiny_versions):
        arguments = ["--model", str(tiny_versions), "--max-pending-requests", "2"]
        with ServerProcess([*arguments, "--timeout-seconds", "60"]) as server:
            yield server

    @pytest.mark.parametrize("scheme", ["http", "grpc"])
    def test_what_is_too_much_is_refused_at_once(self, server, scheme):
        address = server.rest_address if scheme == "http" else server.grpc_address

        def count(steps):
            with connect(f"{scheme}://{address}", "tiny", retries=ONCE) as client:
                begin = time.monotonic()
                try:
                    return client.predict("count", {"steps": [steps]}), 0.0
                except OverloadedError as error:
                    assert "requests are waiting" in str(error) or "limit" in str(error)
                    return None, time.monotonic() - begin

        steps = 200_000
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(count, [steps] * 8))
        served = [answer for answer, _ in answers if answer]
        assert 2 <= len(served) < 8
        # Health answers under any load, and afterwards everything is as before.
        assert _get(server.rest_address, "/healthz") == (200, "ok")
        assert count(3)[0]
        _, metrics = _get(server.rest_address, "/metrics")
        refused = [line for line in metrics.splitlines() if line.startswith("t2rec_refused")]
        assert float(refused[0].split()[1]) >= 8 - len(served)

    def test_clients_ask_again_what_was_refused(self, server):
        patient = Retries(attempts=30, first_seconds=0.2)

        def count(_):
            with connect(server.rest_address, "tiny", retries=patient) as client:
                return client.predict("count", {"steps": [30_000]})

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert len(list(pool.map(count, range(4)))) == 4

    def test_deadlines_are_kept(self, server):
        with connect(f"grpc://{server.grpc_address}", "tiny", retries=ONCE) as client:
            client.predict("count", {"steps": [1]})
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "tiny"
        request.model_spec.signature_name = "count"
        request.inputs["steps"].dtype = 3
        request.inputs["steps"].tensor_shape.dim.add(size=1)
        request.inputs["steps"].int_val.append(400_000)
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            begin = time.monotonic()
            stub.Predict(request, timeout=60)
            whole = time.monotonic() - begin
            begin = time.monotonic()
            with pytest.raises(grpc.RpcError) as error:
                stub.Predict(request, timeout=0.2)
            assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            # On a machine that is busy everything takes longer, the whole answer most of all.
            assert time.monotonic() - begin < max(2.0, whole)

    def test_metrics_tell_versions_latency_and_batches(self, server):
        with connect(server.rest_address, "tiny") as client:
            client.predict("serving_default", {"x": [1.0, 2.0]})
        _, metrics = _get(server.rest_address, "/monitoring/prometheus/metrics")
        for line in (
            't2rec_model_version{model="tiny",state="AVAILABLE",version="2"} 1.0',
            't2rec_request_seconds_bucket{le="10.0",model="tiny",signature="serving_default"',
            't2rec_batch_rows_bucket{le="2.0",model="tiny",signature="serving_default"} ',
            "process_resident_memory_bytes ",
            "t2rec_queue_requests 0.0",
        ):
            assert line in metrics

    def test_unknown_names_do_not_become_metrics(self, server):
        with connect(server.rest_address, "no such model", retries=ONCE) as client:
            # What all unknown names share is there from the first of them on.
            with pytest.raises(InputError):
                client.predict("z", {})
            before = _get(server.rest_address, "/metrics")[1].count("\n")
            for name in ("a", "b", "c"):
                with pytest.raises(InputError):
                    client.predict(name, {})
        after = _get(server.rest_address, "/metrics")[1]
        assert "no such model" not in after
        assert after.count("\n") - before <= 2

    def test_who_watches_the_health_takes_no_room(self, server):
        with grpc.insecure_channel(server.grpc_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watching = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(40)]
            for watch in watching:
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            with connect(f"grpc://{server.grpc_address}", "tiny", retries=ONCE) as client:
                assert client.predict("count", {"steps": [1]})

    def test_requests_that_never_end_take_room_until_they_are_cancelled(self, server):
        """So memory is bounded: what is sent of them is read, and never counted by the core."""
        with grpc.insecure_channel(server.grpc_address) as channel:
            predict = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
            over = threading.Event()

            def nothing():
                over.wait(60)
                yield from ()

            calls = [predict.future(nothing(), timeout=60) for _ in range(30)]
            wait_until(lambda: sum(call.done() for call in calls) >= 30 - 18)
            refused = [call.code().name for call in calls if call.done()]
            assert refused == ["RESOURCE_EXHAUSTED"] * (30 - 18)  # The limit is 2 + 16.
            for call in calls:
                call.cancel()
            over.set()
        patient = Retries(attempts=30, first_seconds=0.2)
        with connect(f"grpc://{server.grpc_address}", "tiny", retries=patient) as client:
            assert client.predict("count", {"steps": [1]})

    def test_stop_answers_what_was_accepted(self, server):
        """The last test of the class: it ends the server."""
        health = health_pb2_grpc.HealthStub(grpc.insecure_channel(server.grpc_address))
        request = health_pb2.HealthCheckRequest()
        watch = health.Watch(request)
        assert health.Check(request, timeout=30).status == health_pb2.HealthCheckResponse.SERVING
        with connect(server.rest_address, "tiny", retries=ONCE) as client:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                slow = pool.submit(client.predict, "count", {"steps": [300_000]})
                pending = "\nt2rec_pending_requests 1.0"
                wait_until(lambda: pending in _get(server.rest_address, "/metrics")[1])
                stopped = pool.submit(server.stop)
                assert slow.result()["counted"] == [300_000]
                answered = time.monotonic()
                assert stopped.result() == 0
                # Of 15 seconds of grace: the watch, which is still open, is not waited for.
                assert time.monotonic() - answered < 10.0
            statuses = [answer.status for answer in _until_the_end(watch)]
            assert statuses[-1] == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(UnavailableError, match="Start one with `t2rec serve"):
                client.predict("count", {"steps": [1]})
        assert "Traceback" not in server.log()


def test_large_requests_that_dawdle_leave_room_for_others(tiny_versions):
    """They are refused beyond the bytes that may be under way, while small ones are answered."""
    arguments = ["--model", str(tiny_versions), "--max-pending-bytes", "100000"]
    path = "/v1/models/tiny:predict"
    body = json.dumps({"inputs": {"x": [1.0] * 50_000}})
    with ServerProcess(arguments) as server, contextlib.ExitStack() as stack:
        slow, large, small = (
            stack.enter_context(
                contextlib.closing(http.client.HTTPConnection(server.rest_address, timeout=30))
            )
            for _ in range(3)
        )
        slow.putrequest("POST", path)
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders(body[:150_000].encode())
        while True:
            large.request("POST", path, body)
            answer = large.getresponse()
            told = answer.read().decode()
            if answer.status == 503:
                break
            time.sleep(0.05)  # What the other one sent was not read yet.
        assert "bytes of large requests are under way. Send it again later." in told
        assert answer.getheader("retry-after") == "1"
        small.request("POST", path, json.dumps({"inputs": {"x": [1.0]}}))
        assert small.getresponse().status == 200
        slow.send(body[150_000:].encode())
        assert slow.getresponse().status == 200
        assert "t2rec_refused_requests_total 1.0" in _get(server.rest_address, "/metrics")[1]


def test_configuration_is_followed_and_can_be_sent(tiny, add_version, tmp_path):
    file = tmp_path / "models.config"
    model = f'config {{ name: "one" base_path: "{tiny}" }}'
    file.write_text(f"model_config_list {{ {model} }}")
    options = [f"--model-config-file={file}", "--model-config-poll-seconds=1"]
    with ServerProcess(options) as server:
        two = model.replace("one", "two")
        file.write_text(f"model_config_list {{ {model} {two} }}")
        wait_until(lambda: _get(server.rest_address, "/v1/models/two")[0] == 200)
        file.write_text("nonsense")
        wait_until(lambda: "Serving goes on as before" in server.log())
        add_version(7)
        reload = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(
            f"model_config_list {{ {model.replace('one', 'three')} "
            f'config {{ name: "one" base_path: "{tiny}" model_version_policy {{ all {{}} }} '
            'version_labels { key: "stable" value: 1 } } }',
            reload.config,
        )
        with grpc.insecure_channel(server.grpc_address) as channel:
            service = model_service_pb2_grpc.ModelServiceStub(channel)
            answer = service.HandleReloadConfigRequest(reload, timeout=60)
            assert answer.status.error_code == 0, answer.status.error_message
            reload.config.model_config_list.config[0].base_path = str(tmp_path / "missing")
            reload.config.model_config_list.config[0].name = "four"
            answer = service.HandleReloadConfigRequest(reload, timeout=60)
            assert "did not become available: {{name: four}}" in answer.status.error_message
        stable = _get(server.rest_address, "/v1/models/one/labels/stable")
        assert json.loads(stable[1])["model_version_status"][0]["version"] == "1"
        assert _get(server.rest_address, "/v1/models/two")[0] == 404


def test_metrics_of_requests_and_batches_have_the_name_that_is_served(tiny):
    with ServerProcess([f"--model={tiny}", "--model-name=other"]) as server:
        with connect(server.rest_address, "other") as client:
            client.predict("serving_default", {"x": [1.0]})
        _, metrics = _get(server.rest_address, "/metrics")
    for name in ("t2rec_batch_rows", "t2rec_queue_seconds", "t2rec_request_seconds"):
        assert re.search(rf'^{name}_count{{model="other",', metrics, re.MULTILINE)
    assert "tiny" not in metrics


def test_models_that_can_not_answer_are_metrics(tiny, add_version, tmp_path):
    """What the alert T2recModelUnavailable asks for: there is no version to tell anything of."""
    (tmp_path / "broken").mkdir()
    add_version(2, broken=True)
    (tiny / "2").rename(tmp_path / "broken" / "2")
    folders = {"tiny": tiny, "broken": tmp_path / "broken", "missing": tmp_path / "missing"}
    models = " ".join(
        f'config {{ name: "{name}" base_path: "{path}" }}' for name, path in folders.items()
    )
    (tmp_path / "models.config").write_text(f"model_config_list {{ {models} }}")
    with ServerProcess([f"--model-config-file={tmp_path / 'models.config'}"]) as server:
        metrics = _get(server.rest_address, "/metrics")[1].splitlines()
    for name, available in (("tiny", 1.0), ("broken", 0.0), ("missing", 0.0)):
        assert f't2rec_model_available{{model="{name}"}} {available}' in metrics
    assert 't2rec_broken_model_version{model="broken",version="2"} 1.0' in metrics


def test_broken_version_is_a_metric_until_its_folder_is_removed(tiny, add_version):
    """So the alert T2recBrokenVersion ends once somebody did something about it."""
    add_version(2, broken=True)
    line = 't2rec_broken_model_version{model="tiny",version="2"} 1.0'
    with ServerProcess([f"--model={tiny}", "--poll-seconds=0.1"]) as server:

        def metrics():
            return _get(server.rest_address, "/metrics")[1].splitlines()

        assert line in metrics()
        # A newer version that works does not mend this one.
        add_version(3)
        available = 't2rec_model_version{model="tiny",state="AVAILABLE",version="3"} 1.0'
        wait_until(lambda: available in metrics())
        assert line in metrics()
        shutil.rmtree(tiny / "2")
        wait_until(lambda: line not in metrics())
        assert available in metrics()


def test_configuration_is_followed_after_one_that_fails(tiny, tmp_path):
    file = tmp_path / "models.config"
    model = f'config {{ name: "one" base_path: "{tiny}" }}'
    file.write_text(f"model_config_list {{ {model} }}")
    options = [f"--model-config-file={file}", "--model-config-poll-seconds=1"]
    with ServerProcess(options) as server:
        away = model.replace(str(tiny), "nosuch://bucket/model").replace("one", "away")
        two = model.replace("one", "two")
        file.write_text(f"model_config_list {{ {away} {two} }}")
        wait_until(
            lambda: "did not become available: {{name: away}}; Expected" in server.log(),
            told=server.log,
        )
        assert "all else is served" in server.log()
        assert [_get(server.rest_address, f"/v1/models/{n}")[0] for n in ("one", "two")] == [
            404,
            200,
        ]
        file.unlink()
        wait_until(lambda: "Serving goes on as before" in server.log(), told=server.log)
        file.write_text(f"model_config_list {{ {model} }}")
        wait_until(lambda: _get(server.rest_address, "/v1/models/one")[0] == 200, told=server.log)
        assert "Traceback" not in server.log()


def test_ready_file_is_there_while_requests_are_answered(tiny, tmp_path):
    ready = tmp_path / "ready.json"
    ready.write_text("of a server that was killed")
    # The later option counts: the process's own file never comes.
    server = ServerProcess([f"--model={tiny}", f"--ready-file={ready}"])
    server.start()
    try:
        end, told = time.monotonic() + 60, ""
        while "rest_port" not in told:
            assert time.monotonic() < end, server.log()
            time.sleep(0.02)
            with contextlib.suppress(FileNotFoundError):
                told = ready.read_text()
        address = f"127.0.0.1:{json.loads(told)['rest_port']}"
        assert _get(address, "/readyz") == (200, "ready")
        assert server.stop() == 0
        assert not ready.exists()
    finally:
        server.__exit__()
    ready.write_text("of a server that was killed")
    with pytest.raises(InputError):
        serve(ServerOptions(models=[str(tmp_path / "missing")], port=0, ready_file=str(ready)))
    assert not ready.exists()


def test_wrong_files_are_input_errors(tiny, tmp_path):
    (tmp_path / "empty").touch()
    options = ServerOptions(models=[str(tiny)], api_keys=str(tmp_path / "empty"))
    with pytest.raises(InputError, match="--api-keys.*no key in it"):
        serve(options)


def test_client_without_a_key(tiny, tmp_path, monkeypatch):
    (tmp_path / "keys").write_text("secret")
    with ServerProcess([f"--model={tiny}", f"--api-keys={tmp_path / 'keys'}"]) as server:
        for address in (server.rest_address, f"grpc://{server.grpc_address}"):
            with connect(address, "tiny") as client, pytest.raises(UnauthenticatedError):
                client.predict("count", {"steps": [1]})
            with connect(address, "tiny", api_key="secret") as client:
                assert client.predict("count", {"steps": [1]})
