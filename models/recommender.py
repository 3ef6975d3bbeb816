"""The exported model: every signature of the two SavedModels, exact and approximate.

A `Recommender` holds the precomputed embeddings of all users and businesses under their real ids,
and the query tower for users who were never in training. Optional inputs have a default of batch
size one, which stands for the whole batch.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models import features, filters
from models.errors import InputError
from models.factors import fold_in
from models.low_pass import pass_histories
from models.query_encoder import USER_COVARIATES
from models.recommender_tables import RecommenderTables
from models.search import (
    NEIGHBOURS,
    PLAIN,
    WEIGHTED,
    ExactSearch,
    Found,
    Request,
    gather_rows,
)
from models.signature_inputs import checked, one_row_each, recommending_inputs, traced

# Signature names.
RECOMMEND = "recommend"
RECOMMEND_FEATURES = "recommend_features"
RATE = "rate"
SIMILAR = "similar"
DESCRIBE = "describe"
EMBED_QUERY = "embed_query"
EMBED_CANDIDATE = "embed_candidate"


class Recommender(tf.Module):
    """Answers requests; by exact search, with standard TensorFlow ops only, unless told."""

    def __init__(
        self,
        tables: RecommenderTables,
        encoder: tf.Module,
        assets_dir: str,
        make_search: Callable[[ExactSearch], Any] | None = None,
        refreshable: tf.Module | None = None,
    ):
        """Builds the module.

        Args:
          tables: Ids, embeddings and facts.
          encoder: A `QueryEncoder`, or one that was restored from another export.
          assets_dir: Folder for the lists of ids, which become assets of the export.
          make_search: Makes an approximate search of the exact one.
          refreshable: What it takes to embed users and businesses anew: `models.refresh`.

        Raises:
          InputError: If an id can't be a line of a text file.
        """
        super().__init__(name="recommender")
        self.tables = tables
        self.encoder = encoder
        self.refreshable = refreshable
        # Of the recommending signatures: by name, what holds where an input is left out.
        self.optional_inputs = recommending_inputs(tables.retrieval_weight, tables.rating_weight)
        self._defaults = dict(self.optional_inputs)
        self._num_users = len(tables.user_ids)
        self._num_businesses = len(tables.business_ids)
        self._direction_dim = tables.direction_dim
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
        self.default_weights = tf.Variable(
            [tables.retrieval_weight, tables.rating_weight],
            trainable=False,
            dtype=tf.float32,
            name="default_weights",
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
        self.low_pass_dim = tf.Variable(tables.low_pass_dim, trainable=False, name="low_pass_dim")
        self.low_pass_weight = tf.Variable(
            tables.low_pass_weight, trainable=False, dtype=tf.float32, name="low_pass_weight"
        )
        self.low_pass_history_weights = tf.Variable(
            tables.low_pass_history_weights, trainable=False, name="low_pass_history_weights"
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
        self.names = tf.Variable(np.append(tables.places.names, b""), trainable=False, name="names")
        self.filters = filters.Filters(tables.places)
        exact = ExactSearch(self.candidate_embeddings, tables.rating_dim, self.filters)
        self.search = make_search(exact) if make_search else exact
        # Functions that signatures share, or the graph would hold them for each.
        self._recommend_all = tf.function(
            self._recommend_to,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, tables.candidate_embeddings.shape[1]], tf.float32, "queries"),
                tf.TensorSpec([None, None], tf.int32, "seen"),
                {
                    key: tf.TensorSpec([None] * value.shape.rank, value.dtype, key)
                    for key, value in self._defaults.items()
                },
            ],
        )
        self._find_all = tf.function(
            self._find_request,
            autograph=False,
            input_signature=[
                tf.TensorSpec([], tf.int32, "kind"),
                tf.TensorSpec([None, tables.candidate_embeddings.shape[1]], tf.float32, "queries"),
                tf.TensorSpec([None, tables.rating_dim], tf.float32, "rating_queries"),
                tf.TensorSpec([], tf.int32, "k"),
                tf.TensorSpec([None, None], tf.int32, "excluded"),
                {
                    key: tf.TensorSpec([None], tf.constant(value).dtype, key)
                    for key, value in filters.DEFAULTS.items()
                },
                tf.TensorSpec([None], tf.float32, "min_stars"),
            ],
        )

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Traces every signature.

        Returns:
          By name, the functions to export; `serving_default` is `recommend`.
        """
        batch_ids = tf.TensorSpec([None], tf.string)
        optional = self.optional_inputs
        recommend = traced(self._recommend, {"user_id": batch_ids}, optional)
        covariates = {key: tf.constant([-1], tf.int64) for key in USER_COVARIATES}
        history = {
            "history_business_id": tf.constant([[""]]),
            "history_stars": tf.constant([[0.0]]),
        }
        return {
            "serving_default": recommend,
            RECOMMEND: recommend,
            RECOMMEND_FEATURES: traced(
                self._recommend_features, {}, {**covariates, **history, **optional}
            ),
            RATE: traced(self._rate, {"user_id": batch_ids, "business_id": batch_ids}, {}),
            SIMILAR: traced(self._similar, {"business_id": batch_ids}, {"k": optional["k"]}),
            DESCRIBE: traced(self._describe, {"business_id": batch_ids}, {}),
            EMBED_QUERY: traced(self._embed_query, {"user_id": batch_ids}, {}),
            EMBED_CANDIDATE: traced(self._embed_candidate, {"business_id": batch_ids}, {}),
        }

    def _recommend(self, user_id: tf.Tensor, **inputs: tf.Tensor) -> dict:
        users = self._user_rows.lookup(user_id)
        queries = tf.cast(tf.gather(self.query_embeddings, users), tf.float32)

        def seen() -> tf.Tensor:
            lists = tf.RaggedTensor.from_row_splits(
                self.seen_values, self.seen_row_splits, validate=False
            )
            return tf.gather(lists, users).to_tensor(self._num_businesses)

        return self._answer(queries, seen, inputs)

    def _recommend_features(
        self, history_business_id: tf.Tensor, history_stars: tf.Tensor, **inputs: tf.Tensor
    ) -> dict:
        covariates = {key: inputs.pop(key) for key in USER_COVARIATES}
        sizes = [tf.size(values) for values in covariates.values()]
        batch = tf.reduce_max([tf.shape(history_business_id)[0], *sizes])
        covariates = one_row_each(covariates, batch)
        history = one_row_each({"ids": history_business_id, "stars": history_stars}, batch)
        rows = tf.cast(self._business_rows.lookup(history["ids"]), tf.int32)
        stars = history["stars"]
        given = history["ids"] != ""
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
        known = given & (rows < self._num_businesses)
        visits = tf.ragged.boolean_mask(rows, known)
        visited = visits.values
        candidates = gather_rows(self.candidate_embeddings, visited)
        queries = self.encoder.encode(
            covariates,
            sums,
            # What training learnt under a user's id is nobody else's.
            tf.zeros([batch, self._direction_dim]),
            candidates[:, : self._direction_dim],
            tf.gather(self.history_weights, visited),
            # Rows of what was just gathered.
            visits.with_values(tf.range(tf.size(visited), dtype=tf.int32)),
        )
        queries = self._insert_low_pass(queries, visits.with_values(candidates), visited)
        queries = self._insert_factors(queries, rows, stars, rated)
        return self._answer(queries, lambda: tf.where(known, rows, self._num_businesses), inputs)

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

    def _insert_low_pass(self, queries, candidates, visited) -> tf.Tensor:
        """Puts what a request's history says of the low-pass block at the retrieval block's end."""
        start, stop = self.tables.low_pass_start, self.tables.retrieval_dim
        if start == stop:
            return queries
        block = pass_histories(
            candidates.with_values(candidates.values[:, start:stop]),
            tf.gather(self.low_pass_history_weights, visited),
            self.low_pass_weight,
        )
        return tf.concat([queries[:, :start], block, queries[:, start:]], axis=1)

    def _insert_factors(self, queries, rows, stars, rated) -> tf.Tensor:
        """Puts the factors of what a request rated where the rating block begins."""
        factor_dim = len(self.tables.factor_ridge)
        if not factor_dim:
            return queries
        start = self.tables.retrieval_dim
        candidates = gather_rows(self.candidate_embeddings, rows)[:, :, start:]
        predicted = tf.einsum("bd,bld->bl", queries[:, start:], candidates[:, :, factor_dim:])
        residuals = stars - tf.clip_by_value(predicted, features.MIN_STARS, features.MAX_STARS)
        factors = fold_in(candidates[:, :, :factor_dim], residuals, rated, self.factor_ridge)
        return tf.concat(
            [queries[:, :start], self.factor_weight * factors, queries[:, start:]], axis=1
        )

    def _answer(
        self,
        queries: tf.Tensor,
        seen: Callable[[], tf.Tensor],
        inputs: Mapping[str, tf.Tensor],
    ) -> dict:
        """Recommends, leaving out what was seen where any row asks for that.

        Args:
          queries: `[batch, dim]` float32 tensor.
          seen: Makes a `[batch, any]` int32 tensor: rows that `exclude_seen` leaves out, padded
            with the number of businesses.
          inputs: By the names of `optional_inputs`, as they came.
        """
        inputs = {**self._defaults, **inputs}
        nothing = tf.zeros([tf.shape(queries)[0], 0], tf.int32)
        rows = tf.cond(tf.reduce_any(inputs["exclude_seen"]), seen, lambda: nothing)
        return self._recommend_all(queries, rows, inputs)

    def _recommend_to(
        self, queries: tf.Tensor, seen: tf.Tensor, inputs: Mapping[str, tf.Tensor]
    ) -> dict:
        """Retrieves by the weighted score, then ranks the shortlists again by stars."""
        asked = checked(inputs, tf.shape(queries)[0])
        k, shortlist = asked["k"], asked["shortlist"]
        rating_queries = queries[:, self.tables.retrieval_dim :]
        rows, scores = self._find(
            Request(
                kind=self._kind(asked["retrieval_weight"], asked["rating_weight"]),
                queries=self._weighted(queries, asked["retrieval_weight"], asked["rating_weight"]),
                rating_queries=rating_queries,
                k=_longest(tf.maximum(shortlist, k)),
                excluded=self._excluded(seen, asked["exclude_seen"], asked["exclude_business_id"]),
                filters={key: asked[key] for key in filters.DEFAULTS},
                # Stars are never below one, whatever the inner product.
                min_stars=tf.where(
                    asked["min_stars"] > features.MIN_STARS, asked["min_stars"], float("-inf")
                ),
            )
        )
        candidates = gather_rows(self.candidate_embeddings, rows)
        stars = self._stars(rating_queries[:, None, :], candidates)
        rows, scores, stars = tf.cond(
            tf.reduce_any(shortlist > 0),
            lambda: self._ranked_again(rows, scores, stars, k, shortlist),
            lambda: (rows, scores, stars),
        )
        rows, scores = self._cut(rows, scores, k)
        return {
            "business_id": tf.gather(self.business_ids, rows),
            "score": scores,
            "rating": tf.where(rows < self._num_businesses, stars, 0.0),
        }

    def _ranked_again(self, rows, scores, stars, k, shortlist) -> tuple:
        """Orders the shortlists by stars, each cut to its own length before."""
        rows, scores = self._cut(rows, scores, tf.maximum(shortlist, k))
        # Ties keep the order of the first stage.
        order = tf.where(shortlist[:, None] > 0, stars, scores)
        order = tf.where(rows < self._num_businesses, order, float("-inf"))
        best = tf.math.top_k(order, _longest(k)).indices
        return tuple(tf.gather(values, best, batch_dims=1) for values in (rows, scores, stars))

    def _cut(self, rows: tf.Tensor, scores: tf.Tensor, lengths: tf.Tensor) -> Found:
        """Empties what is beyond the length of a row's list."""
        wanted = tf.range(tf.shape(rows)[1])[None, :] < lengths[:, None]
        return tf.where(wanted, rows, self._num_businesses), tf.where(wanted, scores, float("-inf"))

    def _excluded(self, seen: tf.Tensor, exclude_seen: tf.Tensor, named: tf.Tensor) -> tf.Tensor:
        """Joins the rows that are left out by name and, where asked for, those that were seen."""
        named_rows = tf.cast(self._business_rows.lookup(named), tf.int32)
        seen_rows = tf.where(exclude_seen[:, None], seen, self._num_businesses)
        return tf.concat([seen_rows, named_rows], axis=1)

    def _weighted(self, queries: tf.Tensor, retrieval: tf.Tensor, rating: tf.Tensor) -> tf.Tensor:
        """Scales the two blocks of queries, so that inner products are weighted scores."""
        blocks = tf.split(queries, [self.tables.retrieval_dim, self.tables.rating_dim], axis=1)
        return tf.concat([retrieval[:, None] * blocks[0], rating[:, None] * blocks[1]], axis=1)

    def _kind(self, retrieval: tf.Tensor, rating: tf.Tensor) -> tf.Tensor:
        """Tells whether the ratio of the weights is, in all rows, the one by default."""
        default = self.tables.retrieval_weight, self.tables.rating_weight
        same = tf.reduce_all(retrieval * default[1] == rating * default[0])
        return tf.where(same, PLAIN, WEIGHTED)

    def _find_request(self, *parts) -> Found:
        return self.search.find(Request(*parts))

    def _find(self, request: Request) -> Found:
        """Calls the one search of the graph, whose arguments are the parts of a request."""
        return self._find_all(
            request.kind,
            request.queries,
            request.rating_queries,
            request.k,
            request.excluded,
            dict(request.filters),
            request.min_stars,
        )

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

    def _similar(self, business_id: tf.Tensor, k: tf.Tensor) -> dict:
        batch = tf.shape(business_id)[0]
        k = checked({"k": k}, batch)["k"]
        own = tf.cast(self._business_rows.lookup(business_id), tf.int32)
        # Only the direction counts: what is like a place is not what is as popular.
        direction = tf.pad(
            gather_rows(self.candidate_embeddings, own)[:, : self._direction_dim],
            [[0, 0], [0, self.candidate_embeddings.shape[1] - self._direction_dim]],
        )
        unfiltered = {key: tf.fill([batch], value) for key, value in filters.DEFAULTS.items()}
        rows, scores = self._find(
            Request(
                kind=tf.constant(NEIGHBOURS),
                queries=direction,
                rating_queries=tf.zeros([batch, self.tables.rating_dim]),
                k=_longest(k),
                excluded=own[:, None],
                filters=unfiltered,
                min_stars=tf.fill([batch], float("-inf")),
            )
        )
        rows, scores = self._cut(rows, scores, k)
        return {"business_id": tf.gather(self.business_ids, rows), "score": scores}

    def _describe(self, business_id: tf.Tensor) -> dict:
        rows = self._business_rows.lookup(business_id)
        # An unknown id is nowhere.
        known = rows < self._num_businesses
        degrees = tf.gather(self.filters.locations_degrees, tf.where(known, rows, 0))
        degrees = tf.where(known[:, None], degrees, float("nan"))
        return {
            "name": tf.gather(self.names, rows),
            "latitude_degrees": degrees[:, 0],
            "longitude_degrees": degrees[:, 1],
        }

    def _embed_query(self, user_id) -> dict:
        rows = self._user_rows.lookup(user_id)
        return {"embedding": tf.cast(tf.gather(self.query_embeddings, rows), tf.float32)}

    def _embed_candidate(self, business_id) -> dict:
        rows = self._business_rows.lookup(business_id)
        return {"embedding": gather_rows(self.candidate_embeddings, rows)}


def _longest(lengths: tf.Tensor) -> tf.Tensor:
    """Returns the greatest of a batch's lengths, 1 for a batch of none."""
    return tf.reduce_max(tf.concat([lengths, [1]], axis=0))


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
