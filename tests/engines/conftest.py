"""A real Flink or Spark, started by the scripts of pipeline/deploy; only where it is asked for.

`make flink-test` and `make spark-test` set T2REC_TEST_ENGINE: the first start fetches hundreds of
megabytes of jars.
"""

import dataclasses
import os
import pathlib
import signal
import stat
import subprocess
import sys

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from pipeline import beam_engines, config, local_runner, synth
from pipeline.root import Root

ROOT = pathlib.Path(__file__).parents[2]
VARIABLE = "T2REC_TEST_ENGINE"
PORTS = {"flink": 8099, "spark": 8199}
# Of a pipeline that is soon at its end.
SETTINGS = (
    "training.tuning_seconds=0", "training.rating_epochs=2", "training.retrieval_epochs=4",
    "training.min_steps=50", "training.num_evaluations=2",
    "baselines.rating=[global_mean]", "baselines.retrieval=[popularity]",
    "gate.rating_baseline=global_mean", "gate.slices=[]",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Running:
    """An engine that runs on this machine.

    Attributes:
      name: `flink` or `spark`.
      state: Folder with its process ids and logs.
      worker: Program that it starts Python workers with.
    """

    name: str
    state: pathlib.Path
    worker: pathlib.Path

    def url(self, parallelism: int = 2) -> str:
        """What `--beam` is given."""
        port = PORTS[self.name]
        return f"{self.name}://localhost:{port}?worker={self.worker}&parallelism={parallelism}"

    def beam_args(self, parallelism: int = 2) -> list[str]:
        """The options of that."""
        return beam_engines.Engine.from_url(self.url(parallelism)).beam_args()

    def jobs(self) -> list[int]:
        """Lists the states of all jobs since it was started."""
        with grpc.insecure_channel(f"localhost:{PORTS[self.name]}") as channel:
            service = beam_job_api_pb2_grpc.JobServiceStub(channel)
            answer = service.GetJobs(beam_job_api_pb2.GetJobsRequest())
        return [job.state for job in answer.job_info]

    def kill(self, process: str) -> None:
        """Kills a process of the engine and its children at once."""
        pid = int((self.state / f"{process}.pid").read_text())
        os.killpg(pid, signal.SIGKILL)

    def python_workers(self) -> list[int]:
        """Lists the process ids of its Python workers."""
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"pipeline.beam_worker" in words:
                    found.append(int(folder.name))
        return found


def script(engine: str, name: str, state: pathlib.Path) -> None:
    done = subprocess.run(
        [ROOT / "pipeline" / "deploy" / engine / name, state],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr


@pytest.fixture
def engine(tmp_path_factory):
    """A fresh engine: a test may have killed half of the one before."""
    name = os.environ.get(VARIABLE)
    if name not in PORTS:
        pytest.skip(f"runs where {VARIABLE} is flink or spark (make flink-test, make spark-test)")
    state = ROOT / ".engines" / name
    worker = tmp_path_factory.mktemp("worker") / "worker"
    worker.write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH={ROOT} PYTHONWARNINGS=ignore TF_USE_LEGACY_KERAS=1\n"
        f'exec {sys.executable} -m pipeline.beam_worker "$@"\n'
    )
    worker.chmod(worker.stat().st_mode | stat.S_IXUSR)
    script(name, "stop", state)
    script(name, "start", state)
    yield Running(name, state, worker)
    script(name, "stop", state)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> pathlib.Path:
    """Generated reviews, in several files so that there is something to spread."""
    if os.environ.get(VARIABLE) not in PORTS:
        pytest.skip("no engine")
    folder = tmp_path_factory.mktemp("data")
    synth.generate(str(folder), int(os.environ.get("T2REC_TEST_REVIEWS", "100000")), seed=1)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> pathlib.Path:
    """Root of a run, hardly trained, whose export is there to be asked."""
    if os.environ.get(VARIABLE) not in PORTS:
        pytest.skip("no engine")
    folder = tmp_path_factory.mktemp("model")
    synth.generate(str(folder / "data"), 4_000, seed=1)
    settings = config.load_config(None, [*SETTINGS, "evaluation.native_rows=0"])
    root = Root(str(folder / "root"))
    report = local_runner.run(settings, str(folder / "data"), root)
    assert report["blessing"]["blessed"]
    return folder / "root"
