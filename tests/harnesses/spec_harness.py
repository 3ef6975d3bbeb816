"""Runs a compiled pipeline spec without a cluster: every container as a process of its own.

Does what Kubeflow's backend does: its compiler looks at names, its drivers make each task's
ExecutorInput, its launcher copies inputs out of the bucket to folders of the container, puts the
input into the command, runs it, reads the output file and copies outputs into the bucket. So a
container sees its inputs, their metadata as JSON, and nothing else.
"""

import concurrent.futures
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Mapping

import yaml
from google.protobuf import json_format, struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

# Of Argo's DAG tasks and templates.
_ARGO_NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?")


@dataclasses.dataclass
class Finished:
    """A task that has run.

    Attributes:
      artifacts: Its outputs by key.
      log: What it printed.
    """

    artifacts: dict[str, pipeline_spec_pb2.RuntimeArtifact]
    log: str


def _mounted(folder: pathlib.Path, uri: str) -> pathlib.Path:
    """Returns where a URI lies under a folder, as the launcher lays buckets out."""
    return folder / uri.replace("://", "/")


def _all(lists) -> list[pipeline_spec_pb2.RuntimeArtifact]:
    return [artifact for listed in lists.values() for artifact in listed.artifacts]


class TaskFailed(Exception):
    """A container ended with another code than 0; the message ends with its output."""


