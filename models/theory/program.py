"""Runs experiments: cells in processes of their own, rows on disk at once, then a report."""

import concurrent.futures
import dataclasses
import json
import logging
import multiprocessing
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import threadpoolctl

from models.errors import InputError
from models.theory import finished_runs
from models.theory.experiments import NAMES, Experiment
from models.theory.figures import draw
from models.theory.manifolds import DIMENSION
from models.theory.rates import AMBIENT, RATE, WIDTH
from models.theory.results import Results
from models.theory.rivals import COMPARE, LIMITS

_LOG = logging.getLogger("t2rec")

EXPERIMENTS: Mapping[str, Experiment] = dict(
    zip(NAMES, (RATE, AMBIENT, WIDTH, COMPARE, LIMITS, DIMENSION), strict=True)
)
_RUNS_FILE = "runs.csv"
_PACKAGES = ("tensorflow", "tf-keras", "numpy", "scikit-dimension", "scikit-surprise", "matplotlib")


def run_experiments(
    names: Sequence[str], profile: str, out_dir: str, num_jobs: int, runs: Sequence[str] = ()
) -> str:
    """Runs experiments, or what an earlier run has left of them.

    Args:
      names: Keys of `EXPERIMENTS`.
      profile: `quick` or `full`.
      out_dir: Where results go: `NAME.csv`, `NAME.png`, `summary.md`, `versions.json`.
      num_jobs: Processes, each on one thread.
      runs: Roots of finished runs on one data set, to compare on: `runs.csv`.

    Returns:
      The summary: Markdown.

    Raises:
      InputError: If the folder holds results of the other profile, or a root no finished run.
    """
    os.makedirs(out_dir, exist_ok=True)
    _check_profile(out_dir, profile)
    if runs:
        _take_runs(out_dir, finished_runs.read_runs(runs))
    with concurrent.futures.ProcessPoolExecutor(
        num_jobs, multiprocessing.get_context("spawn"), _take_one_thread
    ) as pool:
        for name in names:
            experiment = EXPERIMENTS[name]
            path = os.path.join(out_dir, f"{name}.csv")
            results = Results(path, experiment.keys, experiment.values)
            _run_cells(name, experiment, profile, results, pool)
    return _summarise(out_dir, profile)


def _take_runs(out_dir: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps what finished runs have measured, in place of what was there."""
    path = os.path.join(out_dir, _RUNS_FILE)
    if os.path.exists(path):
        os.remove(path)
    results = Results(path, finished_runs.KEYS, finished_runs.VALUES)
    for row in rows:
        results.add(row)


def _take_one_thread() -> None:
    """Prepares a process: as many threads as processes would only wait for each other."""
    threadpoolctl.threadpool_limits(1)  # NumPy's BLAS is loaded, and reads no variables any more.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = "1"
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _run_cells(
    name: str,
    experiment: Experiment,
    profile: str,
    results: Results,
    pool: concurrent.futures.Executor,
) -> None:
    cells = experiment.cells(profile)
    left = [cell for cell in cells if not results.has(dataclasses.asdict(cell))]
    _LOG.info("%s: %d of %d runs to go", name, len(left), len(cells))
    futures = {pool.submit(experiment.run, cell): cell for cell in left}
    try:
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            results.add({**dataclasses.asdict(futures[future]), **future.result()})
            _LOG.info("%s: %d of %d", name, done, len(left))
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _versions(profile: str) -> dict[str, Any]:
    return {
        "profile": profile,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        **{package: metadata.version(package) for package in _PACKAGES},
    }


def _check_profile(out_dir: str, profile: str) -> None:
    path = os.path.join(out_dir, "versions.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            found = json.load(file).get("profile")
        if found != profile:
            raise InputError(
                f"Expected a folder for results of the {profile} profile; {out_dir} holds those of "
                f"the {found} one. Choose another --out."
            )
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(_versions(profile), indent=2) + "\n")


def _summarise(out_dir: str, profile: str) -> str:
    """Writes figures and the summary of all experiments that the folder holds."""
    parts = [f"# Results of `t2rec theory --profile {profile}`\n"]
    for name, experiment in EXPERIMENTS.items():
        path = os.path.join(out_dir, f"{name}.csv")
        if not os.path.exists(path):
            continue
        results = Results(path, experiment.keys, experiment.values)
        if not results.rows:
            continue
        report = experiment.report(results.rows)
        expected = len(experiment.cells(profile))
        parts.append(f"## {experiment.title} (`{name}`: {len(results.rows)} of {expected} runs)\n")
        parts.append(report.text)
        if report.figure:
            draw(report.figure, os.path.join(out_dir, f"{name}.png"))
            parts.append(f"![{report.figure.title}]({name}.png)\n")
    path = os.path.join(out_dir, _RUNS_FILE)
    if os.path.exists(path):
        results = Results(path, finished_runs.KEYS, finished_runs.VALUES)
        num_runs = len({row["run"] for row in results.rows})
        parts.append(f"## The same comparison in {num_runs} runs of the pipeline\n")
        parts.append(finished_runs.report_runs(results.rows))
    text = "\n".join(parts)
    with open(os.path.join(out_dir, "summary.md"), "w", encoding="utf-8") as file:
        file.write(text)
    return text
