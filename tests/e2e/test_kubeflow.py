"""The compiled spec, container by container, as Kubeflow would run it."""

import concurrent.futures
import dataclasses
import json
import pathlib

import pandas as pd
import pytest
import yaml
from image_harness import Image, last_stage, read_steps
from kfp import compiler, components, dsl
from spec_harness import SpecHarness

from pipeline import config, graph, kubeflow_runner, local_runner, synth
from pipeline.root import Root

ROOT = pathlib.Path(__file__).parents[2]
DOCKERFILE = ROOT / "pipeline" / "deploy" / "Dockerfile"

# Three minutes on two cores that nobody else uses.
pytestmark = pytest.mark.timeout(2400)

# As few steps as still beat a constant: this is about containers, not about quality. Nothing may
# depend on how fast the machine is.
SETTINGS = [
    "training.tuning_seconds=0",
    "training.rating_epochs=2",
    "training.retrieval_epochs=4",
    "training.min_steps=50",
    "training.num_evaluations=2",
    "tuner.trials=2",
    "baselines.rating=[global_mean, bias]",
    "baselines.retrieval=[popularity]",
    "baselines.tuning_seconds=0",
    "evaluation.native_rows=0",  # TensorFlow Model Analysis takes a tenth of the whole time.
    "gate.rating_baseline=global_mean",
    "gate.retrieval_baseline=popularity",
    "gate.slices=[]",
    "batch_scoring.enabled=true",
    "batch_scoring.k=3",
]


@dataclasses.dataclass(frozen=True)
class Runs:
    """The same pipeline on the same data, twice.

    Attributes:
      spec: The spec, after it has run.
      serving: Where it pushed to.
      local: What the local run measured.
    """

    spec: SpecHarness
    serving: pathlib.Path
    local: dict


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    folder = tmp_path_factory.mktemp("kubeflow")
    data, serving, spec_file = folder / "data", folder / "serving", folder / "spec.json"
    synth.generate(str(data), 4_000, seed=1)
    settings = config.load_config(None, SETTINGS)
    kubeflow_runner.compile_spec(settings, "example.org/t2rec:1", str(spec_file))
    image = Image(folder / "image")
    image.follow(last_stage(read_steps(DOCKERFILE)), ROOT)
    harness = SpecHarness(spec_file, folder / "cluster", image.environment)
    parameters = {"data": str(data), "data_version": "1", "serving_dir": str(serving)}
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        containers = beside.submit(harness.run, parameters, jobs=2)
        local = local_runner.run(settings, str(data), Root(str(folder / "local")))
        containers.result()
    return Runs(harness, serving, local)


@pytest.mark.nightly
def test_every_node_runs_and_the_model_is_pushed(runs):
    nodes = graph.build_components(config.load_config(None, SETTINGS), graph.Inputs("d", "s"))
    expected = {node.id.replace(".", "-") for node in nodes}
    assert set(runs.spec.finished) == expected | {"RunNotice"}
    assert json.loads((runs.serving / "last_run.json").read_text()) == {"state": "SUCCEEDED"}
    report = read_report(runs)
    for name in ("t2rec", "t2rec_scann"):
        assert [path.name for path in (runs.serving / name).iterdir()] == [report["pushed_version"]]
    pushed = runs.spec.finished["Pusher"].artifacts["pushed_model"]
    assert pushed.metadata["pushed_version"] == report["pushed_version"]


@pytest.mark.nightly
def test_the_metrics_are_those_of_a_local_run(runs):
    """One seed and no time budgets: what is left, 2e-4, is the order of sums in threads."""
    report = read_report(runs)
    assert report["blessing"]["blessed"] is runs.local["blessing"]["blessed"] is True
    assert report["dataset"] == runs.local["dataset"]
    for task in ("rating", "retrieval"):
        here, there = (r[task]["test"]["models"] for r in (report, runs.local))
        assert set(here) == set(there)
        for name in here:
            assert numbers(here[name]) == pytest.approx(numbers(there[name]), abs=1e-3), name


@pytest.mark.nightly
def test_containers_know_nothing_of_where_the_spec_was_compiled(runs):
    text = json.dumps(runs.spec.spec.deployment_spec, default=str) + str(runs.spec.spec.components)
    assert str(ROOT) not in text
    for name, finished in runs.spec.finished.items():
        assert f"{ROOT}/" not in finished.log.replace(f"{ROOT}/.venv/", ""), name


@pytest.mark.nightly
def test_users_are_scored_with_what_was_pushed(runs):
    folder = runs.spec.open(runs.spec.finished["BatchScorer"].artifacts["recommendations"])
    assert len(pd.read_parquet(folder)) == 3 * runs.local["dataset"]["num_users"]


@pytest.mark.nightly
def test_the_report_is_a_page(runs):
    page = runs.spec.open(runs.spec.finished["Report"].artifacts["page"]) / "index.html"
    assert "Blessed: this model may be served" in page.read_text(encoding="utf-8")


def read_report(runs: Runs) -> dict:
    folder = runs.spec.open(runs.spec.finished["Reporter"].artifacts["report"])
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def numbers(tree: dict, prefix: str = "") -> dict[str, float]:
    """Lays out all numbers of nested metrics by path."""
    found: dict[str, float] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            found[f"{prefix}{key}"] = value
    return found


def test_kfp_takes_the_spec_into_a_pipeline_of_its_own(tmp_path):
    """Its loader and its compiler check names, types, links and defaults."""
    path = tmp_path / "spec.yaml"
    kubeflow_runner.compile_spec(config.load_config(), "example.org/t2rec:1", str(path))
    loaded = components.load_component_from_file(str(path))
    assert loaded.name == "t2rec"
    inputs = loaded.component_spec.inputs
    required = {name for name, given in inputs.items() if not given.optional}
    assert required == {"data", "data_version", "serving_dir"}
    assert inputs["checkpoint_dir"].default == ""

    @dsl.pipeline(name="outer")
    def outer(data: str):
        loaded(data=data, data_version="1", serving_dir="gs://bucket/serving")

    compiler.Compiler().compile(outer, str(tmp_path / "outer.yaml"))
    written = yaml.safe_load((tmp_path / "outer.yaml").read_text())
    images = {
        executor["container"]["image"]
        for executor in written["deploymentSpec"]["executors"].values()
    }
    assert images == {"example.org/t2rec:1"}
