import logging

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import grpc_api, tensors
from serving.client import LocalClient, Newcomer, connect
from serving.errors import InvalidRequestError, NotFoundError, UnknownSignatureError
from serving.server_process import ServerProcess

TIMEOUT = 30
TYPES = {
    "float16": [0.5, -65504.0],
    "float64": [0.1, 1e300],
    "int8": [-128, 127],
    "int16": [-32768, 32767],
    "uint8": [0, 255],
    "uint16": [0, 65535],
    "uint32": [0, 2**32 - 1],
    "uint64": [2**63, 2**64 - 1],
}


@pytest.fixture(scope="module")
def channel(exact_server):
    with grpc.insecure_channel(exact_server.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def _request(inputs=None, name="t2rec", signature="", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    for key, values in (inputs or {"user_id": ["user-01"]}).items():
        dtype = tf.int32 if key == "k" else None
        request.inputs[key].CopyFrom(tf.make_tensor_proto(values, dtype))
    return request


def _refusal(call, *args, **kwargs):
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **kwargs, timeout=TIMEOUT)
    return error.value.code().name, error.value.details()


def test_official_stubs_get_the_answer(stub, exact_export):
    request = _request({"user_id": ["user-01", "nobody"], "k": [5]}, signature="recommend")
    response = stub.Predict(request, timeout=TIMEOUT)
    assert response.model_spec.name == "t2rec"
    assert response.model_spec.version.value == 3
    assert response.model_spec.signature_name == "recommend"
    outputs = {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}
    for row, user in enumerate(["user-01", "nobody"]):
        expected = exact_export.recommend(user, k=5)
        assert [i.decode() for i in outputs["business_id"][row]] == [e[0] for e in expected]
        np.testing.assert_allclose(outputs["score"][row], [e[1] for e in expected], rtol=1e-4)
        # Clients in other languages read the unpacked field.
        assert len(response.outputs["score"].float_val) == 10


def test_packed_and_unpacked_values_are_the_same(stub):
    packed = _request({"history_business_id": [["place-0003"]]}, signature="recommend_features")
    packed.inputs["history_stars"].CopyFrom(tf.make_tensor_proto([[5.0]], tf.float32))
    unpacked = predict_pb2.PredictRequest.FromString(packed.SerializeToString())
    packed.inputs["history_stars"].ClearField("float_val")
    packed.inputs["history_stars"].tensor_content = np.float32([[5.0]]).tobytes()
    assert unpacked.inputs["history_stars"].float_val[:] == [5.0]
    answers = [stub.Predict(request, timeout=TIMEOUT).outputs for request in (packed, unpacked)]
    assert answers[0] == answers[1]


def test_output_filter_chooses_outputs(stub):
    request = _request()
    request.output_filter.append("rating")
    assert list(stub.Predict(request, timeout=TIMEOUT).outputs) == ["rating"]
    request.output_filter.append("rating")
    code, message = _refusal(stub.Predict, request)
    assert (code, message) == ("INVALID_ARGUMENT", "duplicate output tensor alias: rating")
    request.output_filter[:] = ["stars"]
    assert "not found in signature: stars Outputs expected" in _refusal(stub.Predict, request)[1]


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (_request(name="x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
        (_request(version=9), "NOT_FOUND", "Servable not found for request: Specific(t2rec, 9)"),
        (_request(label="l"), "INVALID_ARGUMENT", "Unrecognized servable version label: l"),
        (_request(name="../t2rec"), "NOT_FOUND", "Latest(../t2rec)"),
        (_request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (_request(signature="x"), "FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
        (_request({"k": [3]}), "INVALID_ARGUMENT", "Missing but required: {user_id}"),
        (_request({"user_id": ["u"], "n": [1]}), "INVALID_ARGUMENT", "Sent extra: {n}"),
        (
            _request({"user_id": [1.0]}),
            "INVALID_ARGUMENT",
            "Expects 'user_id' to be string but float32 is provided",
        ),
        (
            _request({"user_id": ["u"], "exclude_seen": [1]}),
            "INVALID_ARGUMENT",
            "Expects 'exclude_seen' to be bool but int32 is provided",
        ),
        (
            _request({"user_id": [["u"]]}),
            "INVALID_ARGUMENT",
            "Expects 'user_id' to have shape [-1] but [1,1] is provided",
        ),
        (_request({"user_id": ["u"], "k": [0]}), "INVALID_ARGUMENT", "k must be from 1 to"),
        (_request({"user_id": ["u" * 200_000]}), "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_refusals_have_tensorflow_servings_codes(stub, request_, code, message):
    found = _refusal(stub.Predict, request_)
    assert found[0] == code
    assert message in found[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.tensor_shape.dim.add(size=1 << 40),
        lambda t: t.tensor_shape.dim.add(size=-1),
        lambda t: t.tensor_shape.dim.add(size=0),
        lambda t: [t.tensor_shape.dim.add(size=1) for _ in range(40)],
        lambda t: (
            [t.tensor_shape.dim.add(size=1) for _ in range(40)],
            t.MergeFrom(type(t)(dtype=3, tensor_content=b"abcd")),
        ),
        lambda t: (
            t.ClearField("string_val"),
            [t.tensor_shape.dim.add(size=size) for size in (0, 2**62, 2**62)],
        ),
        lambda t: t.string_val.append(b"more"),
        lambda t: t.ClearField("string_val"),
        lambda t: setattr(t, "tensor_content", b"\0" * 8),
        lambda t: setattr(t.tensor_shape, "unknown_rank", True),
        lambda t: setattr(t, "dtype", 22),
        lambda t: setattr(t, "dtype", 0),
        lambda t: setattr(t, "dtype", 9999),
    ],
)
def test_tensors_that_are_none_are_refused(stub, change):
    request = _request()
    change(request.inputs["user_id"])
    assert _refusal(stub.Predict, request) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: user_id",
    )


@pytest.fixture(scope="module")
def types_server(tmp_path_factory):
    """A server of a model that returns what it gets, of each type that has a field of its own."""

    def same(**inputs):
        return {f"same_{name}": tf.identity(value) for name, value in inputs.items()}

    module, folder = tf.Module(), tmp_path_factory.mktemp("types")
    specs = {name: tf.TensorSpec([None], name, name) for name in TYPES}
    module.same = tf.function(same, autograph=False)
    concrete = module.same.get_concrete_function(**specs)
    tf.saved_model.save(module, str(folder / "types" / "1"), signatures=concrete)
    with ServerProcess([f"--model={folder / 'types'}"]) as server:
        yield server


@pytest.mark.parametrize("packed", [True, False])
def test_values_of_all_types_come_back(types_server, packed):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "types"
    for name, values in TYPES.items():
        proto = tf.make_tensor_proto(np.array(values, name))
        if not packed:
            tensors.write_outputs({name: np.array(values, name)}, request.inputs)
            # As TensorFlow itself would read it.
            np.testing.assert_array_equal(tf.make_ndarray(request.inputs[name]), values)
        else:
            request.inputs[name].CopyFrom(proto)
            request.inputs[name].tensor_content = np.array(values, name).tobytes()
    with grpc.insecure_channel(types_server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(request, timeout=TIMEOUT).outputs
    for name, values in TYPES.items():
        found = tf.make_ndarray(outputs[f"same_{name}"])
        assert (found.dtype, found.tolist()) == (np.dtype(name), values)


def test_both_protocols_know_all_types(types_server):
    for address in (types_server.rest_address, f"grpc://{types_server.grpc_address}"):
        with connect(address, "types") as client:
            found = client.predict("serving_default", TYPES)
        assert {name: np.ravel(found[f"same_{name}"]).tolist() for name in TYPES} == TYPES


def test_what_is_no_message_is_refused(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert _refusal(call, b"\xff\xff\xff") == (
        "INVALID_ARGUMENT",
        "Failed to parse tensorflow.serving.PredictRequest",
    )
    nothing = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
    assert _refusal(nothing, iter(())) == _refusal(call, b"\xff\xff\xff")


def test_methods_for_examples_are_not_there(stub):
    for call, request in (
        (stub.Classify, classification_pb2.ClassificationRequest()),
        (stub.Regress, regression_pb2.RegressionRequest()),
        (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
    ):
        code, message = _refusal(call, request)
        assert code == "UNIMPLEMENTED"
        assert "which no signature here does. Use Predict." in message


def test_metadata_lists_signatures(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "t2rec"
    response = stub.GetModelMetadata(request, timeout=TIMEOUT)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["rate"].inputs["user_id"].dtype == tf.string.as_datatype_enum
    assert response.model_spec.version.value == 3
    request.metadata_field[:] = ["x"]
    assert "Metadata field x is not supported" in _refusal(stub.GetModelMetadata, request)[1]


def test_status_of_versions(channel):
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    assert _refusal(service.GetModelStatus, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "t2rec"
    (status,) = service.GetModelStatus(request, timeout=TIMEOUT).model_version_status
    assert (status.version, status.state) == (3, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    request.model_spec.version.value = 8
    assert _refusal(service.GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find version 8 of model t2rec",
    )


def test_health_and_reflection(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = reflection.ServerReflectionInfo(iter([ask]), timeout=TIMEOUT)
    names = {service.name for service in answer.list_services_response.service}
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} < names


def test_client_over_grpc_agrees_with_the_model(exact_server, exact_export):
    local = LocalClient(exact_export.path)
    newcomer = Newcomer({"place-0003": 5.0, "place-0008": 0.0}, {"fans": 100})
    with connect(f"grpc://{exact_server.grpc_address}") as remote:
        users = ["user-07", "nobody"]
        assert remote.recommend(users, k=40, exclude_seen=True) == local.recommend(
            users, k=40, exclude_seen=True
        )
        found = remote.recommend_to_newcomers([newcomer, Newcomer()], k=3)
        assert found == local.recommend_to_newcomers([newcomer, Newcomer()], k=3)
        ratings = remote.rate(users, ["place-0001", "nowhere"])
        assert ratings == local.rate(users, ["place-0001", "nowhere"])
        assert remote.similar(["place-0001"], k=3) == local.similar(["place-0001"], k=3)
        with pytest.raises(InvalidRequestError, match="k must be from 1 to"):
            remote.recommend(users, k=0)
        with pytest.raises(UnknownSignatureError, match='key "x" not found'):
            remote.predict("x", {})
    with (
        connect(f"grpc://{exact_server.grpc_address}", "other") as remote,
        pytest.raises(NotFoundError, match=r"Latest\(other\)"),
    ):
        remote.recommend(["user-01"])


class ExecuteBatchError(Exception):
    """Named as that of gRPC."""


@pytest.mark.parametrize(
    ("error", "told"), [(ExecuteBatchError("sent to nobody"), False), (ValueError("a bug"), True)]
)
def test_a_client_gone_while_its_answer_is_sent_is_no_error(caplog, error, told):
    logger = logging.getLogger("grpc._cython.cygrpc")
    logger.addFilter(grpc_api._is_news)  # As in the server's process.
    try:
        logger.error("It failed", exc_info=error)
        logger.error("Without a reason")
    finally:
        logger.removeFilter(grpc_api._is_news)
    assert ("It failed" in caplog.messages) == told
    assert "Without a reason" in caplog.messages
