"""What is served: TensorFlow Serving's model configuration, read, made and checked."""

import os
from collections.abc import Sequence

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelConfigList,
    ModelServerConfig,
)

from models.errors import InputError
from serving import model_folders
from serving.errors import FailedPreconditionError, InvalidRequestError

_PLATFORM = "tensorflow"


def read_config(path: str) -> ModelServerConfig:
    """Reads a `models.config` file, a `ModelServerConfig` in text format.

    Args:
      path: The file.

    Raises:
      InputError: If it can't be read, or says something that can't be served.
    """
    try:
        with open(path, encoding="utf-8") as file:
            config = text_format.Parse(file.read(), ModelServerConfig())
        check_config(config)
    except (OSError, UnicodeDecodeError, text_format.ParseError, InvalidRequestError) as error:
        raise InputError(
            f"Expected a ModelServerConfig in text format in {path!r}; got: {error}. Correct it."
        ) from error
    return config


def config_of_folders(paths: Sequence[str], name: str = "") -> ModelServerConfig:
    """Makes the configuration that serves the newest version of some folders.

    Args:
      paths: Model folders with numbered versions, single SavedModels, or roots of pipelines, of
        which all exports are served.
      name: Name of the model; that of its folder by default.

    Raises:
      InputError: If a folder has no model, two models have one name, or a name is given to
        several.
    """
    found: list[ModelConfig] = []
    for path in paths:
        found += [_config_of_folder(folder) for folder in model_folders.find_models(path)]
    if name and len(found) > 1:
        raise InputError(
            f"Expected one model to give the name {name!r} to; got {[m.name for m in found]}. "
            "Leave the name out, or give one model's folder."
        )
    if name:
        found[0].name = name
    config = ModelServerConfig(model_config_list=ModelConfigList(config=found))
    try:
        check_config(config)
    except InvalidRequestError as error:
        raise InputError(str(error)) from error
    return config


def check_config(config: ModelServerConfig) -> None:
    """Checks what TensorFlow Serving checks, and that the names differ.

    Raises:
      InvalidRequestError: If a model can't be served as it is told.
      FailedPreconditionError: If it is no list of models.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise FailedPreconditionError(
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another."
        )
    names: set[str] = set()
    for model in config.model_config_list.config:
        if not model.name or not model.base_path:
            raise InvalidRequestError(
                f"Expected a name and a base_path for every model; got {model.name!r} and "
                f"{model.base_path!r}."
            )
        # A file may say neither: the field had a default once, and there is but one platform.
        if model.model_platform not in {"", _PLATFORM}:
            raise InvalidRequestError(
                f"Expected the model_platform {_PLATFORM!r}; got {model.model_platform!r}."
            )
        if model.name in names:
            raise InvalidRequestError(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        names.add(model.name)


def _config_of_folder(path: str) -> ModelConfig:
    """Serves the newest version of a model's folder, or the one version that a path is."""
    path = path if "://" in path else os.path.abspath(path)
    parent, folder = os.path.split(path)
    # A SavedModel whose folder is not named by a number is the one version 0 of its own model.
    if not model_folders.is_saved_model(path) or not folder.isdecimal():
        return ModelConfig(name=folder, base_path=path, model_platform=_PLATFORM)
    model = ModelConfig(name=os.path.basename(parent), base_path=parent, model_platform=_PLATFORM)
    model.model_version_policy.specific.versions.append(int(folder))
    return model
