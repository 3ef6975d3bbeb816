"""Translates between TensorFlow Serving's REST bodies and arrays.

As TensorFlow Serving does, but for these:

- Numbers that are not finite, such as the scores beside the "" that pads a list, are written as
  `null`. TensorFlow Serving writes the bare words `NaN` and `-Infinity`, which are not JSON and
  which many parsers refuse. In requests the bare words are understood.
- Optional inputs may be left out in both formats. In rows, all rows or none must give one. Plain
  values stand for the only required input.
- Lists of strings may differ in length from row to row; "" fills them up.
- Outputs that are not UTF-8 are written as `{"b64": ...}`, whatever their name.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from serving.errors import InvalidRequestError
from serving.signatures import InputSpec, Signature


def parse_body(body: bytes) -> dict:
    """Parses the body of a predict request.

    Args:
      body: JSON.

    Raises:
      InvalidRequestError: If it is not an object with either `instances` or `inputs`.
    """
    if not body:
        raise InvalidRequestError("JSON Parse error: The document is empty")
    try:
        # The standard parser is slower, but knows the words NaN and Infinity.
        request = json.loads(body) if b"NaN" in body or b"Infinity" in body else orjson.loads(body)
    except (ValueError, RecursionError) as error:
        offset = getattr(error, "pos", 0)
        reason = getattr(error, "msg", str(error))
        raise InvalidRequestError(f"JSON Parse error: {reason} at offset: {offset}") from error
    if not isinstance(request, dict):
        raise InvalidRequestError(f"JSON Value: {_excerpt(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise InvalidRequestError(
            f"JSON Value: {_excerpt(request)} not formatted correctly. 'signature_name' key must "
            "be a string value."
        )
    if "instances" in request and "inputs" in request:
        raise InvalidRequestError(
            f"JSON Value: {_excerpt(request)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist"
        )
    if "instances" not in request and "inputs" not in request:
        raise InvalidRequestError("Missing 'inputs' or 'instances' key")
    return request


def read_inputs(request: Mapping, signature: Signature) -> dict[str, Any]:
    """Reads the inputs of a request in either format.

    Args:
      request: What `parse_body` returned.
      signature: The signature that is asked for.

    Returns:
      By name, what was given as nested lists, strings decoded and filled up.

    Raises:
      InvalidRequestError: If the names don't fit the signature. `Signature.convert` checks the
        values.
    """
    if "instances" in request:
        return _read_rows(request["instances"], signature)
    return _read_columns(request["inputs"], signature)


def write_rows(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Writes the answer to a request by rows: `{"predictions": [...]}`."""
    columns = {name: _plain(values) for name, values in outputs.items()}
    if len(columns) == 1:
        (rows,) = columns.values()
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _dump({"predictions": rows})


def write_columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Writes the answer to a request by columns: `{"outputs": ...}`."""
    columns = {name: _plain(values) for name, values in outputs.items()}
    (first, *others) = columns.values()
    return _dump({"outputs": columns if others else first})


def write_error(message: str) -> bytes:
    """Writes the body of an answer that is an error."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})


def _read_rows(instances: object, signature: Signature) -> dict[str, Any]:
    if not isinstance(instances, list):
        raise InvalidRequestError(
            f"JSON Value: {_excerpt(instances)} Excepting 'instances' to be an list/array"
        )
    if not instances:
        raise InvalidRequestError("JSON Value: [] No values in 'instances' array")
    if not _is_named(instances[0]):
        spec = _only_input(signature, "instances is a plain list, but expecting list of objects")
        for place, row in enumerate(instances):
            if _is_named(row):
                raise InvalidRequestError(
                    f"Expecting value/list but got object at item {place} of input list"
                )
        return {spec.name: _values(spec, instances, ragged=True)}
    names = _check_names(instances, signature)
    return {
        name: _values(signature.inputs[name], [row[name] for row in instances], ragged=True)
        for name in names
    }


def _check_names(instances: Sequence, signature: Signature) -> Sequence[str]:
    """Returns the inputs that the rows give, the same in each."""
    names = instances[0].keys()
    for place, row in enumerate(instances):
        if not _is_named(row):
            raise InvalidRequestError(
                f"Expecting object but got list at item {place} of input list"
            )
        for name in row.keys() - signature.inputs.keys():
            raise InvalidRequestError(
                f"Failed to process element: {place} key: {name} of 'instances' list. Error: "
                f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
            )
        if row.keys() != names:
            raise InvalidRequestError(
                f"Failed to process element: {place} of 'instances' list. JSON object: "
                f"{_excerpt(row)} must only have keys: {','.join(sorted(names))}"
            )
    return list(names)


def _read_columns(inputs: object, signature: Signature) -> dict[str, Any]:
    if not _is_named(inputs):
        spec = _only_input(signature, "inputs is a plain value/list, but expecting an object")
        return {spec.name: _values(spec, inputs)}
    assert isinstance(inputs, dict)
    for name, spec in signature.inputs.items():
        if name not in inputs and spec.default is None:
            raise InvalidRequestError(f"Missing named input: {name} in 'inputs' object.")
    for name in inputs.keys() - signature.inputs.keys():
        raise InvalidRequestError(f"JSON object: does not have named input: {name}")
    return {name: _values(signature.inputs[name], value) for name, value in inputs.items()}


def _only_input(signature: Signature, problem: str) -> InputSpec:
    """Returns the one input that a plain value can stand for: the only required one."""
    required = [spec for spec in signature.inputs.values() if spec.default is None]
    if len(required) != 1:
        raise InvalidRequestError(
            f"{problem} as multiple input tensors required as per tensorinfo_map"
        )
    return required[0]


def _values(spec: InputSpec, values: object, ragged: bool = False) -> object:
    if spec.dtype == "string":
        values = _decoded(values, len(spec.shape))
        if ragged and len(spec.shape) == 2 and isinstance(values, list):
            values = _padded(values)
    return values


def _decoded(value: object, rank: int) -> object:
    """Replaces `{"b64": ...}` by bytes, but in lists too deep for the rank: no input has those."""
    if isinstance(value, list):
        return [_decoded(item, rank - 1) for item in value] if rank else value
    if not _is_base64(value):
        return value
    assert isinstance(value, dict)
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError("Unable to base64 decode") from error


def _padded(rows: list) -> list:
    """Fills lists up with "" to the longest one; [[]] becomes [[""]]."""
    if not all(isinstance(row, list) for row in rows):
        return rows
    length = max(1, *map(len, rows))
    return [row + [""] * (length - len(row)) for row in rows]


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _is_named(value: object) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _plain(values: np.ndarray) -> object:
    """Returns what can be dumped as JSON."""
    return _text(values.tolist()) if values.dtype.kind == "O" else np.ascontiguousarray(values)


def _text(value: object) -> object:
    if isinstance(value, list):
        return [_text(item) for item in value]
    assert isinstance(value, bytes)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _dump(answer: Mapping) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _excerpt(value: object) -> str:
    # Piece by piece: a value may be as long, and as deep, as bodies can be.
    text = "".join(itertools.islice(json.JSONEncoder().iterencode(value), 201))
    return text if len(text) <= 200 else f"{text[:200]}…"
