"""Writes requests that a server replays before an export goes live: the first calls are slow."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import prediction_log_pb2

from models.filters import DAY_MINUTES
from models.recommender_tables import RecommenderTables
from models.signature_descriptions import read_definitions

# Where servers look for it.
REQUESTS_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
BATCH = 32
_HISTORY_STARS = (5.0, 4.0, 2.0, 0.0)
_FRIDAY_EVENING = 4 * DAY_MINUTES + 19 * 60
_NOBODY = b"nobody-knows-this-id"


def write(path: str, tables: RecommenderTables) -> None:
    """Puts requests to all its signatures into a SavedModel.

    Args:
      path: Folder of the SavedModel.
      tables: Its ids and places.
    """
    file_path = os.path.join(path, REQUESTS_FILE)
    tf.io.gfile.makedirs(os.path.dirname(file_path))
    with tf.io.TFRecordWriter(file_path) as writer:
        for name, definition in read_definitions(path).items():
            for inputs in _requests(definition, tables):
                writer.write(_log(name, definition, inputs).SerializeToString())


def _requests(
    definition: meta_graph_pb2.SignatureDef, tables: RecommenderTables
) -> Iterator[dict[str, Any]]:
    """Makes requests of one row and of many: plain ones, and with what is typically asked."""
    columns = _columns(tables)
    options = [{}, *_options(tables)]
    for rows, asked in ((1, options), (BATCH, options[:2])):
        given = {name: values[:rows] for name, values in columns.items()}
        plain = {name: given[name] for name in given if name in definition.inputs}
        for wanted in asked:
            known = {name: wanted[name] for name in wanted if name in definition.inputs}
            if known or not wanted:
                yield {**plain, **known}


def _columns(tables: RecommenderTables) -> dict[str, list]:
    """Draws who and what is asked for: ids of the export, and at last an unknown one."""
    businesses = _spaced(tables.business_ids)
    visited = _spaced(tables.business_ids, len(_HISTORY_STARS))
    return {
        "user_id": _spaced(tables.user_ids),
        "business_id": businesses,
        "history_business_id": [visited] * BATCH,
        "history_stars": [_HISTORY_STARS] * BATCH,
    }


def _spaced(ids: np.ndarray, count: int = BATCH) -> list[bytes]:
    if not len(ids):
        return [_NOBODY] * count
    return [*ids[np.linspace(0, len(ids) - 1, count - 1).astype(int)], _NOBODY]


def _options(tables: RecommenderTables) -> list[dict[str, Any]]:
    """Lists what requests for lists typically ask for; one row holds for the whole batch."""
    places = tables.places
    labels = {
        name: [max(postings, key=lambda label: len(postings[label]))]
        for name, postings in (("category", places.categories), ("city", places.cities))
        if postings
    }
    located = places.locations_degrees[np.isfinite(places.locations_degrees).all(axis=1)]
    latitude, longitude = located[0].tolist() if len(located) else (0.0, 0.0)
    return [
        {**labels, "exclude_seen": [True]},
        {"exclude_business_id": [_spaced(tables.business_ids, 3)]},
        {"open_at_minute": [_FRIDAY_EVENING]},
        {"latitude_degrees": [latitude], "longitude_degrees": [longitude], "within_km": [10.0]},
        {"min_stars": [3.5]},
        {"retrieval_weight": [1.0], "rating_weight": [1.0]},
        {"shortlist": [100]},
    ]


def _log(
    signature: str,
    definition: meta_graph_pb2.SignatureDef,
    inputs: Mapping[str, Sequence],
) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        dtype = tf.as_dtype(definition.inputs[name].dtype)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
    return log
