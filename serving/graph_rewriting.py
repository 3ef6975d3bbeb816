"""Changes the graph of a SavedModel before it is loaded, so that this takes less time."""

from collections.abc import Mapping
from typing import Any

from serving.signatures import Signature


def drop_saving(graph: Any) -> None:
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


def rewrite_only_what_pays(graph: Any) -> None:
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
