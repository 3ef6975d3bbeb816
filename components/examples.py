"""Reads the tables out of Examples artifacts."""

from typing import NamedTuple

import tensorflow as tf
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from models import features, tables
from models.places import Places, read_facts, read_places


def split_files(channel: list[types.Artifact], split: str) -> list[str]:
    """Lists the TFRecord files of one split, sorted.

    Args:
      channel: An Examples artifact, alone in its list.
      split: Name of the split.
    """
    uri = artifact_utils.get_split_uri(channel, split)
    return sorted(fileio.glob(f"{uri}/*"))


class Splits(NamedTuple):
    """What there is to learn from; the parts are views of one array, as millions are held once.

    Attributes:
      train: Interactions of the train split.
      held_out: Those of eval.
      fitted: What a final model learns from.
    """

    train: tables.Interactions
    held_out: tables.Interactions
    fitted: tables.Interactions


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

    def read_labels(self, *keys: str) -> dict[str, tables.Bag]:
        """Reads features of the businesses, such as their categories, all of them in one pass.

        Args:
          *keys: String features of the raw table; one may be missing everywhere.

        Returns:
          By feature, the values of each business.
        """
        return read_facts(self._business_files, dict.fromkeys(keys, tf.string))

    def places(self) -> Places:
        """Reads what requests filter businesses by."""
        return read_places(self._business_files)

    def read_splits(self, refit: bool) -> Splits:
        """Reads train and eval, each once.

        Args:
          refit: Whether a final model learns from eval, too.
        """
        train = self.read(features.TRAIN)
        num_train = len(train)
        both = train + self.read(features.EVAL)
        # Frees what was joined.
        train = both[:num_train]
        return Splits(train, both[num_train:], both if refit else train)
