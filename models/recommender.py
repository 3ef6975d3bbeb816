"""The exported model: every signature of the two SavedModels, exact and approximate.

A `Recommender` holds the precomputed embeddings of all users and businesses under their real ids,
and the query tower for users who were never in training. Optional inputs have a default of batch
size one, which stands for the whole batch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from models import features, filters, request_histories
from models.exported_tables import ExportedTables
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
from models.signature_inputs import checked, recommending_inputs, traced

# Signature names.
RECOMMEND = "recommend"
RECOMMEND_FEATURES = "recommend_features"
RATE = "rate"
SIMILAR = "similar"
DESCRIBE = "describe"
EMBED_QUERY = "embed_query"
EMBED_CANDIDATE = "embed_candidate"


class Recommender(ExportedTables):
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
        super().__init__(tables, assets_dir, name="recommender")
        self.encoder = encoder
        self.refreshable = refreshable
        # Of the recommending signatures: by name, what holds where an input is left out.
        self.optional_inputs = recommending_inputs(tables.retrieval_weight, tables.rating_weight)
        self._defaults = dict(self.optional_inputs)
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
        users = self.user_rows.lookup(user_id)
        queries = tf.cast(tf.gather(self.query_embeddings, users), tf.float32)

        def seen() -> tf.Tensor:
            lists = tf.RaggedTensor.from_row_splits(
                self.seen_values, self.seen_row_splits, validate=False
            )
            return tf.gather(lists, users).to_tensor(self.num_businesses)

        return self._answer(queries, seen, inputs)

    def _recommend_features(
        self, history_business_id: tf.Tensor, history_stars: tf.Tensor, **inputs: tf.Tensor
    ) -> dict:
        covariates = {key: inputs.pop(key) for key in USER_COVARIATES}
        queries, seen = request_histories.encode(
            self, self.encoder, covariates, history_business_id, history_stars
        )
        return self._answer(queries, lambda: seen, inputs)

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
            "rating": tf.where(rows < self.num_businesses, stars, 0.0),
        }

    def _ranked_again(self, rows, scores, stars, k, shortlist) -> tuple:
        """Orders the shortlists by stars, each cut to its own length before."""
        rows, scores = self._cut(rows, scores, tf.maximum(shortlist, k))
        # Ties keep the order of the first stage.
        order = tf.where(shortlist[:, None] > 0, stars, scores)
        order = tf.where(rows < self.num_businesses, order, float("-inf"))
        best = tf.math.top_k(order, _longest(k)).indices
        return tuple(tf.gather(values, best, batch_dims=1) for values in (rows, scores, stars))

    def _cut(self, rows: tf.Tensor, scores: tf.Tensor, lengths: tf.Tensor) -> Found:
        """Empties what is beyond the length of a row's list."""
        wanted = tf.range(tf.shape(rows)[1])[None, :] < lengths[:, None]
        return tf.where(wanted, rows, self.num_businesses), tf.where(wanted, scores, float("-inf"))

    def _excluded(self, seen: tf.Tensor, exclude_seen: tf.Tensor, named: tf.Tensor) -> tf.Tensor:
        """Joins the rows that are left out by name and, where asked for, those that were seen."""
        named_rows = tf.cast(self.business_rows.lookup(named), tf.int32)
        seen_rows = tf.where(exclude_seen[:, None], seen, self.num_businesses)
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
        own = tf.cast(self.business_rows.lookup(business_id), tf.int32)
        # Only the direction counts: what is like a place is not what is as popular.
        direction = tf.pad(
            gather_rows(self.candidate_embeddings, own)[:, : self.tables.direction_dim],
            [[0, 0], [0, self.candidate_embeddings.shape[1] - self.tables.direction_dim]],
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
        rows = self.business_rows.lookup(business_id)
        # An unknown id is nowhere.
        known = rows < self.num_businesses
        degrees = tf.gather(self.filters.locations_degrees, tf.where(known, rows, 0))
        degrees = tf.where(known[:, None], degrees, float("nan"))
        return {
            "name": tf.gather(self.names, rows),
            "latitude_degrees": degrees[:, 0],
            "longitude_degrees": degrees[:, 1],
        }

    def _embed_query(self, user_id) -> dict:
        rows = self.user_rows.lookup(user_id)
        return {"embedding": tf.cast(tf.gather(self.query_embeddings, rows), tf.float32)}

    def _embed_candidate(self, business_id) -> dict:
        rows = self.business_rows.lookup(business_id)
        return {"embedding": gather_rows(self.candidate_embeddings, rows)}


def _longest(lengths: tf.Tensor) -> tf.Tensor:
    """Returns the greatest of a batch's lengths, 1 for a batch of none."""
    return tf.reduce_max(tf.concat([lengths, [1]], axis=0))
