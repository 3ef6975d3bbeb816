import os

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from models.query_encoder import USER_COVARIATES
from models.signature_descriptions import read_definitions
from models.warmup_requests import BATCH, REQUESTS_FILE
from serving import warmup
from serving.loader import ServedModel


@pytest.fixture(scope="module")
def requests(exact_export):
    """The requests of the trained export."""
    records = tf.data.TFRecordDataset(os.path.join(exact_export.path, REQUESTS_FILE))
    logs = [prediction_log_pb2.PredictionLog.FromString(r) for r in records.as_numpy_iterator()]
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    return [log.predict_log.request for log in logs]


def test_every_signature_is_asked_by_one_row_and_by_many(requests, exact_export):
    asked = {name: set() for name in read_definitions(exact_export.path)}
    for request in requests:
        rows = [t.tensor_shape.dim[0].size for t in request.inputs.values()]
        asked[request.model_spec.signature_name].add(max(rows))
    assert asked == dict.fromkeys(asked, {1, BATCH})
    assert len(requests) <= 50  # A load stays fast.


def test_inputs_are_tensors_of_the_signature_and_every_filter_is_asked_for(requests, exact_export):
    definitions = read_definitions(exact_export.path)
    for request in requests:
        inputs = definitions[request.model_spec.signature_name].inputs
        for name, tensor in request.inputs.items():
            assert tensor.dtype == inputs[name].dtype, name
            assert tf.make_ndarray(tensor).ndim == len(inputs[name].tensor_shape.dim), name
    for signature in ("serving_default", "recommend", "recommend_features"):
        given = {
            name
            for request in requests
            if request.model_spec.signature_name == signature
            for name in request.inputs
        }
        assert given == set(definitions[signature].inputs) - {"k", *USER_COVARIATES}


def test_ids_and_labels_are_the_exports_own(requests, exact_export):
    tables = exact_export.tables
    known = {"user_id": set(tables.user_ids), "business_id": set(tables.business_ids)}
    for name, ids in known.items():
        given = [tf.make_ndarray(r.inputs[name]).tolist() for r in requests if name in r.inputs]
        assert all(set(one) <= ids for one in given if len(one) == 1)
        assert all(len(set(many) - ids) == 1 for many in given if len(many) == BATCH)
    labels = {r.inputs["city"].string_val[0] for r in requests if "city" in r.inputs}
    assert labels == {"Córdoba".encode()}  # Where most of the planted places are.


def test_the_server_replays_all_of_them(requests, exact_export):
    assert os.path.join(exact_export.path, REQUESTS_FILE).endswith(warmup.REQUESTS_FILE)
    model = ServedModel(exact_export.path)
    assert warmup.warm_up(model, batch_rows=64) == len(requests)
    model.close()
