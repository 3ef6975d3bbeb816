"""Reads what a SavedModel's signatures take and give, and checks inputs against it."""

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.errors import InputError
from serving.errors import InvalidRequestError

# By name, the inputs that a request gives; the others have defaults.
Given = Mapping[str, np.ndarray]

# The input that decides how long the lists of an answer are.
LENGTH_INPUT = "k"

_SCANN_NAMESPACE = "Scann>"


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One input of a signature.

    Attributes:
      name: Its name in requests.
      dtype: TensorFlow's name of its type, such as `string`.
      shape: Its shape; -1 for any size.
      default: What it is when left out; None if it is required.
      tensor: Name of the graph's tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    default: np.ndarray | None
    tensor: str

    def convert(self, values: np.ndarray | Sequence, same_type: bool = False) -> np.ndarray:
        """Makes the array that the graph takes.

        Args:
          values: An array, or nested lists, of the input's type and shape.
          same_type: Whether `values` is an array that must have just the input's type; otherwise
            whole numbers may stand for floats, for example.

        Raises:
          InvalidRequestError: If type or shape don't fit.
        """
        if same_type:
            self._check_type(values)
        try:
            # As objects, so that a number among strings does not become one of them.
            array = np.asarray(values, object if self.dtype == "string" else None)
        except ValueError as error:  # Ragged lists.
            raise InvalidRequestError(f"Input {self.name!r} is not a tensor: {error}") from error
        if array.size == 0:
            array = array.astype(self.numpy_dtype)
        self._check_shape(array)
        if self.dtype == "string":
            return self._strings(array)
        kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
        if array.dtype.kind not in kinds[self.numpy_dtype.kind]:
            raise InvalidRequestError(
                f"Expects {self.name!r} to be {self.dtype} but {_describe(array)} is provided"
            )
        with np.errstate(over="ignore"):
            converted = array.astype(self.numpy_dtype)
        if self.numpy_dtype.kind in "iu":
            limits = np.iinfo(self.numpy_dtype)
            lost = (array < limits.min) | (array > limits.max)
        else:
            lost = np.isfinite(array) & ~np.isfinite(converted)
        if np.any(lost):
            raise InvalidRequestError(
                f"Cannot convert {self.name!r} value {array[lost][0]} to {self.dtype} without loss "
                "of precision."
            )
        return converted

    @functools.cached_property
    def one_row_for_all(self) -> bool:
        """Whether one row stands for all of a batch, as it does where the default is one row."""
        return self.default is not None and self.default.shape[:1] == (1,)

    @functools.cached_property
    def numpy_dtype(self) -> np.dtype:
        """The type of the arrays that the graph takes."""
        return np.dtype(object if self.dtype == "string" else self.dtype)

    def _check_type(self, values: np.ndarray | Sequence) -> None:
        assert isinstance(values, np.ndarray)
        if values.dtype != self.numpy_dtype:
            dtype = "string" if values.dtype == object else values.dtype
            raise InvalidRequestError(
                f"Expects {self.name!r} to be {self.dtype} but {dtype} is provided"
            )

    def _check_shape(self, array: np.ndarray) -> None:
        fits = len(array.shape) == len(self.shape) and all(
            want in {-1, size} for want, size in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise InvalidRequestError(
                f"Expects {self.name!r} to have shape {_shape(self.shape)} but "
                f"{_shape(array.shape)} is provided"
            )

    def _strings(self, array: np.ndarray) -> np.ndarray:
        flat = array.ravel().tolist()
        wrong = [value for value in flat if not isinstance(value, str | bytes)]
        if wrong:
            raise InvalidRequestError(
                f"Expects {self.name!r} to be string but {type(wrong[0]).__name__} is provided"
            )
        encoded = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in flat]
        result = np.empty(len(encoded), object)
        result[:] = encoded
        return result.reshape(array.shape)


