"""Trains the two towers and exports them."""

from typing import Any

from tfx.dsl.components.base import base_executor

from components.trainer import cluster, work
from models.options import MULTI_WORKER, TrainingOptions


class Executor(base_executor.BaseExecutor):
    """Trains on the train split, chooses on eval, refits, and writes a SavedModel."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: work.Artifacts,
        output_dict: work.Artifacts,
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains and exports: see `work.train_and_export`."""
        self._log_startup(input_dict, output_dict, exec_properties)
        options = TrainingOptions.model_validate_json(exec_properties["training_options"])
        produce = cluster.lead if options.distribute == MULTI_WORKER else work.train_and_export
        produce(input_dict, output_dict, exec_properties)
