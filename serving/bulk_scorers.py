"""Answers for many users or pairs at once, as a model's signatures answer for a few.

Of an exact export only the tables are read: whole blocks of users are ranked by one matrix product
each, which costs half of what the signature does. Other exports are called: an index is a part of
the graph, and a baseline may rate by trees. So are those whose lists are to be ordered or cut by
predicted stars.
"""

import os
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import tensorflow as tf

from models import exported_tables, features, filters, metrics
from models.recommender import RATE, RECOMMEND, RECOMMEND_FEATURES
from models.recommender_tables import RecommenderTables
from models.tables import Bag, IdIndex
from serving.loader import load_model
from serving.model_folders import SAVED_MODEL
from serving.questions import Filters
from serving.signatures import read_saved_model

# Rows of the output that are made at once, whatever k is; embeddings that are gathered at once,
# which a processor's cache holds; users or pairs of a call to a signature.
_BLOCK_ROWS = 1 << 19
_GATHERED_ROWS = 1 << 14
_CALL_ROWS = 256

RECOMMENDATION_SCHEMA = pa.schema([
    pa.field(features.USER_ID, pa.string(), nullable=False),
    pa.field("rank", pa.int32(), nullable=False),
    pa.field(features.BUSINESS_ID, pa.string(), nullable=False),
    pa.field("score", pa.float32(), nullable=False),
    pa.field("rating", pa.float32(), nullable=False),
])
PAIR_SCHEMA = pa.schema([
    pa.field(features.USER_ID, pa.string(), nullable=False),
    pa.field(features.BUSINESS_ID, pa.string(), nullable=False),
    pa.field("rating", pa.float32(), nullable=False),
])


class Scorer(Protocol):
    """Scores columns of ids.

    Each method takes Arrow arrays of strings, of one length.
    """

    def recommend(self, user_ids: pa.StringArray) -> Iterator[pa.Table]:
        """Yields tables of `RECOMMENDATION_SCHEMA`: users in the given order, best first."""

    def rate(self, user_ids: pa.StringArray, business_ids: pa.StringArray) -> Iterator[pa.Table]:
        """Yields tables of `PAIR_SCHEMA`, in the given order."""

    def count_unknown(self, *columns: pa.StringArray) -> int:
        """Counts the rows with an id that the model doesn't know.

        Args:
          columns: User ids, or user ids and business ids.
        """


def load_scorer(path: str, wanted: Filters) -> Scorer:
    """Loads what a worker process needs of an export, which takes seconds.

    Args:
      path: Folder of a SavedModel.
      wanted: What lists may hold.
    """
    contents = read_saved_model(os.path.join(path, SAVED_MODEL))
    has_tables = not contents.needs_scann and RECOMMEND_FEATURES in contents.signatures
    if has_tables and not wanted.min_stars and not wanted.shortlist:
        return ExactScorer(path, wanted)
    return SignatureScorer(path, wanted)


class _IdColumns:
    """Finds the rows of ids in columns of Arrow strings."""

    def __init__(self, user_ids: np.ndarray, business_ids: np.ndarray):
        self._indices = (IdIndex(user_ids), IdIndex(business_ids))

    def rows(self, *columns: pa.StringArray) -> list[np.ndarray]:
        """Returns an int32 array a column: rows, -1 for an unknown id."""
        return [
            index.rows(column.cast(pa.binary()).to_numpy(zero_copy_only=False))
            for index, column in zip(self._indices, columns, strict=False)
        ]

    def count_unknown(self, *columns: pa.StringArray) -> int:
        """Counts the rows with an id that is not known: see `Scorer`."""
        return int(np.count_nonzero(np.min(self.rows(*columns), axis=0) < 0))


