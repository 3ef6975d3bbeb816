"""Submits a compiled spec to Kubeflow Pipelines, and watches the run."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import kfp_server_api
import urllib3
import yaml
from google.protobuf import json_format
from kfp import client as kfp_client
from kfp.pipeline_spec import pipeline_spec_pb2

from models.errors import ConfigError, InputError
from pipeline import console
from pipeline.kubeflow_options import SCHEMES

# Bearer token of the endpoint, if it asks for one.
TOKEN_VARIABLE = "T2REC_KUBEFLOW_TOKEN"

_HEALTH = "/apis/v2beta1/healthz"
_PROBE_SECONDS = 10.0
_SUCCEEDED = "SUCCEEDED"
_ENDED = (_SUCCEEDED, "FAILED", "CANCELED", "SKIPPED")
# Polls that may fail one after the other while a run is watched: the API server may restart.
_MAX_MISSED_POLLS = 5


@dataclasses.dataclass(frozen=True)
class Submission:
    """What is run, and where.

    Attributes:
      endpoint: URL of Kubeflow Pipelines.
      spec: File that `t2rec compile` wrote.
      parameters: Runtime parameters.
      name: Of the pipeline in Kubeflow.
      experiment: What runs are grouped under.
      root: Where artifacts go; "" for the spec's own.
      namespace: Of a Kubeflow with several users; "" for one without.
      poll_seconds: How often the run is asked for its state.
    """

    endpoint: str
    spec: str
    parameters: Mapping[str, str]
    name: str = "t2rec"
    experiment: str = "t2rec"
    root: str = ""
    namespace: str = ""
    poll_seconds: float = 5.0


def read_spec(path: str) -> pipeline_spec_pb2.PipelineSpec:
    """Reads what `t2rec compile` wrote, as Kubeflow reads it.

    Args:
      path: A PipelineSpec (.yaml) or PipelineJob (.json).

    Raises:
      ConfigError: If the file can't be read or is no spec.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        tree = yaml.load(text, yaml.CSafeLoader)  # JSON is YAML, too.
        if isinstance(tree, dict) and "pipelineSpec" in tree:
            tree = tree["pipelineSpec"]
        spec = json_format.ParseDict(tree, pipeline_spec_pb2.PipelineSpec())
    except OSError as error:
        raise ConfigError(
            f"Expected a file as --spec; got {path!r} ({error.strerror}). `t2rec compile` writes "
            "one."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError, json_format.ParseError, TypeError, AttributeError,
            ValueError) as error:  # fmt: skip
        raise ConfigError(
            f"Expected a pipeline spec in {path!r}; it does not parse ({error}). Compile it anew."
        ) from error
    if not spec.root.dag.tasks:
        raise ConfigError(f"Expected tasks in the spec {path!r}; got none. Compile it anew.")
    return spec


def submit(submission: Submission) -> "Run":
    """Uploads the spec, as a new pipeline or a new version, and starts a run of it.

    A spec that was uploaded before is not uploaded again.

    Raises:
      ConfigError: If the spec can't be used or the parameters are not those that it asks for.
      InputError: If the endpoint can't be reached, or refuses something.
    """
    spec = read_spec(submission.spec)
    _check_parameters(spec, submission.parameters)
    _check_root(spec, submission.root)
    with _in_words(submission.endpoint):
        client = _connect(submission)
        text = json.dumps(json_format.MessageToDict(spec), sort_keys=True)
        version = hashlib.sha256(text.encode()).hexdigest()[:12]
        pipeline_id, version_id = _upload(client, submission, text, version)
        experiment = client.create_experiment(
            submission.experiment, namespace=submission.namespace or None
        )
        started = client.run_pipeline(
            experiment.experiment_id,
            f"{submission.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
            params=dict(submission.parameters),
            pipeline_id=pipeline_id,
            version_id=version_id,
            pipeline_root=submission.root or None,
        )
    return Run(client, submission, started.run_id)


class Run:
    """A run in Kubeflow.

    Attributes:
      id: Its id.
      url: Where Kubeflow shows it.
    """

    def __init__(self, client: kfp_client.Client, submission: Submission, run_id: str):
        """Takes over a run that was started."""
        self._client = client
        self._submission = submission
        self._states: dict[str, str] = {}
        self.id = run_id
        self.url = f"{submission.endpoint.rstrip('/')}/#/runs/details/{run_id}"

    def watch(self) -> None:
        """Waits for the end; notes each task that starts, ends or fails.

        Raises:
          InputError: If the run does not succeed, or the endpoint is gone.
        """
        missed = 0
        while True:
            try:
                with _in_words(self._submission.endpoint), _quiet():
                    run = self._client.get_run(self.id)
                missed = 0
            except InputError:
                missed += 1
                if missed > _MAX_MISSED_POLLS:
                    raise
                time.sleep(self._submission.poll_seconds)
                continue
            self._note_changes(run)
            if run.state in _ENDED:
                break
            time.sleep(self._submission.poll_seconds)
        if run.state != _SUCCEEDED:
            raise InputError(
                f"The run ended as {run.state}: {self._reasons(run)}. Its logs are at {self.url}."
            )

    def _note_changes(self, run: kfp_server_api.V2beta1Run) -> None:
        tasks = _tasks(run)
        for task in tasks:
            name, state = task.display_name, task.state or "PENDING"
            if self._states.get(name) != state and state not in ("PENDING",):
                self._states[name] = state
                done = sum(s == _SUCCEEDED for s in self._states.values())
                console.note(f"[{done:2d} done] {name}: {state.lower()}")

    @staticmethod
    def _reasons(run: kfp_server_api.V2beta1Run) -> str:
        failed = [
            f"{task.display_name}: {task.error.message if task.error else 'failed'}"
            for task in _tasks(run)
            if task.state == "FAILED"
        ]
        whole = [run.error.message] if run.error and run.error.message else []
        return "; ".join(whole + failed) or "no reason was given"


