"""Runs the ingestion as a TFX executor."""

import json
import logging
import os
from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.artifacts import SUMMARY_FILE
from components.yelp_example_gen import (
    input_files,
    inputs,
    spec,
    splits,
    staging,
    storage,
    summary,
    tables,
    tallies,
    transforms,
)
from models import errors, features

_STAGING = "staging"
_ALL_VISITS = "all"
_LOG = logging.getLogger("t2rec")

_OUTPUT_KEYS = {
    tables.INTERACTIONS: spec.INTERACTIONS_KEY,
    tables.USERS: spec.USERS_KEY,
    tables.BUSINESSES: spec.BUSINESSES_KEY,
}
_TABLE_SPLITS = {
    tables.INTERACTIONS: features.INTERACTION_SPLITS,
    tables.USERS: (features.ALL,),
    tables.BUSINESSES: (features.ALL,),
}


class Executor(base_beam_executor.BaseBeamExecutor):
    """Turns Yelp's JSON-lines files into TFRecords of interactions, users and businesses."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads the data, writes the outputs and checks what came out.

        Args:
          input_dict: Empty.
          output_dict: `interactions`, `users` and `businesses` (Examples), `rejects` (Rejects).
          exec_properties: `data`, `split_config` (JSON), `repeated_visits`,
            `max_reject_fraction` and `num_review_terms`; the others only tell TFX's cache whether
            the inputs or the code have changed.

        Raises:
          ConfigError: If the split config or the number of terms is not valid.
          InputError: If a file is missing or holds no usable row, if too many lines are rejected,
            or if a split is empty; no output is left then, except the rejects.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        split_config = splits.read_options(exec_properties[spec.SPLIT_CONFIG_KEY])
        num_review_terms = exec_properties[spec.NUM_REVIEW_TERMS_KEY]
        if num_review_terms < 0:
            raise errors.ConfigError(
                "Expected num_review_terms to be how many words of its reviews a business gets at "
                f"most, such as 30, or 0 for none; got {num_review_terms}. Correct it."
            )
        # Making a pipeline hands its options to the filesystems, of which some need them.
        pipeline = self._make_beam_pipeline()
        files = inputs.find_inputs(exec_properties[spec.DATA_KEY], split_config.method)
        examples = {
            table: artifact_utils.get_single_instance(output_dict[key])
            for table, key in _OUTPUT_KEYS.items()
        }
        rejects = artifact_utils.get_single_instance(output_dict[spec.REJECTS_KEY])
        staging_dir = os.path.join(examples[tables.INTERACTIONS].uri, _STAGING)
        split_dirs = {
            table: {
                split: artifact_utils.get_split_uri([_name_splits(artifact, table)], split)
                for split in _TABLE_SPLITS[table]
            }
            for table, artifact in examples.items()
        }
        plan = transforms.Plan(
            files=files,
            split_config=split_config,
            split_dirs=split_dirs,
            rejects_dir=rejects.uri,
            staging_dir=staging_dir,
            num_buckets=staging.count_buckets(
                input_files.expect_contents(files), with_terms=num_review_terms > 0
            ),
            keeps_visits=exec_properties[spec.REPEATED_VISITS_KEY] == _ALL_VISITS,
            num_review_terms=num_review_terms,
        )
        made_dirs = [path for by_split in split_dirs.values() for path in by_split.values()]
        # A run that was killed may have left files of another plan.
        _remove([staging_dir, *made_dirs, rejects.uri])
        for path in (staging_dir, *made_dirs, rejects.uri):
            fileio.makedirs(path)
        try:
            with pipeline:
                _ = pipeline | "IngestFiles" >> transforms.IngestFiles(plan)
            tally = _read_tally(staging_dir)
            results = summary.summarize(tally, files, split_config)
            _write_summary(results, rejects.uri)
            summary.check_summary(results, tally, exec_properties[spec.MAX_REJECT_FRACTION_KEY])
        except BaseException:
            _remove(made_dirs)
            raise
        finally:
            _remove([staging_dir])
        _log_summary(results)


def _name_splits(artifact: types.Artifact, table: str) -> types.Artifact:
    """Records an output's splits and payload format in its properties."""
    artifact.split_names = artifact_utils.encode_split_names(list(_TABLE_SPLITS[table]))
    examples_utils.set_payload_format(artifact, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    return artifact


def _remove(paths: list[str]) -> None:
    """Removes the directories that are there."""
    for path in paths:
        if fileio.exists(path):
            fileio.rmtree(path)


def _read_tally(staging_dir: str) -> tallies.Tally:
    """Reads what the pipeline counted."""
    with storage.open_raw(storage.join(staging_dir, transforms.TALLY_FILE)) as stream:
        return tallies.Tally.from_json(stream.read().decode())


def _write_summary(results: dict[str, Any], rejects_dir: str) -> None:
    """Writes `summary.json`."""
    with fileio.open(os.path.join(rejects_dir, SUMMARY_FILE), "w") as stream:
        stream.write(json.dumps(results, indent=2) + "\n")


def _log_summary(results: dict[str, Any]) -> None:
    """Logs the counts that a reader asks for first."""
    split_sizes = results["split"]["num_interactions"].items()
    _LOG.info(
        "ingested %s interactions (%s) of %s users and %s businesses",
        f"{results['num_interactions']:,}",
        ", ".join(f"{split} {size:,}" for split, size in split_sizes),
        f"{results['num_users']:,}",
        f"{results['num_businesses']:,}",
    )
    _warn_of_shares(results["split"])
    for table in ("users", "businesses"):
        num_unknown = results[f"unknown_{table}"]
        if num_unknown:
            _LOG.info("%s %s are known from reviews only", f"{num_unknown:,}", table)
    for kind, count in results["duplicates"].items():
        if count:
            _LOG.info("dropped %s %s", f"{count:,}", kind.replace("_", " "))
    for table, counts in results["tables"].items():
        if not counts["files"]:
            _LOG.info("no file of %s: they are known by their ids only", table)
        num_rejects = sum(counts["rejected"].values())
        if num_rejects:
            _LOG.warning(
                "rejected %s of %s lines of %s",
                f"{num_rejects:,}",
                f"{counts['lines_read']:,}",
                table,
            )


def _warn_of_shares(split: dict[str, Any]) -> None:
    """Warns of a temporal split that days full of interactions keep far from what was asked."""
    if split["method"] != splits.TEMPORAL:
        return
    sizes = split["num_interactions"]
    wanted = {features.EVAL: split["eval"], features.TEST: split["test"]}
    wanted[features.TRAIN] = 1 - sum(wanted.values())
    for name, share in wanted.items():
        found = sizes[name] / sum(sizes.values())
        if not share / 2 <= found <= share * 2:
            _LOG.warning(
                "%s has %.1f %% of the interactions, not the %.0f %% that were asked for, since a "
                "day goes wholly to one split; split.method=random is free of that",
                name,
                100 * found,
                100 * share,
            )
