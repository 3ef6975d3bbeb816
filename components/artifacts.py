"""TFX artifact types of this pipeline, and the files that several components know."""

import json
import os
from typing import Any

from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils, system_artifacts

METRICS_FILE = "metrics.json"
# Of `Rejects`, of `Page`.
SUMMARY_FILE, PAGE_FILE = "summary.json", "page.json"
# Of `Baselines`.
SKIPPED_FILE, TRAINED_FILE, FALLBACK_FILE = "skipped.json", "trained.json", "fallback.json"
# Of Tuner and of ServingValidator, as TFX's Tuner and InfraValidator name them.
BEST_HYPERPARAMETERS_FILE = "best_hyperparameters.txt"
SERVABLE_FILE, NOT_SERVABLE_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"
# Beside the latter: what is wrong, in words.
REASONS_FILE = "reasons.json"


class Rejects(artifact.Artifact):
    """Holds the input lines that could not be used, and the summary of the ingestion.

    Files: `rejects-*.jsonl` (one object a rejected line: file, byte_offset, reason, line) and
    `summary.json`.
    """

    # Kubeflow wants `namespace.Title`, and TFX's entry point there imports it as a class's path.
    TYPE_NAME = "components.Rejects"
    TYPE_ANNOTATION = system_artifacts.Dataset


class Baselines(artifact.Artifact):
    """Holds what the baselines say about the test split.

    Files: `rating/NAME.parquet` (column `stars`, a row a test interaction, in their order),
    `retrieval/NAME.parquet` (columns `user_row`, `rank`, `business_row`); `trained.json`: by
    `rating` and `retrieval` and name, `eval_loss` and `seconds`; `skipped.json`: likewise the
    names of the baselines that gave nothing, and why; and `fallback.json`: by task, which one is
    in the fallback export.
    """

    TYPE_NAME = "components.Baselines"
    TYPE_ANNOTATION = system_artifacts.Dataset


class Evaluation(artifact.Artifact):
    """Holds metrics of a model or an index as `metrics.json`."""

    TYPE_NAME = "components.Evaluation"
    TYPE_ANNOTATION = system_artifacts.Metrics


class Recommendations(artifact.Artifact):
    """Holds recommendations as `serving.batch_scoring` writes them: Parquet, rejects, a summary."""

    TYPE_NAME = "components.Recommendations"
    TYPE_ANNOTATION = system_artifacts.Dataset


class Report(artifact.Artifact):
    """Holds the metrics of a whole run as `metrics.json`."""

    TYPE_NAME = "components.Report"
    TYPE_ANNOTATION = system_artifacts.Metrics


class Page(artifact.Artifact):
    """Holds a run's report for people: `index.html`, and `page.json` to build it anew from."""

    TYPE_NAME = "components.Page"
    TYPE_ANNOTATION = system_artifacts.Metrics


def read_json(channel: list[artifact.Artifact], name: str) -> Any:
    """Reads a JSON file of an artifact.

    Args:
      channel: The one artifact.
      name: The file's name.
    """
    with fileio.open(os.path.join(artifact_utils.get_single_uri(channel), name)) as file:
        return json.loads(file.read())
