"""Tells what the signatures of an export take and give, for people and programs."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from models import features, recommender, signature_inputs
from models.query_encoder import USER_COVARIATES

DESCRIPTIONS_FILE = os.path.join("assets.extra", "signatures.json")

_COVARIATES = {
    **{key: f"Yelp's count {key!r} of the user; -1 if not known." for key in USER_COVARIATES},
    features.USER_YELPING_SINCE_SECONDS: "When the user joined, in seconds since 1970 (UTC); -1 if "
    "not known.",
    features.USER_NUM_ELITE_YEARS: "Years in which the user was elite; -1 if not known.",
    features.USER_NUM_FRIENDS: "Number of friends; -1 if not known.",
}
INPUTS = {
    "user_id": "Id of a user; an unknown one gets the answer for newcomers.",
    "business_id": "Id of a business; an unknown one is taken for one of which nothing is known.",
    "history_business_id": 'Ids of businesses that the user visited; pad with "".',
    "history_stars": "Stars that the user gave each, from 1 to 5; 0 for a visit without a rating.",
    **_COVARIATES,
    **signature_inputs.DESCRIPTIONS,
}
OUTPUTS = {
    "business_id": 'Ids of businesses, best first; "" where fewer than k match.',
    "score": "What lists are ordered by: the inner product of the weighted blocks; in similar, the "
    "cosine of the directions. -inf where a list is padded.",
    "rating": "Predicted stars, from 1 to 5; 0 where a list is padded.",
    "embedding": "The retrieval block (a direction, popularity, a low-pass block), then the "
    "rating block.",
    "name": 'Name of the business; "" if not known.',
    "latitude_degrees": "Latitude of the business; NaN if not known.",
    "longitude_degrees": "Longitude of the business; NaN if not known.",
}
PURPOSES = {
    "serving_default": f"The same as {recommender.RECOMMEND}.",
    recommender.RECOMMEND: "Lists businesses for users that training knew by id.",
    recommender.RECOMMEND_FEATURES: "Lists businesses for new users, by what is known of them.",
    recommender.RATE: "Predicts the stars of pairs: row r asks for one user and one business.",
    recommender.SIMILAR: "Lists the businesses most like each, by who goes there.",
    recommender.DESCRIBE: "Tells name and place of businesses.",
    recommender.EMBED_QUERY: "Gives the embeddings of users.",
    recommender.EMBED_CANDIDATE: "Gives the embeddings of businesses.",
}


def read_definitions(path: str) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Reads the signatures of a SavedModel without loading it.

    Args:
      path: Folder of the SavedModel.

    Returns:
      By name, without TensorFlow's own.
    """
    saved = saved_model_pb2.SavedModel()
    with tf.io.gfile.GFile(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved.ParseFromString(file.read())
    definitions = saved.meta_graphs[0].signature_def
    return {name: definitions[name] for name in sorted(definitions) if not name.startswith("__")}


def describe(definitions: Mapping[str, meta_graph_pb2.SignatureDef]) -> dict[str, Any]:
    """Describes signatures.

    Args:
      definitions: By name.

    Returns:
      By name, `purpose`, and by name `inputs` and `outputs`: `dtype`, `shape` (-1 stands for any
      size), `description` and, of what may be left out, `default`.

    Raises:
      ValueError: If there is no description of something.
    """
    return {
        name: {
            "purpose": _look_up(PURPOSES, "signature", name),
            "inputs": {
                key: _tensor(info, _look_up(INPUTS, "input", key), definition.defaults.get(key))
                for key, info in sorted(definition.inputs.items())
            },
            "outputs": {
                key: _tensor(info, _look_up(OUTPUTS, "output", key))
                for key, info in sorted(definition.outputs.items())
            },
        }
        for name, definition in definitions.items()
    }


def write(path: str) -> None:
    """Puts the description of its signatures into a SavedModel.

    Args:
      path: Folder of the SavedModel.
    """
    file_path = os.path.join(path, DESCRIPTIONS_FILE)
    tf.io.gfile.makedirs(os.path.dirname(file_path))
    with tf.io.gfile.GFile(file_path, "w") as file:
        file.write(json.dumps(describe(read_definitions(path)), indent=2) + "\n")


def _look_up(descriptions: Mapping[str, str], kind: str, name: str) -> str:
    if name not in descriptions:
        raise ValueError(
            f"Expected a description of the {kind} {name!r}; there is none. Add it beside those in "
            f"{__name__} or where the {kind} is defined."
        )
    return descriptions[name]


def _tensor(info: Any, description: str, default: Any = None) -> dict[str, Any]:
    told = {
        "dtype": tf.as_dtype(info.dtype).name,
        "shape": [dim.size for dim in info.tensor_shape.dim],
        "description": description,
    }
    if default is None:
        return told
    values = tf.make_ndarray(default)
    if values.dtype == object:
        values = np.char.decode(values.astype(bytes), "utf-8")
    return {**told, "default": values.tolist()}
