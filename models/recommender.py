"""The exported model: every signature of the two SavedModels, exact and approximate.

A `Recommender` holds the precomputed embeddings of all users and businesses under their real ids,
and the query tower for users who were never in training. Optional inputs have a default of batch
size one, which stands for the whole batch.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from models import features
from models.errors import InputError
from models.factors import fold_in
from models.postings import Postings
from models.query_encoder import USER_COVARIATES
from models.tables import Bag

# Signature names.
RECOMMEND = "recommend"
RECOMMEND_FEATURES = "recommend_features"
RATE = "rate"
SIMILAR = "similar"
EMBED_QUERY = "embed_query"
EMBED_CANDIDATE = "embed_candidate"

DEFAULT_K = 10
MAX_K = 10_000  # A list is an allocation, and k comes from outside.

# Inputs of the recommending signatures that may be left out, with what then holds.
_FILTERS = {
    "k": tf.constant([DEFAULT_K], tf.int32),
    "exclude_seen": tf.constant([False]),
    "exclude_business_id": tf.constant([[""]]),
    "category": tf.constant([""]),
    "city": tf.constant([""]),
}


@dataclasses.dataclass(frozen=True)
class RecommenderTables:
    """Everything of an export that is not a function.

    Attributes:
      user_ids: `[num_users]` array of `bytes`.
      business_ids: `[num_businesses]` array of `bytes`: the catalogue.
      query_embeddings: `[num_users + 1, dim]` float16 array; the last row is a new user's.
      candidate_embeddings: `[num_businesses + 1, dim]` float32 array; the last row is that of a
        business of which nothing is known.
      score_weights: `[dim]` float32 array: what each coordinate counts in a list's score.
      rating_dim: Trailing coordinates, those of the rating block.
      seen: By user, the rows of the businesses that they rated in training.
      mean_stars: Mean training rating, in stars.
      business_bias: `[num_businesses]` float32 array, in stars.
      taste: `[num_businesses, business_dim]` float32 array: `models.taste`.
      history_weights: `[num_businesses]` float32 array: what each weighs in a history.
      factor_ridge: `[factor_dim]` float32 array: `models.factors`; the factors of a business are
        the first coordinates of its rating block.
      factor_weight: What a user's factors count.
      categories: By category, the rows of its businesses.
      cities: By city, the rows of its businesses.
    """

    user_ids: np.ndarray
    business_ids: np.ndarray
    query_embeddings: np.ndarray
    candidate_embeddings: np.ndarray
    score_weights: np.ndarray
    rating_dim: int
    seen: Bag
    mean_stars: float
    business_bias: np.ndarray
    taste: np.ndarray
    history_weights: np.ndarray
    factor_ridge: np.ndarray
    factor_weight: float
    categories: Mapping[bytes, np.ndarray]
    cities: Mapping[bytes, np.ndarray]


class Recommender(tf.Module):
    """Answers requests by exact search, with standard TensorFlow ops only."""

    def __init__(self, tables: RecommenderTables, encoder: tf.Module, assets_dir: str):
        """Builds the module.

        Args:
          tables: Ids, embeddings and postings.
          encoder: A `QueryEncoder`, or one that was restored from another export.
          assets_dir: Folder for the lists of ids, which become assets of the export.

        Raises:
          InputError: If an id can't be a line of a text file.
        """
        super().__init__(name="recommender")
        self.tables = tables
        self.encoder = encoder
        self._num_users = len(tables.user_ids)
        self._num_businesses = len(tables.business_ids)
        # The retrieval block is a direction and one coordinate for popularity.
        self._direction_dim = tables.candidate_embeddings.shape[1] - tables.rating_dim - 1
        self._user_rows = _id_table(tables.user_ids, os.path.join(assets_dir, "user_ids.txt"))
        self._business_rows = _id_table(
            tables.business_ids, os.path.join(assets_dir, "business_ids.txt")
        )
        self.business_ids = tf.Variable(
            np.append(tables.business_ids, b""), trainable=False, name="business_ids"
        )
        self.query_embeddings = tf.Variable(
            tables.query_embeddings, trainable=False, name="query_embeddings"
        )
        self.candidate_embeddings = tf.Variable(
            tables.candidate_embeddings, trainable=False, name="candidate_embeddings"
        )
        self.score_weights = tf.Variable(
            tables.score_weights, trainable=False, name="score_weights"
        )
        self.mean_stars = tf.Variable(tables.mean_stars, trainable=False, name="mean_stars")
        self.business_bias = tf.Variable(
            np.append(tables.business_bias, 0).astype(np.float32),
            trainable=False,
            name="business_bias",
        )
        self.taste = tf.Variable(
            np.pad(tables.taste, [(0, 1), (0, 0)]), trainable=False, name="taste"
        )
        self.rating_dim = tf.Variable(tables.rating_dim, trainable=False, name="rating_dim")
        self.history_weights = tf.Variable(
            tables.history_weights, trainable=False, name="history_weights"
        )
        self.factor_ridge = tf.Variable(tables.factor_ridge, trainable=False, name="factor_ridge")
        self.factor_weight = tf.Variable(
            tables.factor_weight, trainable=False, dtype=tf.float32, name="factor_weight"
        )
        self.seen_values = tf.Variable(tables.seen.values, trainable=False, name="seen_values")
        self.seen_row_splits = tf.Variable(
            np.append(tables.seen.row_splits, tables.seen.row_splits[-1]),
            trainable=False,
            name="seen_row_splits",
        )
        self.categories = Postings(tables.categories, "categories")
        self.cities = Postings(tables.cities, "cities")

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Traces every signature.

        Returns:
          By name, the functions to export; `serving_default` is `recommend`.
        """
        batch_ids = tf.TensorSpec([None], tf.string)
        recommend = _traced(self._recommend, {"user_id": batch_ids}, _FILTERS)
        covariates = {key: tf.constant([-1], tf.int64) for key in USER_COVARIATES}
        history = {
            "history_business_id": tf.constant([[""]]),
            "history_stars": tf.constant([[0.0]]),
        }
        return {
            "serving_default": recommend,
            RECOMMEND: recommend,
            RECOMMEND_FEATURES: _traced(
                self._recommend_features, {}, {**covariates, **history, **_FILTERS}
            ),
            RATE: _traced(self._rate, {"user_id": batch_ids, "business_id": batch_ids}, {}),
            SIMILAR: _traced(self._similar, {"business_id": batch_ids}, {"k": _FILTERS["k"]}),
            EMBED_QUERY: _traced(self._embed_query, {"user_id": batch_ids}, {}),
            EMBED_CANDIDATE: _traced(self._embed_candidate, {"business_id": batch_ids}, {}),
        }

    def search(
        self,
        queries: tf.Tensor,
        k: tf.Tensor,
        excluded: tf.RaggedTensor,
        category: tf.Tensor,
        city: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the best businesses exactly.

        Args:
          queries: `[batch, dim]` float32 tensor, score weights applied.
          k: Int32 scalar.
          excluded: `[batch, None]` int32 ragged tensor of rows to leave out.
          category: `[batch]` string tensor; "" for any.
          city: `[batch]` string tensor; "" for any.

        Returns:
          `[batch, k]` int32 rows and `[batch, k]` float32 scores, best first; where businesses
          run out, the row is `num_businesses` and the score -inf.
        """
        catalogue = self.candidate_embeddings[: self._num_businesses]
        scores = tf.matmul(queries, catalogue, transpose_b=True)
        lowest = tf.fill(tf.shape(excluded.values), float("-inf"))
        scores = tf.tensor_scatter_nd_update(scores, _places(excluded), lowest)
        for labels, wanted in ((self.categories, category), (self.cities, city)):
            scores = tf.cond(
                tf.reduce_any(wanted != ""),
                lambda s=scores, x=labels, w=wanted: tf.where(
                    x.mask(w, self._num_businesses), s, float("-inf")
                ),
                lambda s=scores: s,
            )
        found = tf.math.top_k(scores, tf.minimum(k, self._num_businesses))
        missing = tf.maximum(k - self._num_businesses, 0)
        scores = tf.pad(found.values, [[0, 0], [0, missing]], constant_values=float("-inf"))
        rows = tf.pad(found.indices, [[0, 0], [0, missing]])
        return tf.where(tf.math.is_finite(scores), rows, self._num_businesses), scores

    def _recommend(self, user_id, k, exclude_seen, exclude_business_id, category, city) -> dict:
        users = self._user_rows.lookup(user_id)
        queries = tf.cast(tf.gather(self.query_embeddings, users), tf.float32)
        seen = tf.gather(
            tf.RaggedTensor.from_row_splits(self.seen_values, self.seen_row_splits, validate=False),
            users,
        )
        return self._answer(queries, seen, k, exclude_seen, exclude_business_id, category, city)

    def _recommend_features(
        self,
        history_business_id,
        history_stars,
        k,
        exclude_seen,
        exclude_business_id,
        category,
        city,
        **covariates,
    ) -> dict:
        batch = tf.reduce_max([tf.shape(x)[0] for x in (history_business_id, *covariates.values())])
        covariates = {key: _rows(value, batch) for key, value in covariates.items()}
        rows = tf.cast(self._business_rows.lookup(_rows(history_business_id, batch)), tf.int32)
        stars = _rows(history_stars, batch)
        given = _rows(history_business_id, batch) != ""
        same = tf.debugging.assert_equal(
            tf.shape(rows),
            tf.shape(stars),
            "history_business_id and history_stars must have the same shape [batch, length]; pad "
            "the ids with '' and the stars with 0.",
        )
        # Nothing may run before the check, or its own error could come first.
        with tf.control_dependencies([same]):
            stars = tf.identity(stars)
        rated = given & (stars >= features.MIN_STARS)
        sums = self._history_sums(rows, stars, rated)
        history = tf.ragged.boolean_mask(rows, given & (rows < self._num_businesses))
        directions = self.candidate_embeddings[: self._num_businesses, : self._direction_dim]
        queries = self.encoder.encode(covariates, sums, directions, self.history_weights, history)
        queries = self._insert_factors(queries, rows, stars, rated)
        return self._answer(queries, history, k, exclude_seen, exclude_business_id, category, city)

    def _history_sums(self, rows: tf.Tensor, stars: tf.Tensor, rated: tf.Tensor) -> tf.Tensor:
        """Sums a request's ratings as `models.aggregates.sum_ratings` sums training ratings."""
        residual = stars - self.mean_stars - tf.gather(self.business_bias, rows)
        columns = [
            tf.ones_like(residual),
            residual,
            residual**2,
            tf.cast(stars > 4.5, tf.float32),
            tf.cast(stars < 1.5, tf.float32),
            tf.zeros_like(residual),  # Their age: what a request tells happened lately.
        ]
        taste = tf.gather(self.taste, rows)
        columns = tf.concat(
            [tf.stack(columns, axis=2), taste, residual[:, :, None] * taste], axis=2
        )
        return tf.reduce_sum(columns * tf.cast(rated, tf.float32)[:, :, None], axis=1)

    def _insert_factors(self, queries, rows, stars, rated) -> tf.Tensor:
        """Puts the factors of what a request rated where the rating block begins."""
        factor_dim = len(self.tables.factor_ridge)
        if not factor_dim:
            return queries
        start = self._direction_dim + 1
        candidates = tf.gather(self.candidate_embeddings, rows)[:, :, start:]
        predicted = tf.einsum("bd,bld->bl", queries[:, start:], candidates[:, :, factor_dim:])
        residuals = stars - tf.clip_by_value(predicted, features.MIN_STARS, features.MAX_STARS)
        factors = fold_in(candidates[:, :, :factor_dim], residuals, rated, self.factor_ridge)
        return tf.concat(
            [queries[:, :start], self.factor_weight * factors, queries[:, start:]], axis=1
        )

    def _answer(self, queries, seen, k, exclude_seen, exclude_business_id, category, city) -> dict:
        batch = tf.shape(queries)[0]
        k = _checked_k(k, batch)
        most = tf.reduce_max(tf.concat([k, [1]], axis=0))
        seen = _keep_rows(seen, _rows(exclude_seen, batch))
        named = tf.cast(self._business_rows.lookup(_rows(exclude_business_id, batch)), tf.int32)
        named = tf.ragged.boolean_mask(named, named < self._num_businesses)
        rows, scores = self.search(
            queries * self.score_weights,
            most,
            tf.concat([seen, named], axis=1),
            _rows(category, batch),
            _rows(city, batch),
        )
        wanted = tf.range(most)[None, :] < k[:, None]
        rows = tf.where(wanted, rows, self._num_businesses)
        found = rows < self._num_businesses
        candidates = tf.gather(self.candidate_embeddings, rows)
        ratings = self._stars(queries[:, None, :], candidates)
        return {
            "business_id": tf.gather(self.business_ids, rows),
            "score": tf.where(found, scores, float("-inf")),
            "rating": tf.where(found, ratings, 0.0),
        }

    def _stars(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Returns predicted stars: the inner product of the rating blocks, within the range."""
        block = -self.tables.rating_dim
        stars = tf.reduce_sum(queries[..., block:] * candidates[..., block:], axis=-1)
        return tf.clip_by_value(stars, features.MIN_STARS, features.MAX_STARS)

    def _rate(self, user_id, business_id) -> dict:
        same = tf.debugging.assert_equal(
            tf.shape(user_id),
            tf.shape(business_id),
            "rate takes as many business ids as user ids: row r asks for one pair.",
        )
        with tf.control_dependencies([same]):
            user_id = tf.identity(user_id)
        queries = self._embed_query(user_id)["embedding"]
        candidates = self._embed_candidate(business_id)["embedding"]
        return {"rating": self._stars(queries, candidates)}

    def _similar(self, business_id, k) -> dict:
        batch = tf.shape(business_id)[0]
        k = _checked_k(k, batch)
        most = tf.reduce_max(tf.concat([k, [1]], axis=0))
        own = tf.cast(self._business_rows.lookup(business_id), tf.int32)
        # Only the direction counts: what is like a place is not what is as popular.
        direction = tf.pad(
            tf.gather(self.candidate_embeddings, own)[:, : self._direction_dim],
            [[0, 0], [0, self.tables.candidate_embeddings.shape[1] - self._direction_dim]],
        )
        excluded = tf.ragged.boolean_mask(own[:, None], (own < self._num_businesses)[:, None])
        anything = tf.fill([batch], "")
        rows, scores = self.search(direction, most, excluded, anything, anything)
        wanted = tf.range(most)[None, :] < k[:, None]
        rows = tf.where(wanted, rows, self._num_businesses)
        return {
            "business_id": tf.gather(self.business_ids, rows),
            "score": tf.where(rows < self._num_businesses, scores, float("-inf")),
        }

    def _embed_query(self, user_id) -> dict:
        rows = self._user_rows.lookup(user_id)
        return {"embedding": tf.cast(tf.gather(self.query_embeddings, rows), tf.float32)}

    def _embed_candidate(self, business_id) -> dict:
        rows = self._business_rows.lookup(business_id)
        return {"embedding": tf.gather(self.candidate_embeddings, rows)}


def _traced(function: Callable, required: Mapping, optional: Mapping):
    """Makes a signature whose optional inputs have defaults that the SavedModel records.

    TensorFlow reads the defaults off the Python signature, so one is made to order.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [inspect.Parameter(key, kind) for key in required]
        + [inspect.Parameter(key, kind, default=value) for key, value in optional.items()]
    )

    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return function(**bound.arguments)

    call.__signature__ = signature  # type: ignore[attr-defined]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in required.items()]
    specs += [
        tf.TensorSpec([None] * value.shape.rank, value.dtype, name=key)
        for key, value in optional.items()
    ]
    # Control flow here is explicit; autograph would only convert the libraries, for seconds.
    return tf.function(call, input_signature=specs, autograph=False)


def _rows(values: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Repeats a single row for the whole batch; a full batch stays as it is."""
    shape = tf.concat([[batch], tf.shape(values)[1:]], axis=0)
    return tf.broadcast_to(values, shape)


def _checked_k(k: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Returns k for every row, once it is known to be in range."""
    message = f"k must be from 1 to {MAX_K} in every row."
    checks = [
        tf.debugging.assert_greater_equal(k, 1, message),
        tf.debugging.assert_less_equal(k, MAX_K, message),
    ]
    with tf.control_dependencies(checks):
        return _rows(k, batch)


def _keep_rows(lists: tf.RaggedTensor, keep: tf.Tensor) -> tf.RaggedTensor:
    """Empties the lists of the rows that are not to be kept."""
    mask = lists.with_values(tf.gather(keep, lists.value_rowids()))
    return tf.ragged.boolean_mask(lists, mask)


def _places(rows: tf.RaggedTensor) -> tf.Tensor:
    """Returns `[num_values, 2]` int32: the (query, business) cells that ragged rows name."""
    return tf.stack([tf.cast(rows.value_rowids(), tf.int32), tf.cast(rows.values, tf.int32)], 1)


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
