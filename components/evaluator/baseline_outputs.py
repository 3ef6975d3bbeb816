"""Reads what BaselineTrainer wrote."""

import io
import json
import os
from typing import Any

import numpy as np
import pandas as pd
from tfx.dsl.io import fileio


class BaselineOutputs:
    """What the baselines say about the test split, and how they did on eval."""

    def __init__(self, uri: str):
        """Reads the small files.

        Args:
          uri: Folder of a `Baselines` artifact.
        """
        self._uri = uri
        self.skipped: dict[str, dict[str, str]] = read_json(uri, "skipped.json")
        self.fallback: dict[str, str] = read_json(uri, "fallback.json")
        self.trained: dict[str, dict[str, Any]] = read_json(uri, "trained.json")

    def eval_losses(self, task: str) -> dict[str, float]:
        """Returns each baseline's loss on eval, `rating` or `retrieval`."""
        return {name: told["eval_loss"] for name, told in self.trained[task].items()}

    def ratings(self) -> dict[str, np.ndarray]:
        """Reads the predicted stars of the test interactions, by baseline."""
        return {
            name: self._columns("rating", name, "stars")["stars"] for name in self.trained["rating"]
        }

    def lists(self) -> dict[str, np.ndarray]:
        """Reads the lists of the test users, `[num_users, k]`, by baseline."""
        lists = {}
        for name in self.trained["retrieval"]:
            columns = self._columns("retrieval", name, "rank", "business_row")
            if len(columns["rank"]):
                lists[name] = columns["business_row"].reshape(-1, int(columns["rank"].max()))
        return lists

    def _columns(self, task: str, name: str, *columns: str) -> dict[str, np.ndarray]:
        with fileio.open(os.path.join(self._uri, task, f"{name}.parquet"), "rb") as file:
            frame = pd.read_parquet(io.BytesIO(file.read()), columns=list(columns))
        return {column: frame[column].to_numpy() for column in columns}


def read_json(uri: str, name: str) -> dict[str, Any]:
    """Reads a JSON file of an artifact."""
    with fileio.open(os.path.join(uri, name)) as file:
        return json.loads(file.read())