def _tasks(run: kfp_server_api.V2beta1Run) -> list[Any]:
    """Lists a run's tasks, without the drivers that Kubeflow runs before each."""
    details = run.run_details.task_details if run.run_details else None
    return [
        task
        for task in details or []
        if task.display_name and not task.display_name.endswith("-driver")
    ]


def _check_parameters(spec: pipeline_spec_pb2.PipelineSpec, parameters: Mapping[str, str]) -> None:
    known = spec.root.input_definitions.parameters
    unknown = sorted(set(parameters) - set(known))
    missing = sorted(n for n, p in known.items() if not p.is_optional and not parameters.get(n))
    if unknown or missing:
        faults = [f"no parameter {name!r} in the spec" for name in unknown]
        faults += [f"nothing for {name!r}" for name in missing]
        raise ConfigError(
            f"Expected the parameters of the spec ({', '.join(sorted(known))}); got "
            f"{'; '.join(faults)}. Give what is missing, or compile the spec anew."
        )


def _check_root(spec: pipeline_spec_pb2.PipelineSpec, root: str) -> None:
    """The compiled commands go by how the bucket is reached, which must not change."""
    if not root:
        return
    compiled = spec.default_pipeline_root.partition("://")[0]
    scheme = root.partition("://")[0]
    if scheme not in SCHEMES or (scheme == "gs") != (compiled == "gs"):
        raise ConfigError(
            f"Expected a --root like that of the spec, {compiled}://…; got {root!r}. Compile the "
            f"spec with --set kubeflow.root={root} to use that one."
        )


def _connect(submission: Submission) -> kfp_client.Client:
    endpoint = submission.endpoint.rstrip("/")
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(
            f"Expected --endpoint http://… or https://…; got {submission.endpoint!r}."
        )
    # Kubeflow's client tries for half a minute, and then says that a name is not known.
    probe = urllib.request.Request(f"{endpoint}{_HEALTH}")
    if token:
        probe.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(probe, timeout=_PROBE_SECONDS) as answer:
        health = answer.read()
    try:
        json.loads(health)
    except ValueError as error:
        raise InputError(
            f"Expected Kubeflow Pipelines at {endpoint}; got a page that is none of its answers, "
            f"perhaps of a login. Give the URL of the API, and a token in {TOKEN_VARIABLE}."
        ) from error
    with _quiet():
        return kfp_client.Client(
            host=endpoint,
            existing_token=token or None,
            namespace=submission.namespace or "kubeflow",
        )


def _upload(
    client: kfp_client.Client, submission: Submission, text: str, version: str
) -> tuple[str, str]:
    """Uploads a spec unless it is there; returns the ids of the pipeline and its version."""
    namespace = submission.namespace or None
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = os.path.join(folder, "spec.yaml")
        pathlib.Path(path).write_text(text, encoding="utf-8")
        # The client's own look-up by name knows no namespaces.
        known = client.list_pipelines(filter=_named(submission.name), namespace=namespace).pipelines
        if not known:
            uploaded = client.upload_pipeline(path, submission.name, namespace=namespace)
            pipeline_id = uploaded.pipeline_id
            console.note(f"uploaded pipeline {submission.name}")
        else:
            pipeline_id = known[0].pipeline_id
            found = client.list_pipeline_versions(pipeline_id, filter=_named(version))
            if found.pipeline_versions:
                console.note(f"version {version} is there already")
                return pipeline_id, found.pipeline_versions[0].pipeline_version_id
        uploaded = client.upload_pipeline_version(path, version, pipeline_id=pipeline_id)
    console.note(f"uploaded version {version}")
    return pipeline_id, uploaded.pipeline_version_id


def _named(name: str) -> str:
    """Spells the filter that finds what is called so."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Kubeflow's client from printing links and warnings."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _in_words(endpoint: str) -> Iterator[None]:
    """Says what an endpoint's refusal means."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise InputError(_refusal(endpoint, error.code, error.reason)) from error
    except kfp_server_api.ApiException as error:
        raise InputError(_refusal(endpoint, error.status, _message(error))) from error
    except (OSError, urllib3.exceptions.HTTPError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"Expected Kubeflow Pipelines at {endpoint}; it can't be reached ({reason}). Check "
            "--endpoint; from outside the cluster, `kubectl port-forward -n kubeflow "
            "svc/ml-pipeline 8888` makes http://localhost:8888 of it."
        ) from error


def _message(error: kfp_server_api.ApiException) -> str:
    """Reads what the API server says of a refusal."""
    try:
        told = json.loads(error.body)
        return str(told.get("message") or told.get("error") or told)
    except (TypeError, ValueError, AttributeError):
        return str(error.reason)


def _refusal(endpoint: str, status: int, reason: str) -> str:
    if status in (401, 403):
        return (
            f"Expected to be let in by {endpoint}; got {status} ({reason}). Put a token that is "
            f"allowed to run pipelines there into {TOKEN_VARIABLE}."
        )
    if status == 404:
        return (
            f"Expected Kubeflow Pipelines 2 at {endpoint}; got 404 ({reason}). Check --endpoint: "
            "behind a gateway it often ends in /pipeline."
        )
    if status and status < 500:
        return f"{endpoint} refused the spec or its parameters ({status}): {reason}."
    return f"{endpoint} failed ({status}): {reason}. Try again, or look at the API server's log."
