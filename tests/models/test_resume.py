"""Training in processes of its own: killed with SIGKILL, started again, and simply repeated."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

# Trains on the planted data as it lies on disk, and writes what came of it.
_PROGRAM = """
import dataclasses, json, sys
import numpy as np
from models.checkpoints import Checkpoints
from models.options import ModelOptions, TrainingOptions
from models.tables import Bag, EntityTable, Interactions
from models.training import train

told = json.load(open(sys.argv[1]))
arrays = np.load(told["arrays"])
def interactions(name):
    return Interactions(*(arrays[f"{name}_{key}"] for key in ("users", "businesses", "stars")))
rows = len(arrays["business_ids"])
nothing = Bag(np.zeros(0, np.int32), np.zeros(rows + 1, np.int64))
result = train(
    EntityTable(arrays["user_ids"].astype(object), arrays["user_numeric"]),
    EntityTable(
        arrays["business_ids"].astype(object),
        arrays["business_numeric"],
        {"city": arrays["city"]},
        {"categories": Bag(arrays["category"], np.arange(rows + 1)), "attributes": nothing},
        {"city": 4, "categories": 3, "attributes": 1},
    ),
    interactions("train"),
    interactions("eval"),
    ModelOptions(**told["model_options"]),
    TrainingOptions(**told["options"]),
    True,
    Checkpoints(told["checkpoints"], every_seconds=0.05),
)
candidates = result.model.embed_candidates()
queries = result.model.embed_queries(candidates, np.arange(len(arrays["user_ids"])))
np.savez(told["out"], candidates=candidates, queries=queries)
choices = {task: [c.recipe, c.trials, c.best_step, c.num_steps, dataclasses.asdict(c.factors)]
           for task, c in result.choices.items()}
json.dump(choices, open(told["out"] + ".json", "w"))
"""


@pytest.fixture(scope="module")
def launch(planted, tmp_path_factory):
    """Returns a function that starts a training in a process of its own."""
    folder = tmp_path_factory.mktemp("resume")
    businesses = planted.businesses
    arrays = {
        "user_ids": planted.users.ids.astype("S"),
        "user_numeric": planted.users.numeric,
        "business_ids": businesses.ids.astype("S"),
        "business_numeric": businesses.numeric,
        "city": businesses.categorical["city"],
        "category": businesses.bags["categories"].values,
    }
    for name in ("train", "eval"):
        split = getattr(planted, name)[:800]
        arrays[f"{name}_users"], arrays[f"{name}_businesses"] = split.user_rows, split.business_rows
        arrays[f"{name}_stars"] = split.stars
    np.savez(folder / "arrays.npz", **arrays)

    def start(name: str, checkpoints: str) -> subprocess.Popen:
        told = {
            "arrays": str(folder / "arrays.npz"),
            "model_options": {
                "embedding_dim": 8,
                "rating_dim": 4,
                "taste_dim": 2,
                "tower_widths": [8],
                "factor_dim": 2,
                "temperature": "auto",
                "history_power": 0.5,
                "user_embedding": True,
                "query_covariates": 0.3,
                "candidate_covariates": 0.3,
                "id_dropout": 0.1,
            },
            "options": {
                "rating_batch_size": 128,
                "retrieval_batch_size": 32,
                "rating_epochs": 1,
                "retrieval_epochs": 1,
                "min_steps": 120,
                "retrieval_learning_rate": 6e-3,
                "num_evaluations": 3,
                "num_folds": 2,
                "tuning_seconds": 1e6,
            },
            "checkpoints": checkpoints,
            "out": str(folder / f"{name}.npz"),
        }
        (folder / f"{name}.told").write_text(json.dumps(told), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder / f"{name}.told")],
            stderr=subprocess.PIPE,
            text=True,
        )

    def outcome(name: str):
        with np.load(folder / f"{name}.npz") as arrays:
            found = dict(arrays)
        return found, json.loads((folder / f"{name}.npz.json").read_text(encoding="utf-8"))

    return start, outcome


def _wait(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-4_000:]


def _kill_when(process: subprocess.Popen, folder, prefix: str) -> None:
    """Kills a training once a run whose name begins so has a checkpoint in the middle."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()[-4_000:]
        for path in folder.glob(f"*/{prefix}*-steps.json"):
            step = json.loads(path.read_text(encoding="utf-8"))["record"]["progress"]["step"]
            if 10 < step < 110:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return
        time.sleep(0.005)
    raise AssertionError(f"no checkpoint of {prefix} within the time")


def test_a_killed_training_comes_to_the_same_model(launch, tmp_path):
    """Also a proof that a seed gives equal figures in fresh processes."""
    start, outcome = launch
    whole = start("whole", checkpoints="")
    folder = tmp_path / "checkpoints"
    # In the second of two trials, and in the last training of all.
    for stage in ("retrieval-", "retrieval-final"):
        _kill_when(start("killed", str(folder)), folder, stage)
    _wait(start("killed", str(folder)))
    _wait(whole)
    expected, expected_choices = outcome("whole")
    found, choices = outcome("killed")
    assert choices == expected_choices
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