class ExactScorer(_IdColumns):
    """Ranks by exact search over an export's tables; row -1, the last, stands for unknown ids."""

    def __init__(self, path: str, wanted: Filters):
        """Reads the tables.

        Args:
          path: Folder of an exact export.
          wanted: What lists may hold; not by predicted stars.
        """
        self._wanted = wanted
        tables = exported_tables.read(path)
        super().__init__(tables.user_ids, tables.business_ids)
        self._business_ids = pa.array(tables.business_ids, pa.binary()).cast(pa.string())
        self._queries = tables.query_embeddings
        # Coordinates of the rating block, and those that count in a list's score.
        self._rated = slice(self._queries.shape[1] - tables.rating_dim, None)
        weights = _weights(wanted, tables)
        self._scored = np.flatnonzero(weights)
        self._weights = weights[self._scored]
        self._rating_blocks = tables.candidate_embeddings[:, self._rated]
        # What is filtered out is not searched, and so costs nothing.
        self._searched_rows = np.flatnonzero(_allowed(wanted, tables)).astype(np.int32)
        self._searched = tables.candidate_embeddings[self._searched_rows[:, None], self._scored]
        self._place = np.full(len(tables.business_ids), -1, np.int32)
        self._place[self._searched_rows] = np.arange(len(self._searched_rows))
        # One more list, an empty one: an unknown user has seen nothing.
        splits = tables.seen.row_splits
        self._seen = Bag(tables.seen.values, np.append(splits, splits[-1]))

    def recommend(self, user_ids: pa.StringArray) -> Iterator[pa.Table]:
        """Recommends to users: see `Scorer`."""
        (rows,) = self.rows(user_ids)
        k = self._wanted.k
        block = max(1, _BLOCK_ROWS // k)
        for start in range(0, len(rows), block):
            users = rows[start : start + block]
            queries = self._queries[users].astype(np.float32)
            weighted = queries[:, self._scored] * self._weights
            seen = self._seen_places(users) if self._wanted.exclude_seen else None
            places = metrics.top_k(weighted, self._searched, k, seen)
            places, scores = _sort_lists(places, _inner_products(weighted, self._searched, places))
            found = places >= 0
            businesses = self._searched_rows[places]
            stars = _inner_products(queries[:, self._rated], self._rating_blocks, businesses)
            yield _recommendations(
                user_ids.slice(start, block),
                found,
                self._business_ids.take(pa.array(businesses[found])),
                scores[found],
                _clip(stars[found]),
            )

    def rate(self, user_ids: pa.StringArray, business_ids: pa.StringArray) -> Iterator[pa.Table]:
        """Predicts stars: see `Scorer`."""
        users, businesses = self.rows(user_ids, business_ids)
        queries = self._queries[users, self._rated].astype(np.float32)
        stars = _inner_products(queries, self._rating_blocks, businesses[:, None])[:, 0]
        yield pa.table([user_ids, business_ids, _clip(stars)], PAIR_SCHEMA)

    def _seen_places(self, users: np.ndarray) -> Bag:
        """Lists what users have seen, as places among what is searched."""
        seen = self._seen.take(users % self._seen.num_rows)
        owners = np.repeat(np.arange(len(users)), seen.lengths())
        places = self._place[seen.values]
        searched = places >= 0
        return Bag.from_pairs(owners[searched], places[searched], len(users))


class SignatureScorer(_IdColumns):
    """Asks a model's own signatures, a batch at a time."""

    def __init__(self, path: str, wanted: Filters):
        """Loads the model.

        Args:
          path: Folder of a SavedModel.
          wanted: What lists may hold.
        """
        super().__init__(
            exported_tables.read_ids(os.path.join(path, exported_tables.USER_IDS_FILE)),
            exported_tables.read_ids(os.path.join(path, exported_tables.BUSINESS_IDS_FILE)),
        )
        self._model = load_model(path)
        self._asked = wanted.inputs()

    def recommend(self, user_ids: pa.StringArray) -> Iterator[pa.Table]:
        """Recommends to users: see `Scorer`."""
        for start in range(0, len(user_ids), _CALL_ROWS):
            users = user_ids.slice(start, _CALL_ROWS)
            answer = self._model.call(RECOMMEND, {"user_id": users.to_pylist(), **self._asked})
            found = answer["business_id"] != b""
            names = pa.array(answer["business_id"][found], pa.binary()).cast(pa.string())
            scores, ratings = answer["score"][found], answer["rating"][found]
            yield _recommendations(users, found, names, scores, ratings)

    def rate(self, user_ids: pa.StringArray, business_ids: pa.StringArray) -> Iterator[pa.Table]:
        """Predicts stars: see `Scorer`."""
        for start in range(0, len(user_ids), _CALL_ROWS):
            pair = [column.slice(start, _CALL_ROWS) for column in (user_ids, business_ids)]
            names = (features.USER_ID, features.BUSINESS_ID)
            asked = {name: ids.to_pylist() for name, ids in zip(names, pair, strict=True)}
            yield pa.table([*pair, self._model.call(RATE, asked)["rating"]], PAIR_SCHEMA)


def _allowed(wanted: Filters, tables: RecommenderTables) -> np.ndarray:
    """Returns a `[num_businesses]` bool array: which of an export's businesses pass filters."""
    asked = {key: [default] for key, default in filters.DEFAULTS.items()} | wanted.inputs()
    one = {
        key: tf.constant(asked[key][0], tf.constant(default).dtype)
        for key, default in filters.DEFAULTS.items()
    }
    mask = np.zeros(len(tables.business_ids), bool)
    mask[filters.Filters(tables.places).rows(one).numpy()] = True
    ids = [business_id.encode() for business_id in wanted.exclude_business_ids]
    excluded = IdIndex(tables.business_ids).rows(ids)
    mask[excluded[excluded >= 0]] = False
    return mask


def _weights(wanted: Filters, tables: RecommenderTables) -> np.ndarray:
    """Returns a `[dim]` float32 array: what each coordinate counts in a list's score."""
    pairs = (
        (wanted.retrieval_weight, tables.retrieval_weight),
        (wanted.rating_weight, tables.rating_weight),
    )
    return tables.spread(*(exported if own is None else own for own, exported in pairs))


def _recommendations(
    user_ids: pa.StringArray,
    found: np.ndarray,
    business_ids: pa.StringArray,
    scores: np.ndarray,
    ratings: np.ndarray,
) -> pa.Table:
    """Lays out lists, of which `found` (`[num_users, k]` bool) says which places are taken."""
    users, ranks = np.nonzero(found)
    return pa.table(
        [
            user_ids.take(pa.array(users)),
            pa.array(ranks + 1, pa.int32()),
            business_ids,
            pa.array(scores, pa.float32()),
            pa.array(ratings, pa.float32()),
        ],
        RECOMMENDATION_SCHEMA,
    )


def _inner_products(left: np.ndarray, right: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Multiplies each row of `left` with some of `right`.

    Args:
      left: `[n, dim]` float32 array.
      right: `[m, dim]` float32 array.
      rows: `[n, k]` integer array of rows of `right`.

    Returns:
      `[n, k]` float32 array.
    """
    products = np.empty(rows.shape, np.float32)
    block = max(1, _GATHERED_ROWS // max(1, rows.shape[1]))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        products[part] = np.einsum("nd,nkd->nk", left[part], right[rows[part]])
    return products


def _sort_lists(rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts lists by score and, where it is the same, by row.

    They are nearly so. But a product of matrices may add up the same numbers in another order, and
    so tell equal candidates apart; `_inner_products` does not.

    Args:
      rows: `[n, k]` integer array, -1 for none, which goes to the end.
      scores: `[n, k]` float32 array.

    Returns:
      Both, sorted.
    """
    order = np.lexsort((rows, -np.where(rows < 0, -np.inf, scores)))
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _clip(stars: np.ndarray) -> np.ndarray:
    return np.clip(stars, features.MIN_STARS, features.MAX_STARS)
