"""Reads the tables out of Examples artifacts."""

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from models import features, tables
from models.places import Places


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
        columns = tables.read_columns(
            self._business_files,
            {
                features.BUSINESS_ID: tf.io.FixedLenFeature([], tf.string),
                key: tf.io.RaggedFeature(tf.string),
            },
        )
        return columns[key].take(np.argsort(columns[features.BUSINESS_ID]))

    def places(self) -> Places:
        """Reads what requests filter businesses by; of one that closed for good no hours."""
        keys = {
            features.BUSINESS_NAME: tf.string,
            features.BUSINESS_LATITUDE_DEGREES: tf.float32,
            features.BUSINESS_LONGITUDE_DEGREES: tf.float32,
            features.BUSINESS_IS_OPEN: tf.int64,
            features.BUSINESS_OPENING_MINUTES: tf.int64,
            features.BUSINESS_CLOSING_MINUTES: tf.int64,
        }
        columns = tables.read_columns(
            self._business_files,
            {
                features.BUSINESS_ID: tf.io.FixedLenFeature([], tf.string),
                **{key: tf.io.RaggedFeature(dtype) for key, dtype in keys.items()},
            },
        )
        order = np.argsort(columns[features.BUSINESS_ID])
        facts = {key: columns[key].take(order) for key in keys}
        closed = facts[features.BUSINESS_IS_OPEN].padded(1, 1) == 0
        hours = [
            np.where(closed, -1, facts[key].padded(len(features.DAYS), -1)).astype(np.int16)
            for key in (features.BUSINESS_OPENING_MINUTES, features.BUSINESS_CLOSING_MINUTES)
        ]
        degrees = (features.BUSINESS_LATITUDE_DEGREES, features.BUSINESS_LONGITUDE_DEGREES)
        return Places(
            names=facts[features.BUSINESS_NAME].padded(1, b"")[:, 0],
            categories=self.postings(features.BUSINESS_CATEGORIES),
            cities=self.postings(features.BUSINESS_CITY),
            locations_degrees=np.hstack([facts[key].padded(1, np.nan) for key in degrees]),
            opening_minutes=hours[0],
            closing_minutes=hours[1],
        )

    def postings(self, key: str) -> dict[bytes, np.ndarray]:
        """Lists the rows of the businesses that carry each value of a feature."""
        labels = self.read_labels(key)
        return tables.postings(labels, np.arange(labels.num_rows, dtype=np.int32))

    def read_fitted(self, refit: bool) -> tables.Interactions:
        """Reads what a final model learns from: train, and eval too under `refit`."""
        train = self.read(features.TRAIN)
        return train + self.read(features.EVAL) if refit else train
