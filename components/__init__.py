"""The TFX components of the pipeline, one package a component."""

import importlib

import models  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

_ARTIFACTS = ("Baselines", "Evaluation", "Page", "Recommendations", "Rejects", "Report")


def __getattr__(name: str):
    """Finds artifact types as `components.NAME`: Kubeflow imports them by their type's name."""
    if name in _ARTIFACTS:
        return getattr(importlib.import_module("components.artifacts"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
