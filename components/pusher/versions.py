"""Numbered versions of a model in the folders that servers follow. Without TFX."""

import contextlib
import os
import time
import uuid
from collections.abc import Mapping

import tensorflow as tf

EXACT_MODEL, SCANN_MODEL = "t2rec", "t2rec_scann"

# Servers follow folders with a number for a name; this is none.
_INCOMING = "incoming-"
# What was last written to so long ago is of a push that was killed.
_LEFTOVER_SECONDS = 86_400


def push(source: str, model_dir: str, version: int, extra: Mapping[str, str] | None = None) -> None:
    """Makes a SavedModel appear as a version, whole or not at all.

    Args:
      source: Folder of the SavedModel.
      model_dir: Folder that servers follow.
      version: Number of the version, new in `model_dir`.
      extra: Texts to add, by path in the version's folder.
    """
    tf.io.gfile.makedirs(model_dir)
    _remove_leftovers(model_dir)
    # Its own, for others may be pushing at the same time.
    incoming = os.path.join(model_dir, f"{_INCOMING}{version}-{uuid.uuid4().hex}")
    try:
        _copy(source, incoming)
        for name, text in (extra or {}).items():
            path = os.path.join(incoming, name)
            tf.io.gfile.makedirs(os.path.dirname(path))
            with tf.io.gfile.GFile(path, "w") as file:
                file.write(text)
        tf.io.gfile.rename(incoming, os.path.join(model_dir, str(version)))
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.rmtree(incoming)
        raise


def _remove_leftovers(model_dir: str) -> None:
    """Removes what killed pushes have left behind."""
    for folder in tf.io.gfile.glob(os.path.join(model_dir, f"{_INCOMING}*")):
        with contextlib.suppress(tf.errors.NotFoundError):  # It is a version by now, or removed.
            if time.time() - _last_written(folder) > _LEFTOVER_SECONDS:
                tf.io.gfile.rmtree(folder)


def _last_written(folder: str) -> float:
    """Tells when something was last written to a folder, as a Unix time in seconds."""
    # Buckets know no time of a folder, but of the files in it.
    paths = [folder] + [
        os.path.join(inner, name) for inner, _, names in tf.io.gfile.walk(folder) for name in names
    ]
    return max(tf.io.gfile.stat(path).mtime_nsec for path in paths) / 1e9


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
