"""Continuous training: data arrives in spans, and each run starts from the model before."""

import json
import os
import pathlib

import pytest

from components.yelp_example_gen.places import pack_paths
from pipeline import config, local_runner, synth
from pipeline.root import Root

NUM_SPANS = 3

# Hardly trained: this is about what follows from what, not about quality.
SETTINGS = [
    "training.warm_start=true",
    "training.tuning_seconds=0",
    "training.rating_epochs=2",
    "training.retrieval_epochs=4",
    "training.min_steps=50",
    "training.num_evaluations=2",
    "baselines.rating=[global_mean]",
    "baselines.retrieval=[popularity]",
    "baselines.tuning_seconds=0",
    "evaluation.native_rows=0",
    "gate.rating_baseline=global_mean",
    "gate.slices=[]",
    "gate.max_regression=0.2",
]

REVIEWS, USERS, BUSINESSES = (
    f"yelp_academic_dataset_{table}.json" for table in ("review", "user", "business")
)


def write_spans(folder: pathlib.Path) -> list[str]:
    """Divides generated reviews by their dates; users and businesses come with each span."""
    synth.generate(str(folder / "whole"), 4_500, seed=2)
    lines = (folder / "whole" / REVIEWS).read_text().splitlines(keepends=True)
    dated = []
    for line in lines:
        try:
            dated.append((json.loads(line)["date"], line))
        except (ValueError, KeyError):
            continue  # Of the oddities that generated data has.
    dated.sort()
    spans = []
    for span in range(NUM_SPANS):
        place = folder / f"span-{span}"
        place.mkdir()
        rows = dated[span * len(dated) // NUM_SPANS : (span + 1) * len(dated) // NUM_SPANS]
        (place / REVIEWS).write_text("".join(line for _, line in rows))
        for name in (USERS, BUSINESSES):
            (place / name).write_bytes((folder / "whole" / name).read_bytes())
        spans.append(str(place))
    return spans


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_each_span_starts_from_the_model_before_and_is_compared_with_it(tmp_path):
    spans = write_spans(tmp_path)
    root = Root(str(tmp_path / "root"))
    settings = config.load_config(None, SETTINGS)
    pushed: list[str] = []
    sizes: list[int] = []
    for last in range(NUM_SPANS):
        report = local_runner.run(settings, pack_paths(spans[: last + 1]), root)
        sizes.append(report["dataset"]["num_interactions"])
        for task in ("rating", "retrieval"):
            trials = report["training"]["choices"][task]["trials"]
            tried = {trial["recipe"].get("warm_start") for trial in trials}
            # Without time for more than one recipe, the first is tried, which is the warm one.
            assert tried == ({True} if last else {None}), (last, task)
            assert ("previous" in report[task]["test"]["models"]) is bool(last)
        reasons = report["blessing"]["reasons"]
        assert any("that of the model being served" in reason for reason in reasons) is bool(last)
        assert report["blessing"]["blessed"], reasons
        pushed.append(report["pushed_version"])
        assert sorted(os.listdir(pathlib.Path(root.serving) / "t2rec")) == pushed
    assert sizes == sorted(set(sizes))
    assert [int(version) for version in pushed] == sorted({int(version) for version in pushed})
