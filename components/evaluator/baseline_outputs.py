"""Reads what BaselineTrainer wrote."""

import io
import os
from typing import Any

import numpy as np
import pandas as pd
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.artifacts import FALLBACK_FILE, SKIPPED_FILE, TRAINED_FILE, read_json


class BaselineOutputs:
    """What the baselines say about the test split, and how they did on eval."""

    def __init__(self, channel: list[types.Artifact]):
        """Reads the small files.

        Args:
          channel: The one `Baselines` artifact.
        """
        self._uri = artifact_utils.get_single_uri(channel)
        self.skipped: dict[str, dict[str, str]] = read_json(channel, SKIPPED_FILE)
        self.fallback: dict[str, str] = read_json(channel, FALLBACK_FILE)
        self.trained: dict[str, dict[str, Any]] = read_json(channel, TRAINED_FILE)

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
