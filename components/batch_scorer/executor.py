"""Scores users with the model that was just pushed."""

import logging
import os
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.pusher.versions import EXACT_MODEL, SCANN_MODEL
from serving import batch_scoring, questions

_LOG = logging.getLogger("t2rec")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the batch scoring job of `t2rec score` on the pushed model."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Scores, or records that there was no model to score with.

        Args:
          input_dict: `pushed_model`.
          output_dict: `recommendations`.
          exec_properties: `users`, `k`, `exclude_seen` and `approximate`; the others only tell
            TFX's cache whether the users or the code have changed.

        Raises:
          InputError: If there are no users, or the pushed model is not there any more.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
        written = artifact_utils.get_single_instance(output_dict["recommendations"])
        is_pushed = pushed.get_int_custom_property("pushed")
        written.set_int_custom_property("scored", is_pushed)
        if not is_pushed:
            _LOG.warning("not scored: nothing was pushed")
            return
        model = os.path.join(
            pushed.get_string_custom_property("pushed_destination"),
            SCANN_MODEL if exec_properties["approximate"] else EXACT_MODEL,
            pushed.get_string_custom_property("pushed_version"),
        )
        counts = batch_scoring.score_users(
            model,
            exec_properties["users"],
            written.uri,
            questions.Filters(
                k=exec_properties["k"], exclude_seen=bool(exec_properties["exclude_seen"])
            ),
            PipelineOptions(self._beam_pipeline_args),
        )
        _LOG.info("%s", ", ".join(f"{name} {count:,}" for name, count in counts.items()))
