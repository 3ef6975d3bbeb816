import json

from tfx.orchestration import data_types, pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.types import standard_artifacts

from components import artifacts
from components.yelp_example_gen import component


def test_channels_and_parameters():
    node = component.YelpExampleGen(
        "/no/such/directory", '{"method": "random"}', "all", 0.5, "f", "d", 30
    )
    assert {key: channel.type for key, channel in node.outputs.items()} == {
        "interactions": standard_artifacts.Examples,
        "users": standard_artifacts.Examples,
        "businesses": standard_artifacts.Examples,
        "rejects": artifacts.Rejects,
    }
    assert node.exec_properties == {
        "data": "/no/such/directory",
        "split_config": '{"method": "random"}',
        "repeated_visits": "all",
        "max_reject_fraction": 0.5,
        "input_fingerprint": "f",
        "code_digest": "d",
        "num_review_terms": 30,
    }
    assert not node.inputs


def test_defaults():
    properties = component.YelpExampleGen("d").exec_properties
    assert properties == {
        "data": "d",
        "split_config": "{}",
        "repeated_visits": "latest",
        "max_reject_fraction": 0.01,
        "input_fingerprint": "",
        "code_digest": "",
        "num_review_terms": 0,
    }


def test_compiles_for_kubeflow(tmp_path):
    node = component.YelpExampleGen(data_types.RuntimeParameter("data", str, default="gs://b/yelp"))
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image="image"),
        output_filename=str(tmp_path / "spec.json"),
    )
    runner.run(pipeline.Pipeline("test", pipeline_root="gs://b/root", components=[node]))
    spec = json.loads((tmp_path / "spec.json").read_text())["pipelineSpec"]
    (executor,) = spec["deploymentSpec"]["executors"].values()
    arguments = " ".join(executor["container"]["args"])
    assert "components.yelp_example_gen.executor.Executor" in arguments
    (declared,) = [
        value for key, value in spec["components"].items() if key.startswith("YelpExampleGen")
    ]
    assert set(declared["outputDefinitions"]["artifacts"]) == set(node.outputs)
