import base64
import json

import numpy as np
import pytest

from serving import rest
from serving.errors import InvalidRequestError
from serving.signatures import InputSpec, Signature


def _spec(name, dtype, shape, default=None):
    return InputSpec(name, dtype, shape, default, f"{name}:0")


SIGNATURE = Signature(
    inputs={
        "exclude": _spec("exclude", "string", (-1, -1), np.array([[b""]], object)),
        "k": _spec("k", "int32", (-1,), np.array([10], np.int32)),
        "user_id": _spec("user_id", "string", (-1,)),
    },
    output_tensors={},
    outputs={},
)
PAIR = Signature(
    inputs={"a": _spec("a", "string", (-1,)), "b": _spec("b", "float32", (-1, 2))},
    output_tensors={},
    outputs={},
)


def _read(request, signature=SIGNATURE):
    inputs = rest.read_inputs(rest.parse_body(json.dumps(request).encode()), signature)
    return {name: signature.inputs[name].convert(inputs[name]).tolist() for name in inputs}


def test_rows_and_columns_give_the_same_arrays():
    expected = {"user_id": [b"u", b"v"], "k": [1, 2]}
    rows = [{"user_id": "u", "k": 1}, {"k": 2, "user_id": "v"}]
    assert _read({"instances": rows}) == expected
    assert _read({"inputs": {"user_id": ["u", "v"], "k": [1, 2]}}) == expected


def test_plain_values_stand_for_the_only_required_input():
    assert _read({"instances": ["u", "v"]}) == {"user_id": [b"u", b"v"]}
    assert _read({"inputs": ["u", "v"]}) == {"user_id": [b"u", b"v"]}


def test_base64_is_decoded_in_both_formats():
    value = {"b64": base64.b64encode(b"\xff\x00").decode()}
    assert _read({"instances": [value, "v"]}) == {"user_id": [b"\xff\x00", b"v"]}
    assert _read({"inputs": {"user_id": [value]}}) == {"user_id": [b"\xff\x00"]}


def test_lists_of_strings_are_padded_across_rows():
    rows = [
        {"user_id": "u", "exclude": ["a", "b"]},
        {"user_id": "v", "exclude": []},
        {"user_id": "w", "exclude": ["c"]},
    ]
    assert _read({"instances": rows})["exclude"] == [[b"a", b"b"], [b"", b""], [b"c", b""]]


def test_words_that_are_not_json_are_understood():
    body = b'{"inputs": {"a": ["x"], "b": [[NaN, -Infinity]]}}'
    values = PAIR.inputs["b"].convert(rest.read_inputs(rest.parse_body(body), PAIR)["b"])
    assert np.isnan(values[0, 0])
    assert values[0, 1] == -np.inf


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b'{"instances": [', r"JSON Parse error: .* at offset: \d+"),
        (b"[1]", r"JSON Value: \[1\] Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"inputs": [], "instances": []}', "expecting only one of 'inputs' or 'instances'"),
        (b'{"inputs": [], "signature_name": 1}', "'signature_name' key must be a string value"),
    ],
)
def test_bodies_that_are_no_request(body, message):
    with pytest.raises(InvalidRequestError, match=message):
        rest.parse_body(body)


@pytest.mark.parametrize("depth", [3, 30, 300, 1_000])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%s", r"JSON Value: \[\[.* Is not object"),
        ('{"inputs": %s, "instances": []}', "expecting only one of"),
        ('{"inputs": %s}', r"'user_id' to have shape \[-1\] but \[1,1,1"),
        ('{"instances": %s}', r"'user_id' to have shape \[-1\] but \[1,1,1"),
        ('{"instances": {"a": %s}}', "Excepting 'instances' to be an list"),
        ('{"instances": [{"user_id": "u"}, {"user_id": "v", "k": %s}]}', "must only have keys"),
        ('{"inputs": {"user_id": ["u", %s]}}', "'user_id' to be string but list is provided"),
        ('{"inputs": {"exclude": %s, "user_id": ["u"]}}', r"shape \[-1,-1\] but \[1,1,1"),
    ],
)
def test_lists_may_be_of_any_depth(body, message, depth):
    deep = "[" * depth + '"u"' + "]" * depth
    with pytest.raises(InvalidRequestError, match=message) as error:
        inputs = rest.read_inputs(rest.parse_body((body % deep).encode()), SIGNATURE)
        SIGNATURE.convert(inputs)
    assert len(str(error.value)) < 400


def test_excerpts_of_large_values_are_short():
    with pytest.raises(
        InvalidRequestError, match=r"JSON Value: \[0, 1, .*… Is not object"
    ) as error:
        rest.parse_body(json.dumps(list(range(100_000))).encode())
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"instances": "u"}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [{"user_id": "u"}, "v"]}, "Expecting object but got list at item 1"),
        ({"instances": ["v", {"user_id": "u"}]}, "Expecting value/list but got object at item 1"),
        (
            {"instances": [{"user_id": "u", "n": 1}]},
            "process element: 0 key: n .* does not have named input: n",
        ),
        (
            {"instances": [{"user_id": "u"}, {"user_id": "v", "k": 1}]},
            r"process element: 1 .*must only have keys: user_id",
        ),
        ({"instances": [{"user_id": ["u"]}]}, r"shape \[-1\] but \[1,1\] is provided"),
        ({"instances": [{"user_id": 1}]}, "'user_id' to be string but int is provided"),
        ({"instances": [{"b64": "!"}]}, "Unable to base64 decode"),
        ({"inputs": {"k": [1]}}, "Missing named input: user_id in 'inputs' object"),
        ({"inputs": {"user_id": ["u"], "n": 1}}, "does not have named input: n"),
    ],
)
def test_inputs_that_do_not_fit(request_, message):
    with pytest.raises(InvalidRequestError, match=message):
        _read(request_)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"instances": ["u"]}, "instances is a plain list, but expecting list of objects"),
        ({"inputs": ["u"]}, "inputs is a plain value/list, but expecting an object"),
        (
            {"instances": [{"a": "u", "b": [1, 2]}, {"a": "v", "b": [1]}]},
            "Input 'b' is not a tensor",
        ),
    ],
)
def test_signature_of_several_required_inputs(request_, message):
    with pytest.raises(InvalidRequestError, match=message):
        _read(request_, PAIR)


def test_answers_by_rows_and_columns_are_strict_json():
    outputs = {
        "id": np.array([[b"a", b"\xff"], [b"\xc3\xa9", b""]], object),
        "score": np.array([[0.1, 2.0], [1.5, -np.inf]], np.float32),
    }
    rows = rest.write_rows(outputs)
    assert json.loads(rows) == {
        "predictions": [
            {"id": ["a", {"b64": "/w=="}], "score": [0.1, 2.0]},
            {"id": ["é", ""], "score": [1.5, None]},
        ]
    }
    columns = json.loads(rest.write_columns(outputs))
    assert columns["outputs"]["score"] == [[0.1, 2.0], [1.5, None]]
    # Whole numbers keep a decimal point, so that readers infer floats.
    assert b"[0.1,2.0]" in rows


def test_a_single_output_has_no_name():
    outputs = {"rating": np.array([1.5, 2.5], np.float32)}
    assert json.loads(rest.write_rows(outputs)) == {"predictions": [1.5, 2.5]}
    assert json.loads(rest.write_columns(outputs)) == {"outputs": [1.5, 2.5]}