class SpecHarness:
    """A spec, and where it runs."""

    def __init__(self, path: pathlib.Path, folder: pathlib.Path, environment: Mapping[str, str]):
        """Reads a spec strictly: nothing that Kubeflow's proto does not know may be in it.

        Args:
          path: A compiled PipelineJob (.json) or PipelineSpec (.yaml).
          folder: Where artifacts and working directories are made.
          environment: All environment variables of the containers.
        """
        if path.suffix == ".json":
            job = json_format.ParseDict(
                json.loads(path.read_text()), pipeline_spec_pb2.PipelineJob()
            )
            tree = json_format.MessageToDict(job.pipeline_spec)
        else:
            tree = yaml.safe_load(path.read_text())
        self.spec = json_format.ParseDict(tree, pipeline_spec_pb2.PipelineSpec())
        self.executors = json_format.ParseDict(
            json_format.MessageToDict(self.spec.deployment_spec),
            pipeline_spec_pb2.PipelineDeploymentConfig(),
        ).executors
        if self.spec.schema_version != "2.1.0":
            raise AssertionError("Kubeflow's backend takes schema version 2.1.0 only")
        self.folder = folder
        self.environment = dict(environment)
        self.finished: dict[str, Finished] = {}

    def run(self, parameters: Mapping[str, str], jobs: int = 2) -> None:
        """Runs the whole spec.

        Args:
          parameters: Runtime parameters.
          jobs: How many tasks may run at a time.
        """
        known = self.spec.root.input_definitions.parameters
        unknown = set(parameters) - set(known)
        missing = [n for n, p in known.items() if n not in parameters and not p.is_optional]
        if unknown or missing:
            raise AssertionError(f"unknown parameters {unknown}, missing {missing}")
        values = {n: p.default_value for n, p in known.items() if p.HasField("default_value")}
        values |= {name: struct_pb2.Value(string_value=v) for name, v in parameters.items()}
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            self._run_dag(self.spec.root.dag, values, pool)

    def _run_dag(self, dag, values, pool) -> None:
        """Runs tasks as soon as all that they depend on has succeeded; exit handlers last."""
        handlers = {
            name: task
            for name, task in dag.tasks.items()
            if task.trigger_policy.strategy
            == pipeline_spec_pb2.PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED
        }
        waiting = {name: task for name, task in dag.tasks.items() if name not in handlers}
        running: dict[concurrent.futures.Future, str] = {}
        done: set[str] = set()
        failure: Exception | None = None
        while waiting or running:
            if failure and not running:
                break
            ready = [n for n, t in waiting.items() if not self._dependencies(t) - done]
            assert failure or ready or running, f"tasks wait for each other: {sorted(waiting)}"
            for name in () if failure else ready:
                task = waiting.pop(name)
                component = self.spec.components[task.component_ref.name]
                assert _ARGO_NAME.fullmatch(name), f"Argo takes no task {name!r}"
                if component.HasField("dag"):
                    inner = self._parameters(task, component, values, None)
                    # A DAG takes no slot: it runs in this thread, and is alone in its parent.
                    try:
                        self._run_dag(component.dag, inner, pool)
                        done.add(name)
                    except TaskFailed as error:
                        failure = error
                else:
                    running[pool.submit(self._run_task, name, task, values)] = name
            if running:
                ended, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in ended:
                    name = running.pop(future)
                    try:
                        self.finished[name] = future.result()
                        done.add(name)
                    except TaskFailed as error:
                        failure = failure or error
        status = {"state": "FAILED" if failure else "SUCCEEDED"}
        if failure:
            status["error"] = {"message": str(failure)[:1000]}
        for name, task in handlers.items():
            self.finished[name] = self._run_task(name, task, values, status)
        if failure:
            raise failure

    @staticmethod
    def _dependencies(task) -> set[str]:
        producers = {a.task_output_artifact.producer_task for a in task.inputs.artifacts.values()}
        return {*task.dependent_tasks, *producers}

    @staticmethod
    def _parameters(task, component, values, status) -> dict[str, struct_pb2.Value]:
        """What a task's parameters are; those of the DAG are all that it sees."""
        definitions = component.input_definitions.parameters
        found = {}
        for name, given in task.inputs.parameters.items():
            assert name in definitions, f"{task.task_info.name} declares no parameter {name}"
            if given.HasField("component_input_parameter"):
                found[name] = values[given.component_input_parameter]
            elif given.HasField("task_final_status"):
                found[name] = struct_pb2.Value()
                json_format.ParseDict(status, found[name].struct_value)
            else:
                found[name] = given.runtime_value.constant
        return found

    def _run_task(self, name, task, values, status=None) -> Finished:
        component = self.spec.components[task.component_ref.name]
        executor = self.executors[component.executor_label]
        assert executor.HasField("container"), f"{name}: Kubeflow runs no resolver"
        place = self.folder / "containers" / name
        place.mkdir(parents=True)
        given = pipeline_spec_pb2.ExecutorInput()
        for key, value in self._parameters(task, component, values, status).items():
            given.inputs.parameter_values[key].CopyFrom(value)
        for key, source in task.inputs.artifacts.items():
            link = source.task_output_artifact
            produced = self.finished[link.producer_task].artifacts[link.output_artifact_key]
            given.inputs.artifacts[key].artifacts.add().CopyFrom(produced)
        for key, definition in component.output_definitions.artifacts.items():
            artifact = given.outputs.artifacts[key].artifacts.add()
            artifact.name = f"{name}/{key}"
            artifact.type.CopyFrom(definition.artifact_type)
            artifact.metadata.CopyFrom(definition.metadata)
            artifact.uri = f"{self.spec.default_pipeline_root}/{name}/{key}"
        output_file = place / "outputs" / "output_metadata.json"
        given.outputs.output_file = str(output_file)
        text = json_format.MessageToJson(given)
        command = [
            part.replace("{{$}}", text)
            for part in (*executor.container.command, *executor.container.args)
        ]
        workdir, mounts = place / "workdir", place / "mounts"
        workdir.mkdir()
        for artifact in _all(given.inputs.artifacts):
            source = self.open(artifact)
            if source.exists():
                shutil.copytree(source, _mounted(mounts, artifact.uri), dirs_exist_ok=True)
        done = subprocess.run(
            command, cwd=workdir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**self.environment, "HOME": str(workdir), "T2REC_MOUNTS": str(mounts)},
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise TaskFailed(f"{name} ended with {done.returncode}: {done.stdout[-6000:]}")
        for artifact in _all(given.outputs.artifacts):
            written = _mounted(mounts, artifact.uri)
            if written.exists():
                shutil.copytree(written, self.open(artifact))
        return Finished(self._collect(given, output_file), done.stdout)

    def open(self, artifact: pipeline_spec_pb2.RuntimeArtifact) -> pathlib.Path:
        """Returns where the bucket holds an artifact.

        Args:
          artifact: Output of a task.
        """
        return _mounted(self.folder / "bucket", artifact.uri)

    @staticmethod
    def _collect(given, output_file) -> dict[str, pipeline_spec_pb2.RuntimeArtifact]:
        """Reads the output file as the launcher does; types come back as their titles."""
        told = pipeline_spec_pb2.ExecutorOutput()
        if output_file.exists():
            json_format.Parse(output_file.read_text(), told)
        found = {}
        for key, listed in given.outputs.artifacts.items():
            (artifact,) = listed.artifacts
            if key in told.artifacts and told.artifacts[key].artifacts:
                (reported,) = told.artifacts[key].artifacts
                artifact.uri = reported.uri or artifact.uri
                artifact.metadata.update(json_format.MessageToDict(reported.metadata))
            title = yaml.safe_load(artifact.type.instance_schema)["title"]
            artifact.type.Clear()
            artifact.type.schema_title = title
            found[key] = artifact
        return found
