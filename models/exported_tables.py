"""The tables of an export as variables of its SavedModel: how they lie there and are read back."""

import dataclasses
import os
from typing import Any

import numpy as np
import tensorflow as tf

from models import filters
from models.errors import InputError
from models.places import Places
from models.postings import read_postings
from models.recommender_tables import RecommenderTables
from models.tables import Bag

_USER_IDS, _BUSINESS_IDS = "user_ids.txt", "business_ids.txt"
# Within the folder of a SavedModel.
USER_IDS_FILE, BUSINESS_IDS_FILE = (
    os.path.join("assets", name) for name in (_USER_IDS, _BUSINESS_IDS)
)


class ExportedTables(tf.Module):
    """Holds tables as variables, and the lists of ids as assets.

    The names of its attributes are those of the variables in every export.
    """

    def __init__(self, tables: RecommenderTables, assets_dir: str, name: str):
        """Makes the variables.

        Args:
          tables: Ids, embeddings and facts.
          assets_dir: Folder for the lists of ids, which become assets of the export.
          name: Of the module.

        Raises:
          InputError: If an id can't be a line of a text file.
        """
        super().__init__(name=name)
        self.tables = tables
        self.user_rows = _id_table(tables.user_ids, os.path.join(assets_dir, _USER_IDS))
        self.business_rows = _id_table(tables.business_ids, os.path.join(assets_dir, _BUSINESS_IDS))
        unknown = [(0, 1)]  # Behind the last business, what holds of one that is not known.
        splits = tables.seen.row_splits
        weights = [tables.retrieval_weight, tables.rating_weight]
        self.business_ids = _fixed("business_ids", np.append(tables.business_ids, b""))
        self.query_embeddings = _fixed("query_embeddings", tables.query_embeddings)
        self.candidate_embeddings = _fixed("candidate_embeddings", tables.candidate_embeddings)
        self.default_weights = _fixed("default_weights", np.array(weights, np.float32))
        self.mean_stars = _fixed("mean_stars", np.float32(tables.mean_stars))
        self.mean_age_years = _fixed("mean_age_years", np.float32(tables.mean_age_years))
        self.business_bias = _fixed(
            "business_bias", np.pad(tables.business_bias, unknown).astype(np.float32)
        )
        self.taste = _fixed("taste", np.pad(tables.taste, [*unknown, (0, 0)]))
        self.rating_dim = _fixed("rating_dim", tables.rating_dim)
        self.history_weights = _fixed("history_weights", tables.history_weights)
        self.low_pass_dim = _fixed("low_pass_dim", tables.low_pass_dim)
        self.low_pass_weight = _fixed("low_pass_weight", np.float32(tables.low_pass_weight))
        self.low_pass_history_weights = _fixed(
            "low_pass_history_weights", tables.low_pass_history_weights
        )
        self.factor_ridge = _fixed("factor_ridge", tables.factor_ridge)
        self.factor_weight = _fixed("factor_weight", np.float32(tables.factor_weight))
        self.seen_values = _fixed("seen_values", tables.seen.values)
        self.seen_row_splits = _fixed("seen_row_splits", np.append(splits, splits[-1]))
        self.names = _fixed("names", np.append(tables.places.names, b""))
        self.filters = filters.Filters(tables.places)

    @property
    def num_businesses(self) -> int:
        """Businesses in the catalogue; also the row of one that is not."""
        return len(self.tables.business_ids)


def read(path: str) -> RecommenderTables:
    """Reads the tables alone: without the graph, and without a second copy that TensorFlow keeps.

    Args:
      path: Folder of the SavedModel.

    Raises:
      InputError: If it is none of ours, or of another release.
    """
    return read_restored(_SavedVariables.of(path), path)


