"""Tells what an export keeps on disk: each part, in which precision, and its size."""

import dataclasses
import math
import os
from collections.abc import Iterator

import tensorflow as tf

# By the name of an attribute of the exported `Recommender`.
_HOLD = {
    "query_embeddings": "by user the embedding; the last is that of users who are unknown",
    "candidate_embeddings": "by business the embedding; the last is that of unknown ones",
    "business_ids": "by business the id",
    "names": "by business the name",
    "business_bias": "by business how far its stars are from the mean",
    "taste": "by business its coordinates of taste, for histories in requests",
    "history_weights": "by business what it counts in a history",
    "seen_values": "by user the rows of the businesses rated in training",
    "seen_row_splits": "where each user's begin",
    "filters": "categories, cities, locations and opening hours",
    "encoder": "query tower and rating sums, for users who come with a request",
    "refreshable": "candidate tower and what training learnt under ids, for a refresh",
    "search": "index of the approximate search",
    "mean_stars": "mean training rating",
    "mean_age_years": "mean age of a training rating, which those of requests count as",
    "default_weights": "what the blocks count by default",
    "rating_dim": "width of the rating block",
    "low_pass_dim": "coordinates of the low-pass block",
    "low_pass_weight": "what the low-pass block counts",
    "low_pass_history_weights": "by business what it counts in a history of the low-pass block",
    "factor_ridge": "penalties of factors",
    "factor_weight": "what factors count",
}
_FILES = {
    "assets/user_ids.txt": "ids of the users, in the order of their rows",
    "assets/business_ids.txt": "ids of the businesses, in the order of their rows",
    "assets": "vocabularies of the towers, files of the index",
    "assets.extra": "descriptions and requests for warming up",
    "saved_model.pb": "graph of all signatures",
    "fingerprint.pb": "TensorFlow's fingerprint of the graph",
    "variables": "names and places of all of these tensors",
}
_VARIABLES = "variables"
_ATTRIBUTES = "/.ATTRIBUTES/"


@dataclasses.dataclass(frozen=True)
class Part:
    """Something that an export keeps.

    Attributes:
      name: An attribute of the exported module, or a file.
      holds: What it is; "" of what this module does not know.
      dtype: TensorFlow's names of the types, such as `float16`; "" of a file.
      shape: Of a single tensor; None of several and of files.
      num_bytes: Size on disk.
    """

    name: str
    holds: str
    dtype: str
    shape: tuple[int, ...] | None
    num_bytes: int


def read_parts(path: str) -> list[Part]:
    """Measures the parts of a SavedModel.

    Args:
      path: Folder of a SavedModel that `export.save` wrote.

    Returns:
      The parts, the largest first.
    """
    variables = list(_variables(path))
    parts = [*variables, *_files(path, sum(part.num_bytes for part in variables))]
    return sorted(parts, key=lambda part: -part.num_bytes)


def _variables(path: str) -> Iterator[Part]:
    """Adds up the variables below each attribute of the module."""
    reader = tf.train.load_checkpoint(os.path.join(path, _VARIABLES, "variables"))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    keys: dict[str, list[str]] = {}
    for key in sorted(shapes):
        if _ATTRIBUTES in key:  # Not the graph of objects.
            keys.setdefault(key.split("/")[0], []).append(key)
    for name, below in keys.items():
        yield Part(
            name=name,
            holds=_HOLD.get(name, ""),
            dtype=", ".join(sorted({dtypes[key].name for key in below})),
            shape=tuple(shapes[below[0]]) if len(below) == 1 else None,
            num_bytes=sum(
                # A string has a byte or two for its length, too.
                sum(len(value) + 1 for value in reader.get_tensor(key).flat)
                if dtypes[key] == tf.string and shapes[key]
                else math.prod(shapes[key]) * dtypes[key].size
                for key in below
            ),
        )


def _files(path: str, num_value_bytes: int) -> Iterator[Part]:
    """Measures files without the values of variables, those that have no name here together."""
    sizes: dict[str, int] = {}
    for folder, _, names in tf.io.gfile.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            known = os.path.relpath(file, path)
            known = known if known in _FILES else known.split(os.sep)[0]
            sizes[known] = sizes.get(known, 0) + tf.io.gfile.stat(file).length
    sizes[_VARIABLES] -= num_value_bytes
    for name, size in sizes.items():
        yield Part(name, _FILES.get(name, ""), "", None, size)
