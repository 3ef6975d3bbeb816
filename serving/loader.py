"""Finds, loads and calls an exported model.

A version is loaded into a graph and session of its own: called through it, a model answers a single
request faster than through an eager SavedModel, and its ScaNN index is freed with it.
"""

import contextlib
import importlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models.errors import InputError
from serving.errors import InvalidRequestError, ServingError, UnknownSignatureError
from serving.signatures import Given, Signature, read_saved_model

DEFAULT_SIGNATURE = "serving_default"
# Where models, and the one that counts by default, lie below a pipeline root.
_MODELS_IN_ROOT = "serving"
_MODEL_IN_ROOT = os.path.join(_MODELS_IN_ROOT, "t2rec")
SAVED_MODEL = "saved_model.pb"
_VARIABLES = os.path.join("variables", "variables")
# What TensorFlow puts around the words of an error: names of its own, and an assertion's brackets.
_NODE = re.compile(r"\{\{\w+ [^{}]*\}\}\s*")
_ASSERTION = re.compile(r"assertion failed: \[(.*)\]$")
# Of a graph that is imported while others serve, and the time that these get in between.
_FUNCTIONS_AT_ONCE = 2
_PAUSE_SECONDS = 0.001


def find_version(path: str) -> str:
    """Finds the folder of the SavedModel that a path stands for.

    Args:
      path: A version folder, a model folder with numbered version folders, of which the largest
        complete one counts, or the root of a pipeline.

    Raises:
      InputError: If there is no complete SavedModel.
    """
    path = _normal(path)
    if exists(os.path.join(path, SAVED_MODEL)):
        return path
    for folder in (path, os.path.join(path, _MODEL_IN_ROOT)):
        if versions := list_versions(folder):
            return next(iter(versions.values()))
    raise _no_model(path)


def find_models(path: str) -> list[str]:
    """Finds the models that a path stands for.

    Args:
      path: A version folder, a model folder with numbered version folders, or the root of a
        pipeline.

    Returns:
      The path itself, or the folders of all models of the root.

    Raises:
      InputError: If there is no complete SavedModel.
    """
    path = _normal(path)
    if list_versions(path):
        return [path]
    folder = os.path.join(path, _MODELS_IN_ROOT)
    models = [os.path.join(folder, name) for name in sorted(list_names(folder))]
    found = [model for model in models if list_versions(model)]
    if not found:
        raise _no_model(path)
    return found


def is_saved_model(path: str) -> bool:
    """Tells whether a folder is a complete SavedModel.

    Args:
      path: A folder. One that is still being copied has no index of variables yet.
    """
    files = (SAVED_MODEL, f"{_VARIABLES}.index")
    return all(exists(os.path.join(path, file)) for file in files)


def list_versions(path: str) -> dict[int, str]:
    """Lists the complete versions of a model.

    Args:
      path: Folder with a folder for each version, named by its number, or a SavedModel that is the
        only version, 0.

    Returns:
      Folders by number, the newest first.
    """
    if is_saved_model(path):
        return {0: path}
    numbers = {int(name): name for name in list_names(path) if name.isdecimal()}
    folders = {number: os.path.join(path, numbers[number]) for number in sorted(numbers)[::-1]}
    return {number: folder for number, folder in folders.items() if is_saved_model(folder)}


def _normal(path: str) -> str:
    return os.path.normpath(path) if "://" not in path else path.rstrip("/")


def _no_model(path: str) -> InputError:
    got = "no such folder" if not exists(path) else f"a folder with {sorted(list_names(path))[:5]}"
    return InputError(
        f"Expected an exported model at {path!r}: a folder with {SAVED_MODEL}, with numbered "
        f"versions, or a pipeline root with {_MODEL_IN_ROOT}; got {got}. Run `t2rec run` first or "
        "give another path; a run whose model was not blessed says at its end where that lies."
    )


def list_names(path: str) -> list[str]:
    """Lists a folder; empty if there is none.

    Args:
      path: A folder, local or on a filesystem that TensorFlow knows.

    Raises:
      InputError: If the filesystem is away or refuses.
    """
    with _access(path):
        if "://" not in path:
            return os.listdir(path) if os.path.isdir(path) else []
        import tensorflow as tf

        return [name.rstrip("/") for name in tf.io.gfile.listdir(path)] if exists(path) else []


