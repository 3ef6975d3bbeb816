"""Numbered versions of a model in the folders that servers follow. Without TFX."""

import os
import time
from collections.abc import Mapping

import tensorflow as tf

EXACT_MODEL, SCANN_MODEL = "t2rec", "t2rec_scann"

# Servers follow folders with a number for a name; this is none.
_INCOMING = "incoming-"


def push(source: str, model_dir: str, version: int, extra: Mapping[str, str] | None = None) -> None:
    """Makes a SavedModel appear as a version, whole or not at all.

    Args:
      source: Folder of the SavedModel.
      model_dir: Folder that servers follow.
      version: Number of the version, new in `model_dir`.
      extra: Texts to add, by path in the version's folder.
    """
    incoming = os.path.join(model_dir, f"{_INCOMING}{version}")
    tf.io.gfile.makedirs(model_dir)
    for leftover in tf.io.gfile.glob(os.path.join(model_dir, f"{_INCOMING}*")):
        tf.io.gfile.rmtree(leftover)  # Of a run that was killed.
    _copy(source, incoming)
    for name, text in (extra or {}).items():
        path = os.path.join(incoming, name)
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(path, "w") as file:
            file.write(text)
    tf.io.gfile.rename(incoming, os.path.join(model_dir, str(version)))


def next_version(model_dirs: list[str]) -> int:
    """Returns the time in seconds, or one more than the newest version if that is not newer.

    Args:
      model_dirs: Folders that servers follow; they get the version together.
    """
    names = [
        name.strip("/")
        for model_dir in model_dirs
        if tf.io.gfile.exists(model_dir)
        for name in tf.io.gfile.listdir(model_dir)
    ]
    newest = max((int(name) for name in names if name.isdigit()), default=0)
    return max(int(time.time()), newest + 1)


def _copy(source: str, target: str) -> None:
    """Copies a folder, on any filesystem that TensorFlow knows."""
    for folder, _, names in tf.io.gfile.walk(source):
        below = os.path.relpath(folder, source)
        into = target if below == "." else os.path.join(target, below)
        tf.io.gfile.makedirs(into)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(into, name))
