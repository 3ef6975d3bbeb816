"""`t2rec submit` against a server on a real socket."""

import pathlib
import socket

import pytest
import yaml
from kfp_server import API, KfpServer

from pipeline import cli, config, kubeflow_client, kubeflow_runner


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("spec") / "spec.yaml"
    kubeflow_runner.compile_spec(config.load_config(), "example.org/t2rec:1", str(path))
    return path


def submit(server, spec, *more) -> int:
    url = server if isinstance(server, str) else server.url
    return cli.main([
        "submit", "--endpoint", url, "--spec", str(spec), "--data", "gs://b/yelp.tar",
        "--serving-dir", "gs://b/serving", "--poll-seconds", "0.01", *more,
    ])  # fmt: skip


RUNNING = {"tfx-dag": "RUNNING", "Trainer-driver": "SUCCEEDED", "Trainer": "RUNNING"}


def test_uploads_runs_and_watches(spec, capsys):
    play = [
        ("PENDING", {}),
        ("RUNNING", RUNNING),
        ("SUCCEEDED", {"tfx-dag": "SUCCEEDED", "Trainer": "SUCCEEDED"}),
    ]
    with KfpServer(play) as server:
        assert submit(server, spec, "--data-version", "2024") == 0
        (run,) = server.runs.values()
        ((pipeline_id, pipeline),) = server.pipelines.items()
    told = capsys.readouterr()
    assert "/#/runs/details/r0" in told.out and "succeeded" in told.out
    assert "Trainer: running" in told.err and "Trainer: succeeded" in told.err
    assert "driver" not in told.err
    assert run["asked"]["runtime_config"]["parameters"] == {
        "data": "gs://b/yelp.tar",
        "data_version": "2024",
        "serving_dir": "gs://b/serving",
        "checkpoint_dir": "",
    }
    assert run["asked"]["pipeline_version_reference"]["pipeline_id"] == pipeline_id
    uploaded = list(pipeline["versions"].values())[-1]["spec"]
    assert uploaded == yaml.load(spec.read_text(), yaml.CSafeLoader)


def test_a_changed_spec_is_a_new_version_and_the_same_one_is_not(spec, tmp_path):
    changed = tmp_path / "changed.yaml"
    changed.write_text(spec.read_text().replace("example.org/t2rec:1", "example.org/t2rec:2"))
    with KfpServer() as server:
        for path in (spec, spec, changed, spec):
            assert submit(server, path) == 0
        (pipeline,) = server.pipelines.values()
        used = [
            run["asked"]["pipeline_version_reference"]["pipeline_version_id"]
            for run in server.runs.values()
        ]
    assert len({v["name"] for v in pipeline["versions"].values()}) == len(pipeline["versions"])
    assert used[0] == used[1] == used[3] != used[2]
    assert list(server.experiments.values()) == ["t2rec"]


def test_teams_have_pipelines_of_their_own(spec):
    with KfpServer() as server:
        for namespace in ("red", "blue", "red"):
            assert submit(server, spec, "--namespace", namespace, "--no-watch") == 0
        assert [found["namespace"] for found in server.pipelines.values()] == ["red", "blue"]
        used = [
            run["asked"]["pipeline_version_reference"]["pipeline_id"]
            for run in server.runs.values()
        ]
    assert used == ["p0", "p1", "p0"]


def test_a_run_without_a_data_version_is_not_cached(spec):
    with KfpServer() as server:
        submit(server, spec, "--no-watch")
        (run,) = server.runs.values()
    assert run["asked"]["runtime_config"]["parameters"]["data_version"].startswith("20")


def test_a_failed_task_is_named(spec, capsys):
    play = [("FAILED", {"Trainer": "FAILED:out of memory", "YelpExampleGen": "SUCCEEDED"})]
    with KfpServer(play) as server:
        assert submit(server, spec) == 1
    told = capsys.readouterr().err
    assert "The run ended as FAILED: Trainer: out of memory. Its logs are at http" in told


def test_a_poll_may_fail(spec):
    with KfpServer([("RUNNING", RUNNING), ("SUCCEEDED", {})]) as server:
        server.failures[f"GET {API}/runs/r0"] = 3
        assert submit(server, spec) == 0


def test_an_unreachable_endpoint(spec, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert submit(url, spec) == 1
    told = capsys.readouterr().err
    assert f"Expected Kubeflow Pipelines at {url}; it can't be reached" in told
    assert "port-forward" in told


def test_a_token_is_asked_for_and_taken(spec, capsys, monkeypatch):
    with KfpServer(token="secret") as server:
        assert submit(server, spec) == 1
        assert kubeflow_client.TOKEN_VARIABLE in capsys.readouterr().err
        monkeypatch.setenv(kubeflow_client.TOKEN_VARIABLE, "secret")
        assert submit(server, spec) == 0


def test_a_refused_spec(spec, tmp_path, capsys):
    old = tmp_path / "old.yaml"
    old.write_text(spec.read_text().replace("schemaVersion: 2.1.0", "schemaVersion: 2.0.0"))
    with KfpServer() as server:
        assert submit(server, old) == 1
    told = capsys.readouterr().err
    assert "refused the spec or its parameters (400): schema version 2.0.0" in told


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (None, [], "Expected a file as --spec"),
        ("a: [", [], "does not parse"),
        ("pipelineInfo: {name: x}", [], "Expected tasks in the spec"),
        ("spec", ["--root", "gs://other"], "Expected a --root like that of the spec, minio://"),
        ("spec", ["--serving-dir", ""], "nothing for 'serving_dir'"),
        ("spec", ["--poll-seconds", "0"], "Expected --poll-seconds above 0"),
        ("spec", ["--endpoint", "localhost:1"], "Expected --endpoint http://… or https://…"),
    ],
)
def test_bad_usage_is_told_before_anything_is_sent(spec, tmp_path, capsys, content, more, message):
    path = spec if content == "spec" else tmp_path / "spec.yaml"
    if content not in (None, "spec"):
        path.write_text(content)
    with KfpServer() as server:
        assert submit(server, path, *more) == 2
        assert not server.pipelines
    assert message in capsys.readouterr().err
