"""The page in a real browser, driven over its DevTools protocol."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from serving.server_process import ServerProcess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here")
PLACES = {"tea": (36.1, -115.2), "bar": (36.2, -115.1), "inn": (36.15, -115.3)}


@pytest.fixture(scope="module")
def placed_export(tmp_path_factory):
    """An export that tells locations."""
    import tensorflow as tf

    names = tf.constant(list(PLACES))
    points = tf.constant(list(PLACES.values()), tf.float32)

    def recommend(user_id, k=tf.constant([10], tf.int32)):  # noqa: B008
        length = tf.minimum(tf.reduce_max(k), 3)
        rows = tf.size(user_id)
        columns = {
            "business_id": names,
            "score": tf.constant([2.0, 1.0, 0.5]),
            "rating": tf.constant([4.5, 2.5, 3.5]),
        }
        return {n: tf.tile(c[None, :length], [rows, 1]) for n, c in columns.items()}

    def describe(business_id):
        rows = tf.argmax(business_id[:, None] == names, axis=1)
        return {
            "name": tf.strings.join(["The ", business_id]),
            "latitude_degrees": tf.gather(points[:, 0], rows),
            "longitude_degrees": tf.gather(points[:, 1], rows),
        }

    module = tf.Module()
    specs = [tf.TensorSpec([None], tf.string, "user_id"), tf.TensorSpec([None], tf.int32, "k")]
    module.recommend = tf.function(recommend, input_signature=specs, autograph=False)
    root = tmp_path_factory.mktemp("placed") / "placed"
    ids = [tf.TensorSpec([None], tf.string, "business_id")]
    module.describe = tf.function(describe, input_signature=ids, autograph=False)
    tf.saved_model.save(
        module,
        str(root / "1"),
        signatures={"recommend": module.recommend, "describe": module.describe},
    )
    return root


@pytest.fixture(scope="module")
def server(exact_export, placed_export):
    """Serves a model that tells no locations, and one that does."""
    with ServerProcess(["--model", exact_export.path, "--model", str(placed_export)]) as server:
        yield server


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, address):
        self._socket = connect(address, max_size=None)
        self._id = 0
        self.requested = []
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._id += 1
        self._socket.send(json.dumps({"id": self._id, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("id") == self._id:
                return message["result"]

    def run(self, script):
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition):
        end = time.monotonic() + 30
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.05)

    def submit(self, **values):
        for selector, value in values.items():
            self.run(f"document.getElementById('{selector}').value = {json.dumps(value)}")
        self.run("document.getElementById('took').textContent = ''")
        self.run("document.getElementById('form').requestSubmit()")
        self.wait(
            "document.getElementById('took').textContent !== '' || "
            "document.getElementById('message').className === 'bad'"
        )

    def rows(self):
        return self.run(
            "[...document.querySelectorAll('#list tbody tr')].map(r => [...r.cells]"
            ".map(c => c.textContent))"
        )

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("chromium")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]
    command += [
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--window-size=1200,1300",
    ]
    command += ["about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"DevTools listening on ws://([^/]+)/", line):
                break
        else:
            pytest.fail("chromium did not start")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{found[1]}/json", timeout=30) as response:
            pages = [p for p in json.load(response) if p["type"] == "page"]
        yield Browser(pages[0]["webSocketDebuggerUrl"])
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            process.stderr.close()


@pytest.fixture
def page(browser, server):
    browser.requested.clear()
    browser.call("Page.navigate", url=f"http://{server.rest_address}/")
    browser.wait("document.querySelectorAll('#filters input').length > 0")
    return browser


def test_user_gets_the_models_list(page, exact_export, tmp_path):
    page.submit(user="user-01")
    expected = exact_export.recommend("user-01")
    assert [row[1] for row in page.rows()] == [best[0] for best in expected]
    assert [row[0] for row in page.rows()] == [str(rank) for rank in range(1, 11)]
    assert page.rows()[0][-1].startswith("the best match")
    # This export tells no locations.
    assert page.run("document.getElementById('places').getBoundingClientRect().height") == 0
    assert "does not tell" in page.run("document.getElementById('nowhere').textContent")
    page.screenshot(tmp_path / "list.png")
    assert (tmp_path / "list.png").stat().st_size > 10_000


def test_filters_are_those_of_the_signature(page, exact_export):
    names = page.run("[...document.querySelectorAll('#filters [data-input]')].map(i => "
                     "i.dataset.input)")  # fmt: skip
    assert names == ["k", "category", "city", "exclude_business_id", "exclude_seen"]
    more = page.run("[...document.querySelectorAll('#more [data-input]')].map(i => "
                    "i.dataset.input)")  # fmt: skip
    assert more == [
        "latitude_degrees", "longitude_degrees", "min_stars", "open_at_minute",
        "rating_weight", "retrieval_weight", "shortlist", "within_km",
    ]  # fmt: skip
    page.run("document.querySelector('#more button').click()")
    minute = page.run("Number(document.querySelector('[data-input=open_at_minute]').value)")
    assert 0 <= minute < 10_080
    page.run("document.querySelector('[data-input=open_at_minute]').value = ''")
    page.run("document.querySelector('[data-input=k]').value = 3")
    page.run("document.querySelector('[data-input=category]').value = 'Tea'")
    excluded = "document.querySelector('[data-input=exclude_business_id]')"
    page.run(f"{excluded}.value = 'place-0002, place-0006'")
    page.run("document.querySelector('[data-input=exclude_seen]').checked = true")
    page.submit(user="user-02")
    expected = exact_export.recommend(
        "user-02", k=3, category="Tea", exclude_seen=True,
        exclude_business_ids=["place-0002", "place-0006"],
    )  # fmt: skip
    assert [row[1] for row in page.rows()] == [best[0] for best in expected]
    assert "category: Tea; not visited yet" in page.rows()[0][-1]


def test_newcomer_says_where_they_have_been(page):
    page.run("document.querySelector('[name=who][value=new]').click()")
    assert page.run("document.querySelector('#covariates [data-input=fans]') !== null")
    page.run("document.querySelector('#filters [data-input=exclude_seen]').checked = true")
    page.submit(history="place-0003 5\nplace-0008")
    ids = [row[1] for row in page.rows()]
    assert len(ids) == 10
    assert not {"place-0003", "place-0008"} & set(ids)


def test_locations_are_drawn_where_the_export_tells_them(page, tmp_path):
    page.run(
        "document.getElementById('model').value = 'placed';"
        "document.getElementById('model').dispatchEvent(new Event('change'))"
    )
    page.wait("document.querySelectorAll('#filters input').length === 1")
    page.submit(user="anybody")
    points = page.run(
        "[...document.querySelectorAll('#places circle')].map(c => "
        "[Number(c.getAttribute('cx')), Number(c.getAttribute('cy'))])"
    )
    (tea_x, tea_y), (bar_x, bar_y), (inn_x, inn_y) = points
    assert inn_x < tea_x < bar_x  # West is left, ...
    assert bar_y < inn_y < tea_y  # ... and north is up.
    assert page.run("document.getElementById('places').getBoundingClientRect().height") > 200
    assert [row[2] for row in page.rows()] == ["The tea", "The bar", "The inn"]
    page.screenshot(tmp_path / "places.png")


def test_refusals_are_shown(page):
    page.run("document.querySelector('[data-input=k]').value = 20000")
    page.submit(user="user-01")
    shown = page.run("document.getElementById('message').textContent")
    assert "k must be from 1 to 10000" in shown
    assert page.run("document.getElementById('list').hidden")


def test_state_is_live_and_nothing_comes_from_elsewhere(page, server):
    page.wait("document.getElementById('health').textContent === '● ready'")
    assert "requests/s" in page.run("document.getElementById('latency').textContent")
    rows = page.run("[...document.querySelectorAll('#versions tbody tr')].map(r => r.textContent)")
    assert rows == ["t2rec3AVAILABLE", "placed1AVAILABLE"]
    assert page.requested
    assert all(url.startswith(f"http://{server.rest_address}/") for url in page.requested)
