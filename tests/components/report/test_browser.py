"""The page in a real browser, as wide as a desktop and as a phone."""

import re
import shutil
import subprocess

import pytest

from components.report import page

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; apt-get install chromium"),
]

# Written into the title, which the dumped document then tells.
_MEASURE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("main *")].filter(
    e => !e.closest(".scroll, nav, svg") && e.getBoundingClientRect().right > innerWidth + 1);
  document.title = [innerWidth, document.documentElement.scrollWidth, wide.length,
    document.querySelectorAll("svg").length,
    Math.min(...[...document.querySelectorAll("svg")].map(e => e.clientWidth))].join(" ");
});</script>"""


def browse(*args):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    return subprocess.run([*command, *args], capture_output=True, check=True, timeout=120)


@pytest.mark.parametrize("kind", ["page", "comparison"])
@pytest.mark.parametrize("width", [1_200, 500])
def test_it_fits_the_screen(width, kind, metrics, page_data, tmp_path):
    path = tmp_path / "index.html"
    if kind == "page":
        document = page.build(metrics, page_data)
    else:
        document = page.compare([(name, metrics, page_data) for name in ("runs/a", "runs/b")])
    path.write_text(document.replace("</body>", _MEASURE + "</body>"), encoding="utf-8")
    done = browse(f"--window-size={width},900", "--dump-dom", path.as_uri())
    title = re.search(r"<title>([\d ]+)</title>", done.stdout.decode()).group(1)
    inner, scrolled, too_wide, figures, narrowest = map(int, title.split())
    assert inner == width
    assert scrolled <= inner
    assert too_wide == 0
    assert figures == document.count("<svg")
    assert narrowest > 250


def test_it_is_drawn(metrics, page_data, tmp_path):
    path, picture = tmp_path / "index.html", tmp_path / "page.png"
    path.write_text(page.build(metrics, page_data), encoding="utf-8")
    browse("--window-size=800,1200", f"--screenshot={picture}", path.as_uri())
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    # An empty page of this size compresses to some 5 KB.
    assert len(content) > 30_000
