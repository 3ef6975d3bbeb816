"""Which businesses carry a label, such as a category: what a filter needs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from models.tables import Bag


class Postings(tf.Module):
    """Which businesses carry a label, such as a category: the postings of a filter."""

    def __init__(self, postings: Mapping[bytes, np.ndarray], name: str):
        """Builds the lists.

        Args:
          postings: By label, the rows of the businesses that carry it.
          name: Name of the module.
        """
        super().__init__(name=name)
        # The last list is empty and serves every unknown label; under "", which asks for nothing,
        # it also keeps the table from being empty where no business has a label.
        labels = [*sorted(label for label in postings if label), b""]
        lists = [postings[label] for label in labels[:-1]]
        bag = Bag.from_pairs(
            np.repeat(np.arange(len(lists)), [len(rows) for rows in lists]),
            np.concatenate([np.zeros(0, np.int32), *lists]),
            len(labels),
        )
        self.labels = tf.Variable(np.array(labels, object), trainable=False, dtype=tf.string)
        self.values = tf.Variable(bag.values, trainable=False, name="values")
        self.row_splits = tf.Variable(bag.row_splits, trainable=False, name="row_splits")
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(labels, tf.string), tf.range(len(labels), dtype=tf.int64)
            ),
            default_value=len(labels) - 1,
        )

    def rows(self, label: tf.Tensor) -> tf.Tensor:
        """Finds the businesses that carry a label.

        Args:
          label: String scalar; nobody carries an unknown one.

        Returns:
          `[num_rows]` int32 tensor, sorted.
        """
        place = self._table.lookup(label)
        return self.values[self.row_splits[place] : self.row_splits[place + 1]]


def invert(tokens: Bag, rows: np.ndarray) -> dict[bytes, np.ndarray]:
    """Inverts a bag of tokens: which rows carry each token.

    Args:
      tokens: Tokens of each row, as `bytes`.
      rows: `[tokens.num_rows]` int32 array: the row numbers to list.

    Returns:
      By token, a sorted int32 array of rows.
    """
    codes, labels = pd.factorize(tokens.values)
    bag = Bag.from_pairs(codes, np.repeat(rows, tokens.lengths()), len(labels))
    return {label: np.unique(bag.row(place)) for place, label in enumerate(labels)}


def read_postings(module: tf.Module) -> dict[bytes, np.ndarray]:
    """Reads the lists back from a restored `Postings`.

    Args:
      module: What `tf.saved_model.load` made of it.

    Returns:
      By label, an int32 array of rows.
    """
    bag = Bag(module.values.numpy(), module.row_splits.numpy())
    # The last label is the one that stands for none.
    return {label: bag.row(row) for row, label in enumerate(module.labels.numpy()[:-1])}
