"""The guards of the benchmarks, each on a sound server and on one that is broken on purpose."""

import concurrent.futures
import time
import urllib.error
import urllib.request

from benchmarks import serving_fuzz, serving_guards, serving_load
from benchmarks.serving_load import Answer
from serving.client import connect
from serving.server_process import ServerProcess

MODEL = "t2rec"


def _fuzz(server, model=MODEL, count=400):
    rest = serving_fuzz.fuzz_rest(server.rest_address, model, count, seed=3)
    alive = server.process.poll() is None
    problems = serving_guards.judge_fuzzing(rest, count, alive)
    if not alive:
        return problems
    grpc = serving_fuzz.fuzz_grpc(server.grpc_address, model, count, seed=3)
    alive = server.process.poll() is None
    return problems + serving_guards.judge_fuzzing(grpc, count, alive)


def test_fuzzing_finds_nothing_in_the_server(exact_server):
    assert _fuzz(exact_server) == []
    assert "Traceback" not in exact_server.log()


def _save_faulty(path, break_down):
    import tensorflow as tf

    def recommend(user_id):
        found = tf.cond(tf.reduce_any(user_id == "nobody"), break_down, lambda: "")
        return {"business_id": tf.fill(tf.shape(user_id)[:1], found)}

    module = tf.Module()
    specs = [tf.TensorSpec([None], tf.string, "user_id")]
    module.recommend = tf.function(recommend, input_signature=specs, autograph=False)
    signatures = dict.fromkeys(["serving_default", "recommend"], module.recommend)
    tf.saved_model.save(module, str(path / "1"), signatures=signatures)


def test_fuzzing_finds_models_that_are_broken(tmp_path):
    import tensorflow as tf

    def crash():
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="on purpose")]):
            return tf.constant("")

    _save_faulty(tmp_path / "failing", lambda: tf.io.read_file("/no/such/file"))
    _save_faulty(tmp_path / "crashing", crash)
    models = [f"--model={tmp_path / name}" for name in ("failing", "crashing")]
    with ServerProcess(models) as server:
        assert any("bad 500" in found for found in _fuzz(server, "failing"))
        assert "the server is gone" in _fuzz(server, "crashing")


def _use(server, model, signature, inputs, calls):
    with connect(server.rest_address, model) as client:
        for _ in range(calls):
            client.predict(signature, inputs)
    return serving_load.resident_mb(server)


def test_memory_of_the_server_stays(exact_server):
    inputs = {"user_id": ["user-01"], "k": [5]}
    before = _use(exact_server, MODEL, "recommend", inputs, 300)
    assert (
        serving_guards.judge_memory(before, _use(exact_server, MODEL, "recommend", inputs, 300))
        == []
    )


def test_leak_is_found(tmp_path):
    import tensorflow as tf

    class Leaking(tf.Module):
        def __init__(self):
            self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, 0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "n")], autograph=False)
        def keep(self, n):
            keys = tf.random.uniform([50_000], maxval=2**62, dtype=tf.int64)
            with tf.control_dependencies([self.table.insert(keys, keys)]):
                return {"n": tf.identity(n)}

    leaking = Leaking()
    tf.saved_model.save(leaking, str(tmp_path / "leaking" / "1"), signatures={"keep": leaking.keep})
    with ServerProcess(["--model", str(tmp_path / "leaking")]) as server:
        before = _use(server, "leaking", "keep", {"n": [1]}, 10)
        (problem,) = serving_guards.judge_memory(
            before, _use(server, "leaking", "keep", {"n": [1]}, 40)
        )
    assert "memory grew by" in problem


def _ask(address, path, body, until, pause=0.0):
    """Asks over and over again; returns the answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answers = []
    while time.time() < until:
        sent = time.time()
        try:
            with opener.open(f"http://{address}{path}", body, timeout=60) as response:
                status = response.status
                response.read()
        except urllib.error.HTTPError as error:
            status = error.code
        answers.append(Answer(sent, status, (time.time() - sent) * 1e3))
        time.sleep(pause)
    return answers


def test_swaps(tiny, add_version):
    """Who asks for a version by its number gets none once it is replaced: that must be seen."""
    paths = ("tiny", "tiny/versions/1")
    with (
        ServerProcess(["--model", str(tiny), "--poll-seconds", "0.1"]) as server,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        body, until = b'{"instances": [1.0]}', time.time() + 6
        asking = [
            pool.submit(_ask, server.rest_address, f"/v1/models/{path}:predict", body, until)
            for path in paths
        ]
        time.sleep(1)
        swaps = []
        for number in (2, 3):
            begin = time.time()
            add_version(number)
            time.sleep(2)
            swaps.append((begin, time.time()))
        states = serving_load.get_json(server, "/v1/models/tiny")["model_version_status"]
        assert [s["version"] for s in states if s["state"] == "AVAILABLE"] == ["3"]
        newest, replaced = (
            serving_guards.judge_swaps(asked.result(), swaps, max_slowdown=1e9) for asked in asking
        )
    assert newest == []
    assert "requests failed, as with 404" in replaced[0]


def test_slow_swaps_are_seen():
    swift = [Answer(second / 100, 200, 5.0) for second in range(1_000)]
    slow = [Answer(20 + second / 100, 200, 11.0) for second in range(1_000)]
    assert serving_guards.judge_swaps(swift + slow, [(20, 30)], 2.0) == [
        "p99 during swaps was 2.2 x that before them"
    ]
    assert serving_guards.judge_swaps(swift + slow, [(20, 30)], 2.5) == []


def test_queue_without_an_end_is_found(tiny_versions):
    """Forty clients wait for one another: hardly anybody gets an answer in time.

    In time is thrice what one alone waits, so that it takes a machine thirteen times as fast under
    the load as before it to hide the queue.
    """
    arguments = ["--model", str(tiny_versions), "--max-batch-rows", "1", "--num-workers", "1"]
    body = b'{"signature_name": "count", "inputs": {"steps": [20000]}}'
    with ServerProcess([*arguments, "--max-pending-requests", "1000000"]) as server:
        path = "/v1/models/tiny:predict"
        alone = _ask(server.rest_address, path, body, time.time() + 1.5)
        limit_ms = 3 * sorted(answer.ms for answer in alone)[len(alone) // 2]
        peak = serving_guards.goodput(alone, 1.5, limit_ms)
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            until = time.time() + 2
            asking = [pool.submit(_ask, server.rest_address, path, body, until) for _ in range(40)]
            answers = [answer for asked in asking for answer in asked.result()]
    problems = serving_guards.judge_overload(peak, answers, 2.0, limit_ms)
    assert "nothing was refused" in problems
    assert any("good answers a second" in problem for problem in problems)


def test_overload_that_is_carried_well():
    good = [Answer(0.0, 200, 50.0)] * 95
    refused = [Answer(0.0, 503, 1.0)] * 200
    assert serving_guards.judge_overload(100.0, good + refused, 1.0, 1_000.0) == []
    late = [Answer(0.0, 200, 1_001.0)] * 20
    assert serving_guards.judge_overload(100.0, good[20:] + late + refused, 1.0, 1_000.0) == [
        "75 good answers a second, of 100 without overload"
    ]
    slow = [Answer(0.0, 503, 600.0)] * 200
    assert serving_guards.judge_overload(100.0, good + slow, 1.0, 1_000.0) == [
        "refusals took 600 ms"
    ]
