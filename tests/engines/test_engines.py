"""Ingestion and batch scoring on a real engine give what DirectRunner gives, come what may."""

import json
import os
import pathlib
import signal
import threading
import time

import pandas as pd
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from components import artifacts
from components.yelp_example_gen import executor, spec
from pipeline import config, local_runner
from pipeline.root import Root
from serving import batch_scoring, questions
from tests.engines.conftest import SETTINGS

TABLES = {
    spec.INTERACTIONS_KEY: standard_artifacts.Examples,
    spec.USERS_KEY: standard_artifacts.Examples,
    spec.BUSINESSES_KEY: standard_artifacts.Examples,
    spec.REJECTS_KEY: artifacts.Rejects,
}

pytestmark = pytest.mark.timeout(1800)


def ingest(data: pathlib.Path, out: pathlib.Path, beam_args: list[str]) -> dict[str, list[bytes]]:
    """Runs YelpExampleGen; returns the sorted records of each split."""
    outputs = {}
    for key, kind in TABLES.items():
        artifact = kind()
        artifact.uri = str(out / key)
        outputs[key] = [artifact]
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=beam_args, tmp_dir=str(out / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do({}, outputs, {
        spec.DATA_KEY: str(data),
        spec.SPLIT_CONFIG_KEY: "{}",
        spec.REPEATED_VISITS_KEY: "latest",
        spec.MAX_REJECT_FRACTION_KEY: 0.01,
        spec.NUM_REVIEW_TERMS_KEY: 0,
    })  # fmt: skip
    return read_splits(out)


def read_splits(out: pathlib.Path) -> dict[str, list[bytes]]:
    splits: dict[str, list[bytes]] = {}
    for path in sorted(out.glob("*/Split-*/*")):
        split = str(path.parent.relative_to(out))
        records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        splits.setdefault(split, []).extend(records)
    return {split: sorted(records) for split, records in splits.items()}


@pytest.fixture(scope="module")
def direct(data, tmp_path_factory) -> dict[str, list[bytes]]:
    """What DirectRunner ingests."""
    return ingest(data, tmp_path_factory.mktemp("direct"), [])


def test_ingestion_gives_the_same_rows(engine, data, direct, tmp_path):
    found = ingest(data, tmp_path, engine.beam_args())
    assert {split: len(rows) for split, rows in found.items()} == {
        split: len(rows) for split, rows in direct.items()
    }
    assert found == direct


def test_batch_scoring_gives_the_same_rows(engine, model, tmp_path):
    frames, filters = [], questions.Filters(exclude_seen=True)
    for name, args in (("direct", []), ("engine", engine.beam_args())):
        out = tmp_path / name
        counts = batch_scoring.score_users(
            str(model), batch_scoring.ALL_USERS, str(out), filters, PipelineOptions(args)
        )
        frame = pd.read_parquet(out).sort_values(["user_id", "rank"], ignore_index=True)
        assert counts["rows"] == len(frame)
        frames.append(frame)
    pd.testing.assert_frame_equal(*frames, check_exact=False, rtol=1e-6)


def test_whole_pipeline_comes_to_the_same_figures(engine, model, tmp_path):
    settings = config.load_config(None, [*SETTINGS, "evaluation.native_rows=1000"])
    root = Root(str(tmp_path / "root"))
    report = local_runner.run(settings, str(model.parent / "data"), root, engine.beam_args())
    assert report["blessing"]["blessed"]
    # YelpExampleGen and Transform of both tables.
    assert engine.jobs() == [beam_job_api_pb2.JobState.DONE] * 3
    direct = json.loads((model / "report" / "metrics.json").read_text())
    assert report["dataset"] == direct["dataset"]
    found, expected = (one["rating"]["test"]["models"]["t2rec"]["rmse"] for one in (report, direct))
    # Rows come in another order, and so do the batches.
    assert found["value"] == pytest.approx(expected["value"], rel=0.01)
    # All test ratings once more, by the export.
    native = report["rating"]["test"]["native"]["metrics"]["candidate"]["rmse"]
    assert native["value"] == pytest.approx(found["value"], abs=1e-5)


def wait_for_workers(engine, num: int = 1) -> list[int]:
    """Waits until Python workers are at work, which is in mid-job."""
    for _ in range(1200):
        found = engine.python_workers()
        if len(found) >= num:
            time.sleep(2)  # Past their imports' beginning, before the end of any stage.
            return found
        time.sleep(0.1)
    raise AssertionError("no worker was started")


def beside(action) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_a_killed_worker_loses_and_doubles_nothing(engine, data, direct, tmp_path):
    killed = []

    def kill_one() -> None:
        for pid in wait_for_workers(engine)[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = beside(kill_one)
    try:
        found = ingest(data, tmp_path, engine.beam_args())
    except Exception as error:
        # Spark gives a stage up after four failures, Flink the job after three restarts: then
        # nothing may be left that looks like output.
        assert not list(tmp_path.glob("*/Split-*/*")), error
        raise
    finally:
        thread.join()
    assert killed
    assert found == direct


def test_a_killed_task_manager_loses_and_doubles_nothing(engine, data, direct, tmp_path):
    victim = {"flink": "taskmanager-2", "spark": "worker-2"}[engine.name]

    killed = []

    def kill_one() -> None:
        wait_for_workers(engine)
        engine.kill(victim)
        killed.append(victim)

    thread = beside(kill_one)
    try:
        found = ingest(data, tmp_path, engine.beam_args())
    finally:
        thread.join()
    assert killed
    assert found == direct
    summary = json.loads((tmp_path / spec.REJECTS_KEY / artifacts.SUMMARY_FILE).read_text())
    assert summary["num_interactions"] == sum(
        len(rows) for split, rows in direct.items() if split.startswith(spec.INTERACTIONS_KEY)
    )
