import copy
import html.parser
import re

import pytest

from components.report import page


class _Tags(html.parser.HTMLParser):
    """Collects attributes that could load something, and checks that tags are closed."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.references = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.references += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def text_of(document):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", document))


def test_the_page_needs_nothing_else(metrics, page_data):
    document = page.build(metrics, page_data)
    tags = _Tags()
    tags.feed(document)
    assert not tags.open
    assert all(reference.startswith("#") for reference in tags.references)
    assert "<script" not in document
    assert "url(" not in document
    assert len(document) < 5_000_000
    assert document.count("<svg") >= 10


def test_the_verdict_is_on_top_and_failures_come_first(metrics, page_data):
    shown = text_of(page.build(metrics, page_data))
    assert shown.index("Not blessed") < shown.index("✗ slice x") < shown.index("✓ well done")
    assert "– the model being served" in shown
    metrics["blessing"] = {"blessed": True, "reasons": ["passed: all"], "checks": []}
    assert "Blessed: this model may be served" in page.build(metrics, page_data)


def test_a_verdict_without_checks_is_shown_in_its_own_words(metrics, page_data):
    del metrics["blessing"]["checks"]
    for shown in (
        text_of(page.build(metrics, page_data)),
        text_of(page.compare([("a", metrics, page_data), ("b", metrics, page_data)])),
    ):
        assert "FAILED: slice x" in shown
        assert "✗" not in shown


def test_everything_that_was_measured_is_shown(metrics, page_data):
    shown = text_of(page.build(metrics, page_data))
    for expected in (
        "0.8000 [0.7900, 0.8100]",
        "bias ★",
        "svd it would take about 900 s",
        "asked both exports themselves: ours and bias, about 100 of 900 test ratings",
        "not JSON: 1",
        "best step 2 of 3",
        "like Old Café (cosine 0.91), both Tea",
        "went there",
        "what newcomers get: they have no history yet",
        "There was no run before",
        "split.method random",
        "Reno (400)",
        "cold user (3)",
    ):
        assert expected in shown, expected


def test_texts_of_the_data_are_escaped(metrics, page_data):
    metrics["rating"]["test"]["skipped"] = {"svd": "<script>alert(1)</script>"}
    document = page.build(metrics, page_data)
    assert "<script>" not in document
    assert "Tea &lt;House&gt;" in document


@pytest.mark.parametrize("left_out", ["rating", "retrieval", "training", "index", "timings"])
def test_a_run_that_lacks_a_part_has_a_page(left_out, metrics, page_data):
    del metrics[left_out]
    assert "Verdict" in page.build(metrics, page_data)


def test_a_run_without_baselines_lists_or_people_has_a_page(metrics, page_data):
    for task in ("rating", "retrieval"):
        test = metrics[task]["test"]
        test |= {"models": {}, "differences": {}, "best_baseline": None, "undefined": "nobody"}
        test.pop("native", None)
    shown = text_of(page.build(metrics, {**page_data, "users": []}))
    assert "Not judged: nobody" in shown
    assert "No examples" in shown


def test_the_run_before_is_compared(metrics, page_data):
    before = copy.deepcopy({"metrics": metrics, "page": page_data})
    before["metrics"]["rating"]["test"]["models"]["t2rec"]["rmse"]["value"] = 0.85
    stars = before["page"]["statistics"]["interactions"]["train"]["features"]["stars"]
    stars["quantiles"] = [1.0, 1.0, 2.0, 3.0, 5.0]
    shown = text_of(page.build(metrics, page_data, before))
    assert "rmse 0.8500 0.8000 -0.0500" in shown
    assert "stars interactions train 0.5" in shown


def test_a_trainer_that_was_told_its_sizes_tells_none(metrics, page_data):
    metrics["training"]["sizes"] = None
    assert "The trainer wrote none" in text_of(page.build(metrics, page_data))


def test_sizes_are_shown_where_the_trainer_tells_them(metrics, page_data):
    metrics["training"]["sizes"] = {"rating": {"intrinsic_dim": 5.25, "widths": [64, 64]}}
    shown = text_of(page.build(metrics, page_data))
    assert "rating.intrinsic_dim 5.25 rating.widths [64, 64]" in shown


def test_two_runs_side_by_side(metrics, page_data):
    other = copy.deepcopy(metrics)
    other["rating"]["test"]["models"]["t2rec"]["rmse"]["value"] = 0.7
    other["config"]["split"]["method"] = "temporal"
    del other["retrieval"]
    document = page.compare([("runs/a", metrics, page_data), ("runs/b", other, page_data)])
    shown = text_of(document)
    assert "rmse 0.8000 0.7000 -0.1000" in shown
    assert "split.method random temporal" in shown
    assert "refit" not in shown
    assert "<script" not in document
