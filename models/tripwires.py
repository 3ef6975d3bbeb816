"""Tripwires: signs that an evaluation can't be trusted. Any that fires fails the gate.

Each compares what must agree if nothing leaked and nobody erred, whatever the model is like.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from models.bootstrap import Interval
from models.gate import TRIPWIRE, Check
from models.tables import Bag, Interactions

# Of the largest score: single precision and the order of summation differ between both searches.
_SCORE_TOLERANCE = 1e-4
# How far below the floor an RMSE may fall, in half-widths of its interval: chance of 1 in 10,000.
_FLOOR_WIDTHS = 2.0
_MEAN_TOLERANCE_STARS = 2e-6

_check = functools.partial(Check, kind=TRIPWIRE)


@dataclasses.dataclass(frozen=True)
class LearntState:
    """What an export holds of the interactions that it was fitted on.

    Attributes:
      seen: By user, the rows of the businesses that it knows they visited.
      mean_stars: The mean rating that it starts from, in stars.
    """

    seen: Bag
    mean_stars: float


def no_test_rows_in_train(test: Interactions, fitted: Interactions) -> Check:
    """Checks that no interaction is in both: the same pair, stars and second."""
    width = 1 + int(max(test.business_rows.max(initial=0), fitted.business_rows.max(initial=0)))

    def pairs(rows: Interactions) -> np.ndarray:
        return rows.user_rows.astype(np.int64) * width + rows.business_rows

    mine, its = pairs(test), pairs(fitted)
    again, before = test[np.isin(mine, its)], fitted[np.isin(its, mine)]
    twice = _rows(again) & _rows(before)
    if not twice:
        return _check(f"none of {len(test):,} test rows is among the training rows", True)
    return _check(
        f"LEAK: {len(twice):,} of {len(test):,} test rows are among the training rows; remove "
        "them from the input, or split it anew",
        False,
    )


def _rows(rows: Interactions) -> set[tuple]:
    columns = (rows.user_rows, rows.business_rows, rows.stars, rows.timestamps_seconds)
    return set(zip(*(column.tolist() for column in columns), strict=True))


def learnt_from_fitted_only(state: LearntState, fitted: Interactions) -> Check:
    """Checks that the export knows the training visits and no others.

    The histories must be those of the training rows, and the mean rating theirs: anything else was
    learnt from rows that it is tested on.
    """
    num_businesses = 1 + int(
        max(state.seen.values.max(initial=0), fitted.business_rows.max(initial=0))
    )
    owners = np.repeat(np.arange(state.seen.num_rows, dtype=np.int64), state.seen.lengths())
    known = np.unique(owners * num_businesses + state.seen.values)
    allowed = fitted.user_rows.astype(np.int64) * num_businesses + fitted.business_rows
    extra = np.count_nonzero(~np.isin(known, allowed))
    mean = fitted.mean_stars
    if not extra and abs(state.mean_stars - mean) <= _MEAN_TOLERANCE_STARS:
        return _check(f"the export knows {len(known):,} visits, all of them from training", True)
    return _check(
        f"LEAK: the export knows {extra:,} visits that are no training rows, and a mean of "
        f"{state.mean_stars:.6f} stars where theirs is {mean:.6f}; train it on those rows alone",
        False,
    )


def terms_from_train_only(terms: Bag, train: Interactions) -> Check:
    """Checks that only businesses with training reviews have words of reviews.

    Args:
      terms: By business, words of its reviews.
      train: Interactions whose texts may be read.
    """
    without = np.bincount(train.business_rows, minlength=terms.num_rows) == 0
    leaked = np.count_nonzero(terms.lengths()[without])
    if not leaked:
        return _check("the vocabulary of reviews is that of training reviews", True)
    return _check(
        f"LEAK: {leaked:,} businesses without training reviews have words of reviews: the "
        "vocabulary was learnt from other splits; count the words of training reviews alone",
        False,
    )


def not_below_the_noise_floor(rmse: Mapping[str, Interval], floor_stars: float) -> Check:
    """Checks that no model beats the truth that the data was generated from.

    Args:
      rmse: By model, its test RMSE, in stars.
      floor_stars: RMSE of the best possible prediction, in stars.
    """
    found = {
        name: interval.value
        for name, interval in rmse.items()
        if interval.value + _FLOOR_WIDTHS * (interval.high - interval.value) < floor_stars
    }
    if not found:
        return _check(f"no RMSE is below the noise floor of {floor_stars:.4f} stars", True)
    told = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    return _check(
        f"LEAK: below the noise floor of {floor_stars:.4f} stars, which nothing can beat without "
        f"having seen the answers: {told}",
        False,
    )


def approximate_not_above_exact(approximate: np.ndarray, exact: np.ndarray) -> Check:
    """Checks that approximate search finds nothing that exact search should have found.

    The r-th best score of exact lists is the largest there is; ties change rows but not scores.

    Args:
      approximate: `[num_queries, k]` array: exact scores of what approximate search listed, best
        first, -inf where a list ran out.
      exact: `[num_queries, k]` array: likewise of exact search.
    """
    tolerance = _SCORE_TOLERANCE * np.abs(exact[np.isfinite(exact)]).max(initial=1.0)
    above = np.count_nonzero((approximate > exact + tolerance).any(axis=1))
    if not above:
        text = f"approximate search is above exact search for none of {len(exact):,} users"
        return _check(text, True)
    return _check(
        f"ERROR: approximate search is above exact search for {above:,} of {len(exact):,} users: "
        "one of both ranks other embeddings, ids or exclusions than the other",
        False,
    )
