"""Trains in a process of its own on tables that lie on disk, and writes what came of it."""

import dataclasses
import json
import logging
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# What is open to eval: three temperatures.
MODEL_OPTIONS = {
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
}
TRAINING_OPTIONS = {
    "rating_batch_size": 128,
    "retrieval_batch_size": 32,
    "rating_epochs": 1,
    "retrieval_epochs": 1,
    "min_steps": 120,
    "retrieval_learning_rate": 6e-3,
    "num_evaluations": 3,
    "num_folds": 2,
    "tuning_seconds": 1e6,
}


class TrainingProcesses:
    """Starts trainings on one data set."""

    def __init__(self, folder: pathlib.Path, planted, num_ratings: int = 800):
        """Writes the tables.

        Args:
          folder: Where everything lies.
          planted: `tests.models.conftest.Planted`.
          num_ratings: Of each split, at most.
        """
        self._folder = folder
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
            split = getattr(planted, name)[:num_ratings]
            arrays[f"{name}_users"] = split.user_rows
            arrays[f"{name}_businesses"] = split.business_rows
            arrays[f"{name}_stars"] = split.stars
        np.savez(folder / "arrays.npz", **arrays)

    def start(
        self,
        name: str,
        checkpoints: str = "",
        model_options: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        devices: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen:
        """Starts a training.

        Args:
          name: Of its outcome.
          checkpoints: Where it is kept.
          model_options: In place of some of `MODEL_OPTIONS`.
          options: In place of some of `TRAINING_OPTIONS`.
          devices: How many devices TensorFlow is to see; processors, cut up.
          environment: Added to this process's.
        """
        told = {
            "arrays": str(self._folder / "arrays.npz"),
            "model_options": {**MODEL_OPTIONS, **(model_options or {})},
            "options": {**TRAINING_OPTIONS, **(options or {})},
            "checkpoints": checkpoints,
            "devices": devices,
            "out": str(self._folder / f"{name}.npz"),
        }
        path = self._folder / f"{name}.told"
        path.write_text(json.dumps(told), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-m", "tests.harnesses.training_process", str(path)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def outcome(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reads the embeddings and the choices of a training that has ended."""
        with np.load(self._folder / f"{name}.npz") as arrays:
            found = dict(arrays)
        return found, json.loads((self._folder / f"{name}.npz.json").read_text(encoding="utf-8"))


def cluster_environment(index: int, ports: Sequence[int]) -> dict[str, str]:
    """Names a cluster of workers on this machine, as TensorFlow wants to be told.

    Args:
      index: Which of them the process is.
      ports: One a worker.
    """
    told = {
        "cluster": {"worker": [f"localhost:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    }
    return {"TF_CONFIG": json.dumps(told)}


def wait(process: subprocess.Popen) -> None:
    """Waits for a training that is to succeed."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-4_000:]


def main(path: str) -> None:
    """Trains as told."""
    from models import replicas

    logging.basicConfig(level=logging.INFO)
    with open(path, encoding="utf-8") as file:
        told = json.load(file)
    from models.options import ModelOptions, TrainingOptions

    options = TrainingOptions(**told["options"])
    if told["devices"] > 1:
        import tensorflow as tf

        processor = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(told["devices"])]
        tf.config.set_logical_device_configuration(processor, parts)
    with replicas.create_strategy(options.distribute).scope():
        _train(told, ModelOptions(**told["model_options"]), options)


def _train(told: dict[str, Any], model_options, options) -> None:
    from models.checkpoints import Checkpoints
    from models.tables import Bag, EntityTable, Interactions
    from models.training import train

    arrays = np.load(told["arrays"])

    def interactions(name: str) -> Interactions:
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
        model_options,
        options,
        True,
        Checkpoints(told["checkpoints"], every_seconds=0.05),
    )
    candidates = result.model.embed_candidates()
    queries = result.model.embed_queries(candidates, np.arange(len(arrays["user_ids"])))
    np.savez(told["out"], candidates=candidates, queries=queries)
    choices = {
        task: [c.recipe, c.trials, c.best_step, c.num_steps, dataclasses.asdict(c.factors)]
        for task, c in result.choices.items()
    }
    with open(told["out"] + ".json", "w", encoding="utf-8") as file:
        json.dump(choices, file)


if __name__ == "__main__":
    main(sys.argv[1])
