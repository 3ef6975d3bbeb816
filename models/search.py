"""Exact search: the best businesses of a request, filters and exclusions applied."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from models.filters import Filters, is_in

# Up to this share of the catalogue, the rows that pass a filter are scored alone; beyond it,
# copying them together costs more than scoring all.
_NARROW = 0.25


# Kinds of requests, by the weights of their queries: an index is tuned for each.
PLAIN = 0  # Those that the model was exported with.
WEIGHTED = 1  # A request's own.
NEIGHBOURS = 2  # A business's direction in the place of a query.
KINDS = (PLAIN, WEIGHTED, NEIGHBOURS)
KIND_NAMES = {PLAIN: "plain", WEIGHTED: "weighted", NEIGHBOURS: "neighbours"}


@dataclasses.dataclass(frozen=True)
class Request:
    """What a search is asked for.

    Attributes:
      kind: Int32 scalar: one of `KINDS`.
      queries: `[batch, dim]` float32 tensor, weights applied: its inner product with a candidate
        embedding is the score.
      rating_queries: `[batch, rating_dim]` float32 tensor: whose inner product with a candidate's
        rating block is the predicted stars.
      k: Int32 scalar: length of the lists.
      excluded: `[batch, any]` int32 tensor of rows to leave out, padded with the number of
        businesses.
      filters: By the names of `models.filters.DEFAULTS`, `[batch]` tensors.
      min_stars: `[batch]` float32 tensor: the least predicted stars of a list; -inf for any.
    """

    kind: tf.Tensor
    queries: tf.Tensor
    rating_queries: tf.Tensor
    k: tf.Tensor
    excluded: tf.Tensor
    filters: Mapping[str, tf.Tensor]
    min_stars: tf.Tensor

    def asks_for_stars(self) -> tf.Tensor:
        """Tells whether any row sets a least rating, a bool scalar."""
        return tf.reduce_any(tf.math.is_finite(self.min_stars))

    def rows(self, start: tf.Tensor, stop: tf.Tensor) -> "Request":
        """Returns the request of some rows, a smaller batch."""

        def cut(values):
            return values[start:stop]

        return Request(
            kind=self.kind,
            queries=cut(self.queries),
            rating_queries=cut(self.rating_queries),
            k=self.k,
            excluded=cut(self.excluded),
            filters={key: cut(values) for key, values in self.filters.items()},
            min_stars=cut(self.min_stars),
        )


# `[batch, k]` int32 rows and float32 scores, best first; where businesses run out the row is the
# number of businesses and the score -inf.
Found = tuple[tf.Tensor, tf.Tensor]


class ExactSearch:
    """Scores every business that a request lets through."""

    def __init__(self, candidates: tf.Variable, rating_dim: int, filters: Filters):
        """Joins what is searched.

        Args:
          candidates: `[num_businesses + 1, dim]` float32; the last row is no business.
          rating_dim: Trailing coordinates, those of the rating block.
          filters: Of the same businesses.
        """
        self.num_businesses = candidates.shape[0] - 1
        self.candidates = candidates
        self.rating_dim = rating_dim
        self.filters = filters

    def find(self, request: Request) -> Found:
        """Finds the best businesses.

        Args:
          request: What is asked for.
        """
        return by_filter(
            request,
            self.filters,
            unfiltered=lambda: self.among(request, None),
            filtered=self.among,
        )

    def among(self, request: Request, allowed: tf.Tensor | None) -> Found:
        """Finds the best of some businesses.

        Args:
          request: What is asked for; its filters are not looked at.
          allowed: `[num_rows]` int32 tensor of rows, sorted; None for all.
        """
        columns, candidates, barred = self._columns(allowed)
        scores = self.scores(request.queries, columns, candidates)
        if barred is not None:
            scores = tf.where(barred, float("-inf"), scores)
        scores = tf.cond(
            request.asks_for_stars(),
            lambda: tf.where(
                tf.matmul(
                    request.rating_queries, candidates[:, -self.rating_dim :], transpose_b=True
                )
                >= request.min_stars[:, None],
                scores,
                float("-inf"),
            ),
            lambda: scores,
        )
        scores = tf.tensor_scatter_nd_update(scores, *self._exclusions(request, columns, allowed))
        found = tf.math.top_k(scores, tf.minimum(request.k, tf.size(columns)))
        rows = tf.gather(columns, found.indices)
        return fill_up(rows, found.values, request.k, self.num_businesses)

    def scores(self, queries: tf.Tensor, columns: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Scores some businesses.

        Args:
          queries: `[batch, dim]` float32 tensor.
          columns: `[width]` int32 tensor of their rows.
          candidates: `[width, dim]` float32 tensor of their embeddings.

        Returns:
          `[batch, width]` float32 tensor.
        """
        del columns
        return tf.matmul(queries, candidates, transpose_b=True)

    def _exclusions(
        self, request: Request, columns: tf.Tensor, allowed: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the cells of scores to leave out, `[num_cells, 2]`, and a -inf for each."""
        # The last row of the candidates is no business, and what pads exclusions.
        rows = tf.pad(request.excluded, [[0, 0], [0, 1]], constant_values=self.num_businesses)
        queries = tf.range(tf.shape(rows)[0])[:, None] + tf.zeros_like(rows)
        if allowed is None:
            cells = tf.reshape(tf.stack([queries, rows], axis=2), [-1, 2])
        else:
            places = tf.searchsorted(columns, tf.reshape(rows, [-1]))
            cells = tf.stack([tf.reshape(queries, [-1]), places], axis=1)
            cells = tf.boolean_mask(cells, is_in(tf.reshape(rows, [-1]), columns))
        return cells, tf.fill(tf.shape(cells)[:1], float("-inf"))

    def _columns(self, allowed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Chooses what to score: rows, their embeddings, and which of them are barred all the same.

        Returns:
          `[width]` int32, `[width, dim]` float32 and `[width]` bool tensors; None for no bars.
        """
        # All of them, with the row that is no business: to cut it off would be to copy the rest.
        everything = tf.convert_to_tensor(self.candidates)
        rows = tf.range(self.num_businesses + 1, dtype=tf.int32)
        if allowed is None:
            return rows, everything, None

        def masked() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            free = tf.zeros_like(allowed, tf.bool)
            barred = tf.ones_like(rows, tf.bool)
            return rows, everything, tf.tensor_scatter_nd_update(barred, allowed[:, None], free)

        def gathered() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return allowed, tf.gather(everything, allowed), tf.zeros_like(allowed, tf.bool)

        is_narrow = tf.size(allowed) <= int(_NARROW * self.num_businesses)
        columns, candidates, barred = tf.cond(is_narrow, gathered, masked)
        return columns, tf.ensure_shape(candidates, [None, self.candidates.shape[1]]), barred


def gather_rows(table: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Gathers rows of a variable that is also read as a whole.

    Gathering from the variable itself would make TensorFlow copy all of it at every later reading.
    """
    return tf.gather(tf.convert_to_tensor(table), rows)


def by_filter(
    request: Request,
    filters: Filters,
    unfiltered: Callable[[], Found],
    filtered: Callable[[Request, tf.Tensor], Found],
) -> Found:
    """Answers a batch, of which all or some or none of the rows filter.

    Rows that share a filter, as those of one request do, are answered together.

    Args:
      request: What is asked for.
      filters: Finds the rows that pass.
      unfiltered: Answers the request where nobody filters.
      filtered: Answers a request whose rows share a filter, given the rows that pass.
    """

    def is_shared() -> tf.Tensor:
        same = [tf.reduce_all(values == values[:1]) for values in request.filters.values()]
        return tf.reduce_all(same)

    def answer(start: tf.Tensor, stop: tf.Tensor) -> Found:
        part = request.rows(start, stop)
        one = {key: values[0] for key, values in part.filters.items()}
        return _lists(*filtered(part, filters.rows(one)))

    # One function for both calls below, or the graph would hold it twice.
    place = tf.TensorSpec([], tf.int32)
    answer = tf.function(answer, [place, place], autograph=False).get_concrete_function()
    size = tf.shape(request.queries)[0]

    def one_by_one() -> Found:
        rows, scores = tf.map_fn(
            lambda index: [part[0] for part in answer(index, index + 1)],
            tf.range(size),
            fn_output_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None])],
        )
        return rows, scores

    rows, scores = tf.cond(
        tf.reduce_any(filters.asked(request.filters)),
        lambda: tf.cond(is_shared(), lambda: answer(tf.constant(0), size), one_by_one),
        unfiltered,
    )
    return _lists(rows, scores)


def _lists(rows: tf.Tensor, scores: tf.Tensor) -> Found:
    """Says that tensors have rank two, which TensorFlow forgets at a branch."""
    rows.set_shape([None, None])
    scores.set_shape([None, None])
    return rows, scores


def fill_up(rows: tf.Tensor, scores: tf.Tensor, k: tf.Tensor, no_row: int) -> Found:
    """Makes lists k long, and marks what is not found.

    Args:
      rows: `[batch, width]` int32 tensor, at most k wide.
      scores: `[batch, width]` float32 tensor; not finite where there is nothing.
      k: Int32 scalar.
      no_row: What stands for no business.
    """
    padding = [[0, 0], [0, tf.maximum(k - tf.shape(rows)[1], 0)]]
    rows = tf.pad(rows, padding)
    scores = tf.pad(scores, padding, constant_values=float("-inf"))
    found = tf.math.is_finite(scores)
    return tf.where(found, rows, no_row), tf.where(found, scores, float("-inf"))
