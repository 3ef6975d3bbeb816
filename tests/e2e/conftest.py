"""One run of the whole pipeline on planted data, which the end-to-end tests look at."""

import dataclasses
import json
import pathlib

import pytest

from pipeline import config, synth

NUM_REVIEWS = 20_000


@pytest.hookimpl(tryfirst=True)  # Before pytest-xdist reads the groups.
def pytest_collection_modifyitems(items) -> None:
    """Leaves all that looks at the one run to one process, which alone makes it."""
    for item in items:
        if "run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("run"))


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      root: Its root folder.
      data: Its generated data.
      truth: What was planted in the data.
      report: What the run measured.
      settings: Its configuration.
    """

    root: pathlib.Path
    data: pathlib.Path
    truth: dict
    report: dict
    settings: config.PipelineConfig


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """Generates data and runs the pipeline on it with the real LocalDagRunner."""
    from pipeline import local_runner
    from pipeline.root import Root

    folder = tmp_path_factory.mktemp("pipeline")
    root, data = folder / "root", folder / "data"
    synth.generate(str(data), NUM_REVIEWS, seed=1)
    truth = json.loads((data / "truth.json").read_text(encoding="utf-8"))
    # Enough for the first few recipes; the whole length it takes to beat the best baseline is not
    # for a test, so the gate asks for less.
    settings = config.load_config(
        None,
        [
            "training.tuning_seconds=5",
            "evaluation.native_rows=300",
            "gate.rating_baseline=bias",
            "gate.retrieval_baseline=popularity",
            "batch_scoring.enabled=true",
            "batch_scoring.k=4",
        ],
    )
    report = local_runner.run(settings, str(data), Root(str(root)))
    return Run(root, data, truth, report, settings)