def read_restored(loaded: Any, path: str) -> RecommenderTables:
    """Reads the tables out of a module that TensorFlow has restored.

    Args:
      loaded: The module.
      path: Folder of the SavedModel.
    """
    splits = loaded.seen_row_splits.numpy()
    num_businesses = loaded.history_weights.shape[0]
    retrieval_weight, rating_weight = loaded.default_weights.numpy().tolist()
    return RecommenderTables(
        user_ids=read_ids(os.path.join(path, USER_IDS_FILE)),
        business_ids=loaded.business_ids.numpy()[:num_businesses],
        query_embeddings=loaded.query_embeddings.numpy(),
        candidate_embeddings=loaded.candidate_embeddings.numpy(),
        retrieval_weight=retrieval_weight,
        rating_weight=rating_weight,
        rating_dim=int(loaded.rating_dim.numpy()),
        seen=Bag(loaded.seen_values.numpy(), splits[:-1]),
        mean_stars=float(loaded.mean_stars.numpy()),
        mean_age_years=float(loaded.mean_age_years.numpy()),
        business_bias=loaded.business_bias.numpy()[:num_businesses],
        taste=loaded.taste.numpy()[:num_businesses],
        history_weights=loaded.history_weights.numpy(),
        factor_ridge=loaded.factor_ridge.numpy(),
        factor_weight=float(loaded.factor_weight.numpy()),
        places=Places(
            names=loaded.names.numpy()[:num_businesses],
            categories=read_postings(loaded.filters.categories),
            cities=read_postings(loaded.filters.cities),
            locations_degrees=loaded.filters.locations_degrees.numpy(),
            opening_minutes=loaded.filters.opening_minutes.numpy(),
            closing_minutes=loaded.filters.closing_minutes.numpy(),
        ),
        low_pass_dim=int(loaded.low_pass_dim.numpy()),
        low_pass_weight=float(loaded.low_pass_weight.numpy()),
        low_pass_history_weights=loaded.low_pass_history_weights.numpy(),
    )


@dataclasses.dataclass(frozen=True)
class _SavedVariables:
    """Stands for a restored module, or a part of it, whose variables are read when asked for."""

    reader: Any
    path: str
    name: str

    @classmethod
    def of(cls, path: str) -> "_SavedVariables":
        reader = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
        return cls(reader, path, "")

    def __getattr__(self, name: str) -> "_SavedVariables":
        return _SavedVariables(self.reader, self.path, f"{self.name}{name}/")

    @property
    def shape(self) -> list[int]:
        return self.reader.get_variable_to_shape_map()[self._key]

    def numpy(self) -> np.ndarray:
        return self.reader.get_tensor(self._key)

    @property
    def _key(self) -> str:
        key = f"{self.name}.ATTRIBUTES/VARIABLE_VALUE"
        if not self.reader.has_tensor(key):
            raise InputError(
                f"Expected an export of this release of t2rec at {self.path!r}; got a SavedModel "
                f"without {self.name.strip('/')}. Export it anew by `t2rec run`."
            )
        return key


def read_ids(path: str) -> np.ndarray:
    """Reads a list of ids of an export, `USER_IDS_FILE` or `BUSINESS_IDS_FILE` in it.

    Args:
      path: The file, which has an id a line, in row order.

    Returns:
      An array of `bytes`.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        return np.array(file.read().split(b"\n")[:-1], dtype=object)


def _fixed(name: str, value: Any) -> tf.Variable:
    return tf.Variable(value, trainable=False, name=name)


def _id_table(ids: np.ndarray, path: str) -> tf.lookup.StaticHashTable:
    """Writes ids to a text file and makes a table from id to row; unknown ids get the last row."""
    if any(b"\n" in i or b"\r" in i for i in ids):
        bad = next(i for i in ids if b"\n" in i or b"\r" in i)
        raise InputError(f"Expected ids without line breaks; got {bad!r}. Remove it from the data.")
    with open(path, "wb") as file:
        file.writelines(i + b"\n" for i in ids)
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            path,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            vocab_size=len(ids),
        ),
        default_value=len(ids),
    )
