import inspect

from tfx.types import artifact
from tfx.utils import import_utils

import components
from components import artifacts


def test_kubeflow_finds_every_artifact_type_by_its_name():
    kinds = [
        kind
        for _, kind in inspect.getmembers(artifacts, inspect.isclass)
        if issubclass(kind, artifact.Artifact) and kind.__module__ == artifacts.__name__
    ]
    assert {kind.TYPE_NAME for kind in kinds} == {f"components.{k}" for k in components._ARTIFACTS}
    for kind in kinds:
        assert import_utils.import_class_by_path(kind.TYPE_NAME) is kind
