"""Loads and calls an exported model.

A version is loaded into a graph and session of its own: called through it, a model answers a single
request faster than through an eager SavedModel, and its ScaNN index is freed with it.
"""

import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from models.errors import InputError
from serving import graph_rewriting, model_folders
from serving.errors import (
    InvalidRequestError,
    ServingError,
    UnknownSignatureError,
    reason,
)
from serving.signatures import Given, Signature, read_saved_model

DEFAULT_SIGNATURE = "serving_default"
# Of a graph that is imported while others serve, and the time that these get in between.
_FUNCTIONS_AT_ONCE = 2
_PAUSE_SECONDS = 0.001


def load_model(path: str) -> "ServedModel":
    """Loads an exported model.

    Args:
      path: As `model_folders.find_version` takes it.

    Raises:
      InputError: If there is no complete SavedModel, or it can't be read.
    """
    return ServedModel(model_folders.find_version(path))


class ServedModel:
    """A loaded version, whose signatures may be called from several threads at once.

    Attributes:
      path: Folder of the SavedModel.
      name: Name of the model.
      version: Number of the version; 0 if its folder is not named by a number.
      signatures: By name, what can be called.
      definitions: The same as TensorFlow's `SignatureDef`s.
    """

    def __init__(self, path: str, name: str = ""):
        """Loads a SavedModel; takes seconds.

        Args:
          path: Folder of a SavedModel.
          name: Name of the model; that of the folder of its versions by default.

        Raises:
          InputError: If the SavedModel can't be read.
        """
        # TensorFlow logs a warning for each request that a check in the graph refuses.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf
        from tensorflow.python.util import deprecation

        self.path = path
        parent, folder = os.path.split(os.path.abspath(path) if "://" not in path else path)
        numbered = folder.isdecimal()
        self.version = int(folder) if numbered else 0
        self.name = name or (os.path.basename(parent) if numbered else folder)
        contents = read_saved_model(os.path.join(path, model_folders.SAVED_MODEL))
        self.signatures: Mapping[str, Signature] = contents.signatures
        self.definitions = contents.definitions
        if contents.needs_scann:
            importlib.import_module("scann")  # Registers its ops.
        self._errors = tf.errors
        # Small ops cost less in the caller's own thread (-1) than handed to a pool.
        config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=-1)
        # The graph only calls functions, which are rewritten on their own.
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with self._session.graph.as_default(), deprecation.silence():
                computed = graph_rewriting.computations(self.signatures, contents.graph.graph_def)
                graph_rewriting.drop_saving(contents.graph)
                graph_rewriting.rewrite_only_what_pays(contents.graph)
                _load(self._session, path, contents.graph)
        except (tf.errors.OpError, OSError, ValueError) as error:
            self._session.close()
            raise InputError(
                f"Expected a whole SavedModel in {path!r}; got: {reason(error)}. Export it again."
            ) from error
        # TensorFlow rewrites functions once for each callable, which takes most of a first call.
        calls = {
            computed[name]: _make_call(self._session, one) for name, one in self.signatures.items()
        }
        self._calls = {name: calls[what] for name, what in computed.items()}

    def signature(self, name: str) -> Signature:
        """Returns a signature by name; "" stands for the default one.

        Raises:
          UnknownSignatureError: If there is none of that name.
        """
        try:
            return self.signatures[name or DEFAULT_SIGNATURE]
        except KeyError:
            raise UnknownSignatureError(f'Serving signature key "{name}" not found.') from None

    def call(
        self, signature: str, inputs: Mapping[str, np.ndarray | Sequence]
    ) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
          signature: Name of the signature; "" stands for the default one.
          inputs: By name, arrays or nested lists of the signature's types and shapes. Optional
            inputs may be left out. Strings may be `str` or `bytes`.

        Returns:
          By name, the output arrays; strings are `bytes`.

        Raises:
          UnknownSignatureError: If the model has no such signature.
          InvalidRequestError: If the inputs don't fit the signature.
          ServingError: If the model fails.
        """
        return self.run(signature, self.signature(signature).convert(inputs))

    def run(self, signature: str, given: Given) -> dict[str, np.ndarray]:
        """Calls a signature with inputs that are checked.

        Args:
          signature: Name of a signature that there is; "" stands for the default one.
          given: What `Signature.convert` returned.

        Returns:
          By name, the output arrays; strings are `bytes`.

        Raises:
          InvalidRequestError: If the model refuses the inputs.
          ServingError: If the model fails.
        """
        spec = self.signature(signature)
        try:
            values = self._calls[signature or DEFAULT_SIGNATURE](*spec.complete(given))
        except self._errors.InvalidArgumentError as error:
            raise InvalidRequestError(reason(error)) from error
        except self._errors.OpError as error:
            raise ServingError(reason(error)) from error
        return dict(zip(spec.output_tensors, values, strict=True))

    def close(self) -> None:
        """Frees the model; it can't be called any more."""
        self._calls = {}
        self._session.close()


def _load(session: Any, path: str, graph: Any) -> None:
    """Does what TensorFlow's loader does, in many small pieces.

    To read the file or to import a graph holds Python's lock, and so all requests up, for some
    30 ms; TensorFlow's loader reads it twice and imports all functions at once.

    Args:
      session: The session, of a graph that is the default one.
      path: Folder of the SavedModel.
      graph: Its `MetaGraphDef`, which loses its functions.
    """
    import tensorflow as tf
    from tensorflow.python.saved_model import loader_impl

    library = graph.graph_def.library
    operations = graph.meta_info_def.stripped_op_list
    for start in range(0, len(library.function), _FUNCTIONS_AT_ONCE):
        part = tf.compat.v1.GraphDef(versions=graph.graph_def.versions)
        part.library.function.extend(library.function[start : start + _FUNCTIONS_AT_ONCE])
        tf.graph_util.import_graph_def(part, name="", producer_op_list=operations)
        time.sleep(_PAUSE_SECONDS)
    library.ClearField("function")
    saver = tf.compat.v1.train.import_meta_graph(graph)
    if saver is not None:
        saver.restore(session, os.path.join(path, model_folders.VARIABLES))
    initialize = loader_impl.get_init_op(graph)
    if initialize is not None:
        session.run(initialize, loader_impl.get_asset_tensors(path, graph))


def _make_call(session: Any, signature: Signature) -> Callable:
    """Makes a function of a signature's complete arrays.

    Not by `Session.make_callable`, which hands inputs on to `Session.run`: that looks at each of
    them in Python, 30 µs an input, for which most small requests would wait longer than for the
    model.
    """
    from tensorflow.core.protobuf import config_pb2

    options = config_pb2.CallableOptions(
        feed=[spec.tensor for spec in signature.inputs.values()],
        fetch=list(signature.output_tensors.values()),
    )
    return session._make_callable_from_options(options)
