"""Fits the baselines and writes what they say about the test split."""

import dataclasses
import json
import logging
import os
import time
from typing import Any

import numpy as np
import pandas as pd
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import entity_tables, examples
from components.artifacts import FALLBACK_FILE, SKIPPED_FILE, TRAINED_FILE
from models import features
from models.baselines import fallback, registry
from models.baselines.attempts import Attempted, Limits, Skipped, attempt
from models.baselines.choosing import of_some_users
from models.baselines.global_mean import GlobalMean
from models.baselines.interface import BaselineData, Servable
from models.baselines.popularity import Popularity
from models.evaluation import RetrievalEvaluation
from models.measurements import CUT_OFFS
from models.slices import Known

_LOG = logging.getLogger("t2rec")


class Executor(base_executor.BaseExecutor):
    """Fits each baseline on what the model learns from, and applies it to the test split."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes what `components.artifacts.Baselines` tells, and the fallback.

        Args:
          input_dict: See `component.BaselineTrainerSpec`.
          output_dict: `baselines`, and `fallback`, the best that can be served as a SavedModel.
          exec_properties: `options`, `pipeline.config.Baselines` as JSON; `seed`; `refit`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        options = json.loads(exec_properties["options"])
        limits = Limits(options["max_seconds"], 1e9 * options["max_memory_gb"])
        star = examples.StarSchema(
            input_dict["interactions"], input_dict["users"], input_dict["businesses"]
        )
        users, businesses = entity_tables.read_both(input_dict)
        splits = star.read_splits(bool(exec_properties["refit"]))
        data = BaselineData(
            fitted=splits.fitted,
            train=splits.train,
            held_out=splits.held_out,
            users=users,
            businesses=businesses,
            seed=exec_properties["seed"],
            tuning_seconds=options["tuning_seconds"],
        )
        test = star.read(features.TEST)
        known = Known.from_interactions(data.fitted, data.num_users, data.num_businesses)
        protocol = RetrievalEvaluation(test, data.fitted, known)

        def rate(model) -> np.ndarray:
            return model.rate(test.user_rows, test.business_rows)

        def recommend(model) -> np.ndarray:
            return model.recommend(protocol.users, max(CUT_OFFS), protocol.seen)

        # How far EASE and others are to be pulled to zero goes by the number of users: all choose.
        data_of = {"rating": of_some_users(data), "retrieval": data}
        uri = artifact_utils.get_single_uri(output_dict["baselines"])
        best: dict[str, Attempted] = {}
        skipped: dict[str, dict[str, str]] = {"rating": {}, "retrieval": {}}
        trained: dict[str, dict[str, dict[str, float]]] = {"rating": {}, "retrieval": {}}
        for task, places, apply, lay_out in (
            ("rating", registry.RATING, rate, lambda stars: pd.DataFrame({"stars": stars})),
            ("retrieval", registry.RETRIEVAL, recommend, lambda x: _long_form(protocol.users, x)),
        ):
            for name in options[task]:
                started = time.monotonic()
                if task == "rating" and name != "global_mean" and data.fitted.rated_alike:
                    found: Attempted | Skipped = Skipped(
                        f"all training stars are {data.fitted.stars[0]:g}: the mean is all there is"
                    )
                else:
                    found = attempt(places[name], data_of[task], limits, apply)
                if isinstance(found, Skipped):
                    _LOG.warning("%s is left out: %s", name, found.reason)
                    skipped[task][name] = found.reason
                    continue
                seconds = time.monotonic() - started
                _LOG.info("fitted %s in %.1f s", name, seconds)
                trained[task][name] = {"eval_loss": found.eval_loss, "seconds": round(seconds, 3)}
                _write(lay_out(found.output), uri, task, name)
                if isinstance(found.model, Servable) and (
                    task not in best or found.eval_loss < best[task].eval_loss
                ):
                    best[task] = dataclasses.replace(found, output=name)
        # There is a fallback even where every baseline was skipped.
        models: dict[str, Servable] = {
            "rating": GlobalMean(data.fitted),
            "retrieval": Popularity(data.fitted, data.num_businesses),
        }
        models |= {task: found.model for task, found in best.items()}
        served = {"rating": "global_mean", "retrieval": "popularity"}
        served |= {task: found.output for task, found in best.items()}
        model = artifact_utils.get_single_instance(output_dict["fallback"])
        fallback.save(data, **models, path=path_utils.serving_model_dir(model.uri))
        for name, content in (
            (SKIPPED_FILE, skipped), (TRAINED_FILE, trained), (FALLBACK_FILE, served)
        ):  # fmt: skip
            io_utils.write_string_file(os.path.join(uri, name), json.dumps(content, indent=2))


def _long_form(users: np.ndarray, ranked: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({
        "user_row": np.repeat(users, ranked.shape[1]),
        "rank": np.tile(np.arange(1, ranked.shape[1] + 1, dtype=np.int16), len(users)),
        "business_row": ranked.ravel(),
    })


def _write(frame: pd.DataFrame, uri: str, task: str, name: str) -> None:
    folder = os.path.join(uri, task)
    fileio.makedirs(folder)
    with fileio.open(os.path.join(folder, f"{name}.parquet"), "wb") as file:
        file.write(frame.to_parquet(index=False))
