"""Finds exported models and their versions in folders, here or on a filesystem of TensorFlow's.

Only remote paths need TensorFlow.
"""

import contextlib
import os
from collections.abc import Iterator

from models.errors import InputError
from serving.errors import reason

# Where models, and the one that counts by default, lie below a pipeline root.
_MODELS_IN_ROOT = "serving"
_MODEL_IN_ROOT = os.path.join(_MODELS_IN_ROOT, "t2rec")
SAVED_MODEL = "saved_model.pb"
VARIABLES = os.path.join("variables", "variables")


def find_version(path: str) -> str:
    """Finds the folder of the SavedModel that a path stands for.

    Args:
      path: A version folder, a model folder with numbered version folders, of which the largest
        complete one counts, or the root of a pipeline.

    Raises:
      InputError: If there is no complete SavedModel.
    """
    path = _normal(path)
    if exists(os.path.join(path, SAVED_MODEL)):
        return path
    for folder in (path, os.path.join(path, _MODEL_IN_ROOT)):
        if versions := list_versions(folder):
            return next(iter(versions.values()))
    raise _no_model(path)


def find_models(path: str) -> list[str]:
    """Finds the models that a path stands for.

    Args:
      path: A version folder, a model folder with numbered version folders, or the root of a
        pipeline.

    Returns:
      The path itself, or the folders of all models of the root.

    Raises:
      InputError: If there is no complete SavedModel.
    """
    path = _normal(path)
    if list_versions(path):
        return [path]
    folder = os.path.join(path, _MODELS_IN_ROOT)
    models = [os.path.join(folder, name) for name in sorted(list_names(folder))]
    found = [model for model in models if list_versions(model)]
    if not found:
        raise _no_model(path)
    return found


def is_saved_model(path: str) -> bool:
    """Tells whether a folder is a complete SavedModel.

    Args:
      path: A folder. One that is still being copied has no index of variables yet.
    """
    files = (SAVED_MODEL, f"{VARIABLES}.index")
    return all(exists(os.path.join(path, file)) for file in files)


def list_versions(path: str) -> dict[int, str]:
    """Lists the complete versions of a model.

    Args:
      path: Folder with a folder for each version, named by its number, or a SavedModel that is the
        only version, 0.

    Returns:
      Folders by number, the newest first.
    """
    if is_saved_model(path):
        return {0: path}
    numbers = {int(name): name for name in list_names(path) if name.isdecimal()}
    folders = {number: os.path.join(path, numbers[number]) for number in sorted(numbers)[::-1]}
    return {number: folder for number, folder in folders.items() if is_saved_model(folder)}


def _normal(path: str) -> str:
    return os.path.normpath(path) if "://" not in path else path.rstrip("/")


def _no_model(path: str) -> InputError:
    got = "no such folder" if not exists(path) else f"a folder with {sorted(list_names(path))[:5]}"
    return InputError(
        f"Expected an exported model at {path!r}: a folder with {SAVED_MODEL}, with numbered "
        f"versions, or a pipeline root with {_MODEL_IN_ROOT}; got {got}. Run `t2rec run` first or "
        "give another path; a run whose model was not blessed says at its end where that lies."
    )


def list_names(path: str) -> list[str]:
    """Lists a folder; empty if there is none.

    Args:
      path: A folder, local or on a filesystem that TensorFlow knows.

    Raises:
      InputError: If the filesystem is away or refuses.
    """
    with _access(path):
        if "://" not in path:
            return os.listdir(path) if os.path.isdir(path) else []
        import tensorflow as tf

        return [name.rstrip("/") for name in tf.io.gfile.listdir(path)] if exists(path) else []


def exists(path: str) -> bool:
    """Tells whether a file or folder exists; only remote paths need TensorFlow.

    Args:
      path: A path, local or on a filesystem that TensorFlow knows.

    Raises:
      InputError: If the filesystem is away or refuses.
    """
    if "://" not in path:
        return os.path.exists(path)
    with _access(path):
        import tensorflow as tf

        return tf.io.gfile.exists(path)


@contextlib.contextmanager
def _access(path: str) -> Iterator[None]:
    """Tells what a filesystem reports as an error of the input."""
    errors: tuple[type[Exception], ...] = (OSError,)
    if "://" in path:
        import tensorflow as tf

        errors = (OSError, tf.errors.OpError)
    try:
        yield
    except errors as error:
        raise InputError(
            f"Expected a path that can be read; got {path!r}: {reason(error)}. Correct the path, "
            "or give access to it."
        ) from error
