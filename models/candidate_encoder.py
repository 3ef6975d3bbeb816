"""The candidate tower from raw businesses on, for those that are new or have changed."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.candidate_prior import blend
from models.preprocessing import CATEGORIES, CITY, NUMERIC
from models.taste import MAX_COORDINATE
from models.towers import CONTENT, PRIOR, ROW, SUMS, TASTE
from models.two_tower import TwoTowerModel

# What `CandidateEncoder.encode` returns beside the embedding.
EMBEDDING = "embedding"
BIAS = "bias"


class CandidateEncoder(tf.Module):
    """The candidate tower from raw businesses on: the Transform graph, then f̃.

    What ratings said of a business in training stays with its row; what its covariates say is
    computed anew.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        transform: tf.keras.layers.Layer,
        raw_spec: Mapping[str, object],
    ):
        """Joins the two.

        Args:
          model: A trained model.
          transform: The businesses' Transform graph as a layer (`transform_features_layer`).
          raw_spec: What a raw Example holds, for `tf.io.parse_example`.
        """
        super().__init__(name="candidate_encoder")
        self.tower = model.candidate_tower
        self.transform = transform
        self._raw_spec = dict(raw_spec)
        retrieval, sums = model.retrieval, model.rating.sums
        taste, priors = sums.taste, sums.bias.priors
        self._vocabulary_sizes = dict(retrieval.businesses.vocabulary_sizes)
        # The last row, of zeros, is that of a business which nobody has rated.
        self._sums = _table(np.pad(sums.businesses, [(0, 1), (0, 0)]), "sums")
        visits = taste.businesses[:, : taste.taste_dim]
        self._visits = _table(np.pad(visits, [(0, 1), (0, 0)]), "visits")
        self._tags = _table(taste.tags, "tags")
        self._content = _table(retrieval.businesses.content_tokens, "content_tokens")
        self._block_dim = model.options.retrieval_block_dim
        self._candidate_prior, prior = None, retrieval.candidate_prior
        if prior is not None:
            self._candidate_prior = _table(prior.weights, "candidate_prior")
            self._candidate_intercept = _table(prior.intercept, "candidate_intercept")
            self._counts = _table(np.pad(retrieval.counts.numpy(), [(0, 1)]), "counts")
            self._prior_visits = prior.visits
        self._prior_weights = _table(priors.business_weights[:, None], "prior_weights")
        self._prior_intercept = priors.business_intercept
        self.encode = tf.function(
            self._encode,
            autograph=False,
            input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)],
        )

    def _encode(self, examples: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds businesses.

        Args:
          examples: `[batch]` string tensor of raw tf.Examples, as YelpExampleGen writes them.
          rows: `[batch]` int32 tensor: their rows in training, -1 for a new one.

        Returns:
          `embedding`, `[batch, total_dim]` float32, without factors; `taste`, `[batch,
          business_dim]` float32; `bias`, `[batch]` float32, in stars: what covariates say of it.
        """
        raw = tf.io.parse_example(examples, self._raw_spec)
        transformed = self.transform(raw)
        known = tf.where(rows < 0, tf.shape(self._sums)[0] - 1, rows)
        tokens = {
            key: transformed[key]
            if key == CITY
            else tf.cast(tf.RaggedTensor.from_sparse(transformed[key]), tf.int64)
            for key in self._vocabulary_sizes
        }
        taste = tf.gather(self._visits, known)
        if self._tags.shape[0]:
            tags = _sum_tokens(tokens[CATEGORIES], self._tags)
            tags = tf.clip_by_value(tags, -MAX_COORDINATE, MAX_COORDINATE)
            taste = tf.concat([taste, tags], axis=1)
        prior = self._prior(transformed[NUMERIC], tokens)
        embedding = self.tower({
            ROW: rows,
            SUMS: tf.gather(self._sums, known),
            PRIOR: prior,
            NUMERIC: transformed[NUMERIC],
            TASTE: taste,
            CONTENT: self._sum_all(tokens, self._content),
            **tokens,
        })
        if self._candidate_prior is not None:
            numeric = transformed[NUMERIC]
            of_numeric, of_tokens = tf.split(self._candidate_prior, [numeric.shape[1], -1])
            promised = tf.matmul(numeric, of_numeric) + self._sum_all(tokens, of_tokens)
            learnt, rest = tf.split(embedding, [self._block_dim, -1], axis=1)
            told = blend(
                learnt,
                promised + self._candidate_intercept,
                tf.gather(self._counts, known),
                self._prior_visits,
            )
            embedding = tf.concat([told, rest], axis=1)
        return {EMBEDDING: embedding, TASTE: taste, BIAS: prior[:, 0]}

    def _sum_all(self, tokens: Mapping[str, tf.Tensor], coordinates: tf.Tensor) -> tf.Tensor:
        """Adds up what a table says of all tokens, in the order of `content.token_presence`."""
        keys = sorted(self._vocabulary_sizes)
        parts = tf.split(coordinates, [self._vocabulary_sizes[key] for key in keys])
        return tf.add_n([
            _sum_tokens(tokens[key], part) for key, part in zip(keys, parts, strict=True)
        ])

    def _prior(self, numeric: tf.Tensor, tokens: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Adds up what covariates say of a bias, `[batch, 1]`: see `models.ridge.Covariates`."""
        if not self._prior_weights.shape[0]:
            return tf.fill(
                [tf.shape(numeric)[0], 1], tf.constant(self._prior_intercept, tf.float32)
            )
        keys = [CITY, *(key for key in self._vocabulary_sizes if key != CITY)]
        sizes = [numeric.shape[1], *(self._vocabulary_sizes[key] for key in keys)]
        of_numeric, *of_tokens = tf.split(self._prior_weights, sizes)
        prior = tf.matmul(numeric, of_numeric) + self._prior_intercept
        for key, weights in zip(keys, of_tokens, strict=True):
            values = tokens[key]
            if key == CITY:
                prior += tf.gather(weights, values)
            else:
                total = tf.reduce_sum(values.with_values(tf.gather(weights, values.values)), axis=1)
                lengths = tf.cast(values.row_lengths(), tf.float32)
                prior += total / tf.maximum(lengths, 1.0)[:, None]
        return prior


def _sum_tokens(tokens: tf.Tensor | tf.RaggedTensor, coordinates: tf.Tensor) -> tf.Tensor:
    """Adds up the coordinates of the tokens that each row has, one that it has twice once."""
    if not isinstance(tokens, tf.RaggedTensor):
        return tf.gather(coordinates, tokens)
    ordered = tf.sort(tokens.to_tensor(-1), axis=1)
    before = tf.pad(ordered, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
    counted = tf.cast(ordered != before, tf.float32)[:, :, None]
    return tf.reduce_sum(counted * tf.gather(coordinates, tf.maximum(ordered, 0)), axis=1)


def _table(values: np.ndarray, name: str) -> tf.Variable:
    return tf.Variable(values.astype(np.float32), trainable=False, name=name)
