"""Options and faults of `--beam`; the engines themselves run under make flink-test."""

import concurrent.futures
import json
import pathlib
import shutil
import socket
import subprocess
import sys

import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from models.errors import ConfigError, InputError
from pipeline import beam_engines, beam_options, cli

DEPLOY = pathlib.Path(beam_engines.__file__).parent / "deploy"


def test_a_url_becomes_beams_options():
    engine = beam_engines.Engine.from_url("flink://jobs.example:8099?parallelism=8&worker=/w")
    args = beam_options.beam_args(engine.beam_args())
    portable = PipelineOptions(args).view_as(PortableOptions)
    assert portable.job_endpoint == "jobs.example:8099"
    assert json.loads(portable.environment_config) == {
        "command": "/w",
        "env": {beam_engines.PYTHON_VARIABLE: "3.10"},
    }
    assert "--parallelism=8" in args


def test_an_address_of_numbers_keeps_its_brackets():
    assert beam_engines.Engine.from_url("flink://[::1]:8099").address == "[::1]:8099"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("flink://host", "the address of a Beam job server; got 'flink://host'"),
        ("flnk://host:1", "Expected --beam flink://HOST:PORT or spark://HOST:PORT"),
        ("flink://host:port", "got 'flink://host:port'"),
        ("flink://host:1/path", "got 'flink://host:1/path'"),
        ("flink://host:1?parallel=2", r"parallelism=N or shared=true after the \?"),
        ("flink://host:1?parallelism=two", "got 'parallelism=two'"),
        ("spark://host:1?shared=yes", "got 'shared=yes'"),
    ],
)
def test_urls_that_are_none(url, message):
    with pytest.raises(ConfigError, match=message):
        beam_engines.Engine.from_url(url)


def test_local_paths_are_refused_for_workers_elsewhere():
    paths = ["gs://bucket/yelp.tar", "/runs/yelp"]
    with pytest.raises(ConfigError, match="got '/runs/yelp', which is on this machine"):
        beam_engines.Engine.from_url("flink://jobs.example:1").check_paths(paths)
    beam_engines.Engine.from_url("flink://jobs.example:1").check_paths(paths[:1])
    beam_engines.Engine.from_url("flink://jobs.example:1?shared=true").check_paths(paths)
    beam_engines.Engine.from_url("flink://localhost:1").check_paths(paths)


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(beam_engines, "_CONNECT_SECONDS", 0.5)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(InputError, match=f"at localhost:{port}; nobody answers there"):
            beam_engines.Engine.from_url(f"flink://localhost:{port}").check_reachable()


class JobServer(beam_job_api_pb2_grpc.JobServiceServicer):
    def DescribePipelineOptions(self, request, context):  # noqa: N802 (Beam's name)
        return beam_job_api_pb2.DescribePipelineOptionsResponse()


@pytest.mark.parametrize("is_job_server", [True, False])
def test_a_job_server_is_told_from_others(is_job_server):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    if is_job_server:
        beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(JobServer(), server)
    engine = beam_engines.Engine.from_url(
        f"spark://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    )
    server.start()
    try:
        if is_job_server:
            engine.check_reachable()
        else:
            with pytest.raises(InputError, match="is another server .UNIMPLEMENTED"):
                engine.check_reachable()
    finally:
        server.stop(None)


def test_a_run_asks_before_it_computes(tmp_path, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"flink://127.0.0.1:{closed.getsockname()[1]}"
        data = tmp_path / "data"
        data.mkdir()
        args = ["run", "--data", str(data), "--root", str(tmp_path / "root"), "--beam", url]
        assert cli.main(args) == 1
    told = capsys.readouterr().err
    assert "nobody answers there. Start the job server (`pipeline/deploy/flink/start`" in told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--runner=DataflowRunner", "--project=p"], "Expected --region, --temp_location"),
        (
            ["--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=/tmp",
             "--sdk_container_image=i"],
            "Expected --temp_location=gs://",
        ),
        (["--runner=PortableRunner"], "Expected --job_endpoint=HOST:PORT"),
        (["--direct_num_workers=two"], "Expected options of Apache Beam; got a wrong one"),
    ],
)  # fmt: skip
def test_options_that_lack_another(given, message):
    with pytest.raises(ConfigError, match=message):
        beam_options.beam_args(given)


def test_a_worker_refuses_another_python():
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.beam_worker", "--id=1"],
        env={beam_engines.PYTHON_VARIABLE: "3.9", "PYTHONPATH": str(DEPLOY.parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "Expected Python 3.9, which the pipeline was sent from; this worker has 3.10" in (
        done.stderr
    )


def start(tmp_path, engine: str, path: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/bash", DEPLOY / engine / "start", tmp_path / "state"],
        env={"PATH": path, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def tools(tmp_path, **programs: str) -> str:
    """Makes a PATH with the tools that the script needs, and stand-ins for others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "basename", "cat", "dirname", "head", "mkdir", "realpath", "sed"):
        (folder / name).symlink_to(shutil.which(name))
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


JAVA_17 = "echo 'openjdk version \"17.0.1\"' >&2"


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_a_machine_that_lacks_something(engine, tmp_path):
    path = tools(tmp_path)
    assert "Expected Java 11 or 17 on the PATH; found none" in start(tmp_path, engine, path).stderr
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/bash\necho 'openjdk version \"21.0.1\"' >&2\n")
    java.chmod(0o755)
    assert "Expected Java 11 or 17; found 21" in start(tmp_path, engine, path).stderr
    java.write_text(f"#!/bin/bash\n{JAVA_17}\n")
    done = start(tmp_path, engine, path, JOB_PORT="1", REST_PORT="2", RPC_PORT="3",
                 MASTER_PORT="2", UI_PORT="3")  # fmt: skip
    assert "found none, and no Maven to fetch them" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_a_port_that_is_taken(engine, tmp_path):
    path = tools(tmp_path, java=JAVA_17)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = start(tmp_path, engine, path, JOB_PORT=port)
    assert f"Expected port {port} to be free; somebody listens there. Run ./stop" in done.stderr


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_the_jars_are_of_the_locked_beam(engine):
    lock = (DEPLOY.parents[1] / "requirements.lock").read_text()
    (version,) = [
        line.split("==")[1] for line in lock.splitlines() if line.startswith("apache-beam")
    ]
    assert f"<version>{version}</version>" in (DEPLOY / engine / "pom.xml").read_text()