def load_model(path: str) -> "ServedModel":
    """Loads an exported model.

    Args:
      path: As `find_version` takes it.

    Raises:
      InputError: If there is no complete SavedModel, or it can't be read.
    """
    return ServedModel(find_version(path))


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
        contents = read_saved_model(os.path.join(path, SAVED_MODEL))
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
                computed = computations(self.signatures, contents.graph.graph_def)
                _drop_saving(contents.graph)
                _rewrite_only_what_pays(contents.graph)
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
        saver.restore(session, os.path.join(path, _VARIABLES))
    initialize = loader_impl.get_init_op(graph)
    if initialize is not None:
        session.run(initialize, loader_impl.get_asset_tensors(path, graph))


def _drop_saving(graph: Any) -> None:
    """Drops what writes the variables, a large function that no server calls.

    Args:
      graph: A `MetaGraphDef` message.
    """
    saving = graph.saver_def.save_tensor_name.partition(":")[0]
    nodes, functions = graph.graph_def.node, graph.graph_def.library.function
    for node in [one for one in nodes if one.name == saving]:
        called = node.attr["f"].func.name
        for function in [one for one in functions if one.signature.name == called]:
            functions.remove(function)
        nodes.remove(node)


def _rewrite_only_what_pays(graph: Any) -> None:
    """Tells TensorFlow which preparations of a SavedModel's functions pay.

    By default it tries all rewritings, twice, which takes five times as long as all the rest of
    loading. Inlining and dropping idle operations do the same for a request: without them it takes
    a third longer, with all the others no less. Nor are shapes inferred through all functions, for
    which Python's lock would be held: nobody asks for them.

    Args:
      graph: A `MetaGraphDef` message, in which each call of a function says how.
    """
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.optimizers.extend(["function", "dependency"])
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    told = config.SerializeToString()
    functions = graph.graph_def.library.function
    for nodes in (graph.graph_def.node, *(one.node_def for one in functions)):
        for node in nodes:
            if "config_proto" in node.attr:
                node.attr["config_proto"].s = told
                node.attr["_disable_call_shape_inference"].b = True


def computations(signatures: Mapping[str, Signature], graph: Any) -> dict[str, tuple]:
    """Tells what signatures compute: the same where one is another by a second name.

    Args:
      signatures: By name.
      graph: Their `GraphDef`, in which each may call a function of its own.

    Returns:
      By name, something to compare.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}

    def computed(signature: Signature, tensor: str) -> tuple:
        node_name, _, place = tensor.partition(":")
        node = nodes.get(node_name)
        # To ask for an attribute that is not there would make it.
        called = node.attr["f"].func.name if node and "f" in node.attr else ""
        if not node or called not in functions:
            return (tensor,)
        names = {spec.tensor.partition(":")[0]: name for name, spec in signature.inputs.items()}
        function = functions[called]
        # All but its name, and what its arguments are called.
        body = [one.SerializeToString(deterministic=True) for one in function.node_def]
        given = [names.get(name, name) for name in node.input]
        return place, *body, *sorted(function.ret.items()), *given

    return {
        name: (
            *one.inputs,
            *((key, *computed(one, tensor)) for key, tensor in one.output_tensors.items()),
        )
        for name, one in signatures.items()
    }


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


def reason(error: Exception) -> str:
    """Returns the words of TensorFlow's message that say why, without nodes and stacks."""
    line = _NODE.sub("", str(error).split("\n\t [[")[0]).strip().split("\n")[-1]
    return _ASSERTION.sub(lambda found: found[1].replace("] [", " "), line)


def exists(path: str) -> bool:
    """Tells whether a file or folder exists; only remote paths need TensorFlow.

    Args:
      path: A path, local or on a filesystem that TensorFlow knows.

    Raises:
      InputError: If the filesystem is away or refuses.
    """
    if "://" not in path:
        return os.path.exists(path)
    with _access(path):
        import tensorflow as tf

        return tf.io.gfile.exists(path)


@contextlib.contextmanager
def _access(path: str) -> Iterator[None]:
    """Tells what a filesystem reports as an error of the input."""
    errors: tuple[type[Exception], ...] = (OSError,)
    if "://" in path:
        import tensorflow as tf

        errors = (OSError, tf.errors.OpError)
    try:
        yield
    except errors as error:
        raise InputError(
            f"Expected a path that can be read; got {path!r}: {reason(error)}. Correct the path, "
            "or give access to it."
        ) from error