@dataclasses.dataclass(frozen=True)
class Signature:
    """What can be called by one name.

    Attributes:
      inputs: By name, in alphabetical order.
      output_tensors: By name, in alphabetical order, the graph's tensors.
      outputs: By name, type and shape (-1 for any size).
    """

    inputs: Mapping[str, InputSpec]
    output_tensors: Mapping[str, str]
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]

    def convert(
        self, inputs: Mapping[str, np.ndarray | Sequence], same_types: bool = False
    ) -> Given:
        """Checks inputs, and makes arrays of them.

        Args:
          inputs: By name, arrays or nested lists; those with a default may be left out.
          same_types: Whether the inputs are arrays that must have just the signature's types.

        Returns:
          What was given, by name, in the order of `inputs`.

        Raises:
          InvalidRequestError: If an input is missing, unknown, or of another type or shape.
        """
        if not self._required <= inputs.keys() <= self.inputs.keys():
            sent = sorted(inputs)
            raise InvalidRequestError(
                f"input size does not match signature: {len(sent)}!={len(self.inputs)} "
                f"len({{{','.join(sent)}}}) != len({{{','.join(self.inputs)}}}). "
                f"Sent extra: {{{','.join(sorted(inputs.keys() - self.inputs.keys()))}}}. "
                f"Missing but required: {{{','.join(sorted(self._required - inputs.keys()))}}}."
            )
        return {
            name: spec.convert(inputs[name], same_types)
            for name, spec in self.inputs.items()
            if name in inputs
        }

    def complete(self, given: Given) -> list[np.ndarray | None]:
        """Fills in the defaults.

        Args:
          given: What `convert` returned, maybe of several requests.

        Returns:
          Arrays in the order of `inputs`.
        """
        return [given.get(name, spec.default) for name, spec in self.inputs.items()]

    @functools.cached_property
    def default_length(self) -> int:
        """How long the lists of an answer are if the request does not say; 1 if there are none."""
        spec = self.inputs.get(LENGTH_INPUT)
        if spec is None or spec.default is None or not spec.default.size:
            return 1
        return max(1, int(spec.default.max()))

    @functools.cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(name for name, spec in self.inputs.items() if spec.default is None)

    @functools.cached_property
    def has_rows(self) -> bool:
        """Whether the first dimension of all inputs and outputs is the batch."""
        shapes = [spec.shape for spec in self.inputs.values()]
        shapes += [shape for _, shape in self.outputs.values()]
        optional = [spec for spec in self.inputs.values() if spec.default is not None]
        return all(shape[:1] == (-1,) for shape in shapes) and all(
            spec.one_row_for_all for spec in optional
        )

    def example(self) -> dict[str, np.ndarray]:
        """Makes a request of one row: zeros and "" for what is required, else the defaults."""
        return {
            name: np.full([1 if size < 0 else size for size in spec.shape], b"", object)
            if spec.dtype == "string"
            else np.zeros([1 if size < 0 else size for size in spec.shape], spec.numpy_dtype)
            for name, spec in self.inputs.items()
            if spec.default is None
        }


@dataclasses.dataclass(frozen=True)
class SavedModelContents:
    """What is known of a SavedModel without loading it.

    Attributes:
      signatures: By name.
      definitions: By name, what they were read from: TensorFlow's `SignatureDef`s.
      needs_scann: Whether its graph has ops of ScaNN.
      graph: All of it, a `MetaGraphDef`.
    """

    signatures: Mapping[str, Signature]
    definitions: Mapping[str, Any]
    needs_scann: bool
    graph: Any


def read_saved_model(path: str) -> SavedModelContents:
    """Reads a `saved_model.pb`.

    Args:
      path: The file.

    Raises:
      InputError: If it isn't a SavedModel.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    try:
        (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    except (DecodeError, ValueError) as error:
        raise InputError(
            f"Expected a SavedModel with one graph in {path!r}; got {len(content)} bytes of "
            "something else. Export it again."
        ) from error
    definitions = {
        # A copy: a part of a message keeps all of it in memory.
        name: copy.deepcopy(definition)
        for name, definition in sorted(graph.signature_def.items())
        if definition.outputs and not name.startswith("__")
    }
    return SavedModelContents(
        signatures={name: read_signature(definition) for name, definition in definitions.items()},
        definitions=definitions,
        # The graph's own list of ops leaves out those inside the branches of a condition.
        needs_scann=any(
            node.op.startswith(_SCANN_NAMESPACE)
            for function in graph.graph_def.library.function
            for node in function.node_def
        ),
        graph=graph,
    )


def signature_map(definitions: Mapping[str, Any]) -> Any:
    """Makes the message that GetModelMetadata answers with, a `SignatureDefMap`.

    Args:
      definitions: By name, `SignatureDef`s.
    """
    from tensorflow_serving.apis import get_model_metadata_pb2

    message = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in definitions.items():
        message.signature_def[name].CopyFrom(definition)
    return message


def read_signature(definition: Any) -> Signature:
    """Converts a `SignatureDef`.

    Args:
      definition: TensorFlow's message.
    """
    import tensorflow as tf

    inputs = {}
    for name, info in sorted(definition.inputs.items()):
        default = definition.defaults.get(name)
        inputs[name] = InputSpec(
            name=name,
            dtype=tf.as_dtype(info.dtype).name,
            shape=tuple(dim.size for dim in info.tensor_shape.dim),
            default=None if default is None else tf.make_ndarray(default),
            tensor=info.name,
        )
    outputs = sorted(definition.outputs.items())
    return Signature(
        inputs=inputs,
        output_tensors={name: info.name for name, info in outputs},
        outputs={
            name: (
                tf.as_dtype(info.dtype).name,
                tuple(dim.size for dim in info.tensor_shape.dim),
            )
            for name, info in outputs
        },
    )


def _shape(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _describe(array: np.ndarray) -> str:
    return {"U": "string", "S": "string", "O": "mixed values"}.get(
        array.dtype.kind, str(array.dtype)
    )
