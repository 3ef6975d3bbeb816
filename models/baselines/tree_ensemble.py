"""Gradient-boosted trees as TensorFlow ops, so that they can be served without their library."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class TreeEnsemble(tf.Module):
    """Sums the leaves that rows of features fall into, exactly as LightGBM does.

    All nodes of all trees lie in flat arrays; a step sends every pair of row and tree down one
    level, and a leaf leads to itself.
    """

    def __init__(self, dump: Mapping[str, Any]):
        """Flattens the trees.

        Args:
          dump: What `lightgbm.Booster.dump_model` tells; features without missing values.
        """
        super().__init__(name="tree_ensemble")
        nodes = _Nodes()
        roots = [nodes.add(tree["tree_structure"]) for tree in dump["tree_info"]]
        self._depth = nodes.depth
        self._roots = tf.Variable(np.array(roots, np.int32), trainable=False)
        self._feature = tf.Variable(np.array(nodes.feature, np.int32), trainable=False)
        self._value = tf.Variable(np.array(nodes.value, np.float64), trainable=False)
        self._left = tf.Variable(np.array(nodes.left, np.int32), trainable=False)
        self._right = tf.Variable(np.array(nodes.right, np.int32), trainable=False)
        # Row 0 stands for splits by a threshold; each other row is a set that goes left.
        self._set = tf.Variable(np.array(nodes.set_row, np.int32), trainable=False)
        most = max((max(found, default=0) for found in nodes.sets), default=0)
        members = np.zeros([len(nodes.sets), most + 2], bool)
        for row, found in enumerate(nodes.sets):
            members[row, list(found)] = True
        self._members = tf.Variable(members, trainable=False)

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        """Predicts.

        Args:
          features: `[num_rows, num_features]` float tensor.

        Returns:
          `[num_rows]` float32 tensor.
        """
        features = tf.cast(features, tf.float64)
        rows = tf.shape(features)[0]
        place = tf.tile(self._roots.read_value()[None, :], [rows, 1])
        last = tf.cast(tf.shape(self._members)[1] - 1, tf.float64)
        for _ in range(self._depth):
            value = tf.gather(features, tf.gather(self._feature, place), batch_dims=1)
            # Categories beyond those of any set are in none: the last column is all False.
            category = tf.cast(tf.clip_by_value(value, 0.0, last), tf.int32)
            set_row = tf.gather(self._set, place)
            is_in = tf.gather_nd(self._members, tf.stack([set_row, category], axis=-1))
            goes_left = tf.where(set_row > 0, is_in, value <= tf.gather(self._value, place))
            place = tf.where(goes_left, tf.gather(self._left, place), tf.gather(self._right, place))
        return tf.cast(tf.reduce_sum(tf.gather(self._value, place), axis=1), tf.float32)


class _Nodes:
    """Nodes in order of their numbers; of a leaf, `value` is what it adds, else the threshold."""

    def __init__(self):
        self.feature, self.value, self.left, self.right, self.set_row = [], [], [], [], []
        self.sets: list[set[int]] = [set()]
        self.depth = 0

    def add(self, node: Mapping[str, Any], depth: int = 0) -> int:
        """Adds a node and all below it; returns its number."""
        number = len(self.feature)
        self.depth = max(self.depth, depth)
        for column in (self.feature, self.value, self.set_row):
            column.append(0)
        self.left.append(number)
        self.right.append(number)
        if "leaf_value" in node:
            self.value[number] = node["leaf_value"]
            return number
        self.feature[number] = node["split_feature"]
        if node["decision_type"] == "==":
            self.set_row[number] = len(self.sets)
            self.sets.append({int(part) for part in str(node["threshold"]).split("||")})
        else:
            self.value[number] = node["threshold"]
        self.left[number] = self.add(node["left_child"], depth + 1)
        self.right[number] = self.add(node["right_child"], depth + 1)
        return number
