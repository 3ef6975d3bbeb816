"""Chooses on the eval split, within a budget of time."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from models import features
from models.baselines.interface import BaselineData, RatingModel, RetrievalModel
from models.evaluation import RetrievalEvaluation
from models.slices import Known

_LOG = logging.getLogger("t2rec")

Choice = TypeVar("Choice")

# Users whose lists are ranked to judge a trial: recall among them is known within ± .01 or so.
_MAX_USERS = 2_000
_CUT_OFF = 20
# Train ratings that choices are tried on: more say hardly more about which is best.
MAX_RATINGS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Chosen(Generic[Choice]):
    """What was best on the eval split.

    Attributes:
      value: The choice.
      loss: Its loss; infinite if none was a number.
    """

    value: Choice
    loss: float


def of_some_users(data: BaselineData, max_ratings: int = MAX_RATINGS) -> BaselineData:
    """Leaves the ratings of so many users to choose on that trials don't take hours.

    Args:
      data: What is to be fitted in the end remains.
      max_ratings: About how many train ratings to leave; where there are no more, all remain.
    """
    if len(data.train) <= max_ratings:
        return data
    drawn = np.random.default_rng(data.seed).random(data.num_users)
    is_kept = drawn < max_ratings / len(data.train)
    train, held_out = (split[is_kept[split.user_rows]] for split in (data.train, data.held_out))
    return dataclasses.replace(data, train=train, held_out=held_out)


def choose(
    choices: Sequence[Choice], loss: Callable[[Choice], float], seconds: float
) -> Chosen[Choice]:
    """Tries choices in order while time lasts.

    Args:
      choices: The likeliest first, at least one.
      loss: Fits with a choice and tells how bad that is on the eval split.
      seconds: When these are over, or will be before another trial as long as the longest so far
        has ended, the rest is not tried.

    Returns:
      The choice with the least loss, the first of equals.
    """
    started = time.monotonic()
    best, least, longest = choices[0], np.inf, 0.0
    for place, choice in enumerate(choices):
        begun = time.monotonic()
        if place and begun - started + longest > seconds:
            _LOG.info("tried %d of %d choices in the time for tuning", place, len(choices))
            break
        found = loss(choice)
        if found < least:
            best, least = choice, found
        longest = max(longest, time.monotonic() - begun)
    return Chosen(best, least)


def rmse(model: RatingModel, data: BaselineData) -> float:
    """Measures a model that was fitted on train: its RMSE on the eval split, in stars."""
    held_out = data.held_out
    if not len(held_out):
        return 0.0
    predicted = model.rate(held_out.user_rows, held_out.business_rows)
    return float(np.sqrt(np.mean((predicted - held_out.stars) ** 2)))


class MissedShare:
    """1 - recall@20 on the eval split of models that were fitted on train."""

    def __init__(self, data: BaselineData):
        """Draws the users.

        Args:
          data: Its train and eval splits count.
        """
        held_out = data.held_out
        users = np.unique(held_out.user_rows)
        if len(users) > _MAX_USERS:
            users = np.random.default_rng(data.seed).choice(users, _MAX_USERS, replace=False)
            held_out = held_out[np.isin(held_out.user_rows, users)]
        known = Known.from_interactions(data.train, data.num_users, data.num_businesses)
        self._lists = RetrievalEvaluation(held_out, data.train, known)

    def __call__(self, model: RetrievalModel) -> float:
        """Ranks the catalogue for those users and measures the lists."""
        if not len(self._lists.users):
            return 0.0
        ranked = model.recommend(self._lists.users, _CUT_OFF, self._lists.seen)
        return 1.0 - self._lists.mean(ranked, f"recall@{_CUT_OFF}")


def clip(stars: np.ndarray) -> np.ndarray:
    """Keeps predictions within the range of stars."""
    return np.clip(stars, features.MIN_STARS, features.MAX_STARS)
