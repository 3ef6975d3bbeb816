"""Translates between TensorProtos and arrays, quicker than TensorFlow and without its limits.

Values are read packed (`tensor_content`) and unpacked (`float_val`, ...), and written unpacked, as
TensorFlow Serving does: clients in other languages often know only those fields.
"""

import math
from collections.abc import Mapping

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.errors import InvalidRequestError

# Names of the repeated field with the values, and numpy's name of the type.
_FIELDS = {
    types_pb2.DT_FLOAT: ("float_val", "float32"),
    types_pb2.DT_DOUBLE: ("double_val", "float64"),
    types_pb2.DT_INT32: ("int_val", "int32"),
    types_pb2.DT_INT16: ("int_val", "int16"),
    types_pb2.DT_INT8: ("int_val", "int8"),
    types_pb2.DT_UINT8: ("int_val", "uint8"),
    types_pb2.DT_UINT16: ("int_val", "uint16"),
    types_pb2.DT_UINT32: ("uint32_val", "uint32"),
    types_pb2.DT_UINT64: ("uint64_val", "uint64"),
    types_pb2.DT_HALF: ("half_val", "float16"),
    types_pb2.DT_INT64: ("int64_val", "int64"),
    types_pb2.DT_BOOL: ("bool_val", "bool"),
    types_pb2.DT_STRING: ("string_val", "object"),
}
_TYPES = {np.dtype(name): (number, field) for number, (field, name) in _FIELDS.items()}
# A tensor may say its last value once and mean it for all that follow: a few bytes that ask for
# any amount of memory.
_MAX_REPEATED = 1 << 20


def read_inputs(protos: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, np.ndarray]:
    """Reads the inputs of a request.

    Args:
      protos: By name, tensors.

    Returns:
      By name, arrays; strings are `bytes`.

    Raises:
      InvalidRequestError: If one is not a tensor of a type that is known.
    """
    return {name: _read(name, proto) for name, proto in protos.items()}


def write_outputs(
    outputs: Mapping[str, np.ndarray], protos: Mapping[str, tensor_pb2.TensorProto]
) -> None:
    """Writes arrays into the tensors of a message.

    Args:
      outputs: By name, arrays.
      protos: A map field of a message, which makes its tensors itself.
    """
    for name, array in outputs.items():
        proto = protos[name]
        number, field = _TYPES[array.dtype]
        proto.dtype = number
        shape = proto.tensor_shape
        for size in array.shape:
            shape.dim.add().size = size
        flat = array.ravel()
        if number == types_pb2.DT_HALF:  # Its field holds the bits.
            flat = flat.view("uint16")
        getattr(proto, field).extend(flat.tolist())


def _read(name: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return _array(proto)
    except ValueError as error:  # Such as numpy's, of shapes that it can't have.
        raise InvalidRequestError(f"tensor parsing error: {name}") from error


def _array(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Makes an array of a tensor.

    Raises:
      ValueError: If it is none.
    """
    field, dtype = _FIELDS.get(proto.dtype, (None, None))
    if field is None or proto.tensor_shape.unknown_rank:
        raise ValueError("Unknown type or shape")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # Of Python's whole numbers, which don't overflow.
    count = math.prod(shape)
    if any(size < 0 for size in shape):
        raise ValueError("Negative size")
    if content := proto.tensor_content:
        if dtype == "object" or count * np.dtype(dtype).itemsize != len(content):
            raise ValueError("Content of another size")
        # A byte that is neither 0 nor 1 is no bool to numpy.
        flat = np.frombuffer(content, "uint8" if dtype == "bool" else dtype)
        return flat.astype(dtype, copy=False).reshape(shape)
    values = getattr(proto, field)
    given = len(values)
    if given > count or (given < count and (not given or count - given > _MAX_REPEATED)):
        raise ValueError("Another number of values")
    array = np.empty(count, "uint16" if dtype == "float16" else dtype)
    with np.errstate(over="ignore"):
        array[:given] = values
    array[given:] = array[given - 1 : given]
    return array.view(dtype).reshape(shape)
