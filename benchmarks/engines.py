"""What an engine costs: ingestion on DirectRunner, and on Flink with one and two workers.

Start it first (`pipeline/deploy/flink/start`), on a machine that does nothing else. CPU seconds are
those of all processes that take part; Flink counts the bytes between its tasks.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import tempfile
import time
import urllib.request

_TICKS = os.sysconf("SC_CLK_TCK")


def main(argv: list[str]) -> None:
    """Measures and prints a line a runner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=int, default=300_000)
    parser.add_argument("--engine", default="flink://localhost:8099")
    parser.add_argument("--state", type=pathlib.Path, default=pathlib.Path(".engines/flink"))
    parser.add_argument("--rest", default="http://localhost:8081")
    args = parser.parse_args(argv)
    # What is imported here would count as memory of whatever is started later.
    from models.errors import InputError
    from pipeline import beam_engines

    try:
        beam_engines.Engine.from_url(args.engine).check_reachable()
    except InputError as error:
        print(f"left out: {error}", flush=True)
        return
    from pipeline import synth

    with tempfile.TemporaryDirectory(prefix="t2rec-engines-") as folder:
        root = pathlib.Path(folder)
        synth.generate(str(root / "data"), args.reviews, seed=1)
        runs = {"DirectRunner": []}
        for workers in (1, 2):
            joint = "&" if "?" in args.engine else "?"
            url = f"{args.engine}{joint}parallelism={workers}"
            runs[f"Flink, {workers} at a time"] = beam_engines.Engine.from_url(url).beam_args()
        for name, beam_args in runs.items():
            cpu, start = _cpu_seconds(args.state), time.perf_counter()
            _ingest(root / "data", root / name, beam_args)
            seconds = time.perf_counter() - start
            line = f"{name:20} {seconds:7.1f} s, {_cpu_seconds(args.state) - cpu:7.1f} CPU s"
            if beam_args:
                line += f", {_shuffled_bytes(args.rest):,} bytes between tasks"
            print(line, flush=True)


def _ingest(data: pathlib.Path, out: pathlib.Path, beam_args: list[str]) -> None:
    from tfx.dsl.components.base import base_beam_executor
    from tfx.types import standard_artifacts

    from components import artifacts
    from components.yelp_example_gen import executor, spec

    keys = (spec.INTERACTIONS_KEY, spec.USERS_KEY, spec.BUSINESSES_KEY)
    outputs = {key: [standard_artifacts.Examples()] for key in keys}
    outputs[spec.REJECTS_KEY] = [artifacts.Rejects()]
    for key, (artifact,) in outputs.items():
        artifact.uri = str(out / key)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(out / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do({}, outputs, {
        spec.DATA_KEY: str(data),
        spec.SPLIT_CONFIG_KEY: "{}",
        spec.REPEATED_VISITS_KEY: "latest",
        spec.MAX_REJECT_FRACTION_KEY: 0.01,
        spec.NUM_REVIEW_TERMS_KEY: 0,
    })  # fmt: skip


def _cpu_seconds(state: pathlib.Path) -> float:
    """Adds up what this process, the engine's and its workers, also those that ended, have used."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    groups = {int(file.read_text()) for file in state.glob("*.pid")}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) in groups:
                # utime, stime and those of children that were waited for.
                total += sum(map(int, fields[11:15])) / _TICKS
    return total


def _shuffled_bytes(rest: str) -> int:
    """Asks Flink how many bytes the tasks of its newest job sent to each other."""

    def ask(path: str) -> dict:
        with urllib.request.urlopen(f"{rest}{path}", timeout=10) as answer:
            return json.load(answer)

    newest = max(ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
    return sum(v["metrics"]["write-bytes"] for v in ask(f"/jobs/{newest['jid']}")["vertices"])
