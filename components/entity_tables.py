"""Reads the transformed users and businesses out of their artifacts."""

import dataclasses

import numpy as np
import tensorflow_transform as tft
from tfx import types
from tfx.types import artifact_utils

from components import examples
from models import features, preprocessing, tables

_BAGS = (preprocessing.CATEGORIES, preprocessing.ATTRIBUTES, preprocessing.REVIEW_TERMS)


def read_both(
    inputs: dict[str, list[types.Artifact]],
) -> tuple[tables.EntityTable, tables.EntityTable]:
    """Reads all users and all businesses.

    Args:
      inputs: Among a component's, `users` and `businesses`, transformed, with `user_graph` and
        `business_graph`.
    """
    return (
        read_users(inputs["users"], inputs["user_graph"]),
        read_businesses(inputs["businesses"], inputs["business_graph"]),
    )


def read_users(
    transformed: list[types.Artifact], graph: list[types.Artifact]
) -> tables.EntityTable:
    """Reads all users.

    Args:
      transformed: The transformed Examples, alone in its list.
      graph: The Transform graph that made them, likewise.
    """
    output = tft.TFTransformOutput(artifact_utils.get_single_uri(graph))
    files = examples.split_files(transformed, features.ALL)
    return tables.read_entities(files, features.USER_ID, _num_numeric(output), {})


def read_businesses(
    transformed: list[types.Artifact], graph: list[types.Artifact]
) -> tables.EntityTable:
    """Reads all businesses.

    Args:
      transformed: The transformed Examples, alone in its list.
      graph: The Transform graph that made them, likewise.
    """
    output = tft.TFTransformOutput(artifact_utils.get_single_uri(graph))
    bags = [key for key in _BAGS if key in output.transformed_feature_spec()]
    vocabularies = {
        key: np.array(output.vocabulary_by_name(key), object) for key in (preprocessing.CITY, *bags)
    }
    # One position more than the vocabulary: tokens that it does not hold.
    sizes = {key: len(tokens) + 1 for key, tokens in vocabularies.items()}
    files = examples.split_files(transformed, features.ALL)
    table = tables.read_entities(files, features.BUSINESS_ID, _num_numeric(output), sizes, bags)
    return dataclasses.replace(table, vocabularies=vocabularies)


def _num_numeric(output: tft.TFTransformOutput) -> int:
    return output.transformed_feature_spec()[preprocessing.NUMERIC].shape[0]
