"""What the compiled spec says beyond what TFX writes by itself."""

import json

import pytest
import yaml

from models.errors import ConfigError
from pipeline import config, kubeflow_runner


def compiled(tmp_path, *settings: str) -> dict:
    path = tmp_path / "spec.yaml"
    kubeflow_runner.compile_spec(config.load_config(None, settings), "image:1", str(path))
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def tasks_of(spec: dict) -> dict:
    return spec["components"]["tfx-dag"]["dag"]["tasks"]


def container(spec: dict, task: str) -> dict:
    return spec["deploymentSpec"]["executors"][f"{task}_executor"]["container"]


def test_resources_by_node(tmp_path):
    spec = compiled(
        tmp_path,
        "kubeflow.resources={default: {cpu: 1.5, memory_gb: 4}, Trainer: {cpu: 8, memory_gb: 32, "
        "accelerator: nvidia.com/gpu, accelerators: 1}, StatisticsGen.users: {memory_gb: 2}}",
    )
    assert container(spec, "Pusher")["resources"] == {"cpuLimit": 1.5, "memoryLimit": 4.0}
    assert container(spec, "Trainer")["resources"] == {
        "cpuLimit": 8.0,
        "memoryLimit": 32.0,
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    assert container(spec, "StatisticsGen-users")["resources"] == {"memoryLimit": 2.0}


def test_cache_and_retries_by_task(tmp_path):
    spec = compiled(tmp_path, "kubeflow.uncached=[Pusher]", "kubeflow.retries=3")
    for name, task in tasks_of(spec).items():
        assert task["cachingOptions"].get("enableCache", False) is (name != "Pusher"), name
        assert task["retryPolicy"] == {
            "maxRetryCount": 3.0,
            "backoffDuration": "30s",
            "backoffFactor": 2.0,
        }
    without = tasks_of(compiled(tmp_path, "kubeflow.cache=false", "kubeflow.retries=0"))
    for task in without.values():
        assert not task["cachingOptions"].get("enableCache", False)
        assert "retryPolicy" not in task


def test_the_exit_handler_gets_the_status_and_is_never_cached(tmp_path):
    spec = compiled(tmp_path)
    handler = spec["root"]["dag"]["tasks"]["RunNotice"]
    assert handler["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert not handler["cachingOptions"].get("enableCache", False)
    given = handler["inputs"]["parameters"]
    assert given["final_status"] == {"taskFinalStatus": {"producerTask": "tfx-dag"}}
    assert given["serving_dir"] == {"componentInputParameter": "serving_dir"}
    declared = spec["components"]["RunNotice"]["inputDefinitions"]["parameters"]
    assert declared["final_status"] == {"parameterType": "TASK_FINAL_STATUS"}
    # Tasks see the parameters of the DAG that they are in, and of no other.
    root, inner = spec["root"], spec["components"]["tfx-dag"]
    assert inner["inputDefinitions"] == root["inputDefinitions"]
    passed = root["dag"]["tasks"]["tfx-dag"]["inputs"]["parameters"]
    assert passed == {name: {"componentInputParameter": name} for name in passed}
    assert set(passed) == set(root["inputDefinitions"]["parameters"])


def test_without_a_notice_there_is_one_dag(tmp_path):
    spec = compiled(tmp_path, "kubeflow.notice=false")
    assert "tfx-dag" not in spec["components"]
    assert "RunNotice" not in spec["root"]["dag"]["tasks"]
    assert "Transform-users" in spec["root"]["dag"]["tasks"]


def test_buckets_of_google_are_opened_directly(tmp_path):
    direct = compiled(tmp_path, "kubeflow.root=gs://bucket/t2rec/")
    assert direct["defaultPipelineRoot"] == "gs://bucket/t2rec"
    assert container(direct, "Trainer")["command"][-1].startswith("tfx.orchestration.kubeflow")
    copied = compiled(tmp_path, "kubeflow.root=s3://bucket")
    assert container(copied, "Trainer")["command"][-1] == "pipeline.kubeflow_entrypoint"


def test_vertex_ai_gets_a_job(tmp_path):
    path = tmp_path / "job.json"
    settings = config.load_config(None, ["kubeflow.root=gs://bucket/t2rec"])
    kubeflow_runner.compile_spec(settings, "image:1", str(path))
    job = json.loads(path.read_text())
    assert job["runtimeConfig"] == {"gcsOutputDirectory": "gs://bucket/t2rec"}
    assert job["pipelineSpec"]["schemaVersion"] == "2.1.0"


@pytest.mark.parametrize(
    ("settings", "out", "message"),
    [
        (["kubeflow.resources={Trainr: {cpu: 1}}"], "a.yaml", "kubeflow.resources: Trainr"),
        (["kubeflow.uncached=[Pushr]"], "a.yaml", "kubeflow.uncached: Pushr"),
        (["training.warm_start=true"], "a.yaml", "training.warm_start to be false"),
        ([], "a.txt", "Expected --out to end in .yaml"),
        ([], "nowhere/a.yaml", "Expected a folder that can be written to for --out"),
    ],
)
def test_what_kubeflow_would_refuse_is_refused_here(tmp_path, settings, out, message):
    with pytest.raises(ConfigError, match=message):
        kubeflow_runner.compile_spec(
            config.load_config(None, settings), "image:1", str(tmp_path / out)
        )
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("kubeflow.root=/data", "expected a bucket that all containers reach"),
        ("kubeflow.root=gs://", "expected a bucket that all containers reach"),
        ("kubeflow.retries=-1", "kubeflow.retries: Input should be greater than or equal to 0"),
        ("kubeflow.resources.Trainer={cpu: 0}", "kubeflow.resources.Trainer.cpu"),
        ("kubeflow.resources.Trainer={accelerators: 1}", "accelerator and accelerators belong"),
        ("kubeflow.resources.Trainer={gpu: 1}", "unknown key 'kubeflow.resources.Trainer.gpu'"),
        ("kubeflow.resource={}", "unknown key 'kubeflow.resource'"),
    ],
)
def test_options_that_are_not_valid(setting, message):
    with pytest.raises(ConfigError, match=message):
        config.load_config(None, [setting])
