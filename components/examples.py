"""Reads the tables out of Examples artifacts."""

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from models import features, postings, tables
from models.places import Places, read_facts, read_places


def split_files(channel: list[types.Artifact], split: str) -> list[str]:
    """Lists the TFRecord files of one split, sorted.

    Args:
      channel: An Examples artifact, alone in its list.
      split: Name of the split.
    """
    uri = artifact_utils.get_split_uri(channel, split)
    return sorted(fileio.glob(f"{uri}/*"))


class StarSchema:
    """The ids of both entity tables, and the interactions as rows of them."""

    def __init__(
        self,
        interactions: list[types.Artifact],
        users: list[types.Artifact],
        businesses: list[types.Artifact],
    ):
        """Reads the ids; interactions are read when they are asked for.

        Args:
          interactions: Examples with the splits train, eval and test.
          users: Examples with the split all, raw or transformed.
          businesses: Likewise.
        """
        self._interactions = interactions
        self.user_ids = tables.read_ids(split_files(users, features.ALL), features.USER_ID)
        self._business_files = split_files(businesses, features.ALL)
        self.business_ids = tables.read_ids(self._business_files, features.BUSINESS_ID)
        self._user_index = tables.IdIndex(self.user_ids)
        self._business_index = tables.IdIndex(self.business_ids)

    def read(self, split: str) -> tables.Interactions:
        """Reads one split of the interactions."""
        return tables.read_interactions(
            split_files(self._interactions, split), self._user_index, self._business_index
        )

    def read_labels(self, key: str) -> tables.Bag:
        """Reads a feature of the businesses, such as their categories.

        Args:
          key: A string feature of the raw table; it may be missing everywhere.

        Returns:
          By business, its values.
        """
        return read_facts(self._business_files, {key: tf.string})[key]

    def places(self) -> Places:
        """Reads what requests filter businesses by."""
        return read_places(self._business_files)

    def postings(self, key: str) -> dict[bytes, np.ndarray]:
        """Lists the rows of the businesses that carry each value of a feature."""
        labels = self.read_labels(key)
        return postings.invert(labels, np.arange(labels.num_rows, dtype=np.int32))

    def read_fitted(self, refit: bool) -> tables.Interactions:
        """Reads what a final model learns from: train, and eval too under `refit`."""
        train = self.read(features.TRAIN)
        return train + self.read(features.EVAL) if refit else train
