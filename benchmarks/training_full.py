"""The whole trainer on tables of Yelp's size, made in memory, with a planted truth.

A process of its own: `python -m benchmarks.training_full SCALE OUT [key=value ...]`.
"""

import json
import logging
import resource
import sys
import time

import numpy as np

from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.tables import Bag, EntityTable, Interactions

NUM_USERS, NUM_BUSINESSES, NUM_RATINGS = 1_987_897, 150_346, 6_990_280
NOISE_STARS = 1.0
# Covariates as wide as those that Transform makes of Yelp's.
_USER_NUMBERS, _BUSINESS_NUMBERS = 19, 8
_VOCABULARY = {CITY: 1_200, CATEGORIES: 1_300, ATTRIBUTES: 300}
_TOKENS_A_BUSINESS = {CATEGORIES: 4, ATTRIBUTES: 12}
_NUM_GROUPS, _LOYALTY = 200, 0.8
_TRUTH_DIM = 4


def planted(scale: float, seed: int = 0) -> tuple[EntityTable, EntityTable, Interactions]:
    """Draws users, businesses and ratings.

    Four visits of five lead into the group, a town's part say, that a user belongs to; few users
    and businesses have most of the ratings. Stars are mean + biases + an inner product of four
    coordinates + noise, rounded and clipped. Some covariates tell group and bias.

    Args:
      scale: Share of Yelp's size, at most 1.
      seed: Seed of all draws.
    """
    rng = np.random.default_rng(seed)
    users, businesses, ratings = (
        round(scale * n) for n in (NUM_USERS, NUM_BUSINESSES, NUM_RATINGS)
    )
    groups = max(1, round(_NUM_GROUPS * scale))
    group_of_user = rng.integers(groups, size=users)
    group_of_business = np.sort(rng.integers(groups, size=businesses))
    activity = np.cumsum(rng.lognormal(sigma=1.2, size=users))
    popularity = np.cumsum(rng.permutation(np.arange(1, businesses + 1) ** -0.8))
    user_rows = np.searchsorted(activity, rng.random(ratings) * activity[-1])
    # A group's businesses lie side by side, so that a stretch of the totals is theirs.
    starts = np.searchsorted(group_of_business, np.arange(groups + 1))
    below = np.concatenate([[0.0], popularity])[starts]
    group = group_of_user[user_rows]
    at_home = rng.random(ratings) < _LOYALTY
    low, high = np.where(at_home, below[group], 0.0), np.where(at_home, below[group + 1], below[-1])
    draws = low + rng.random(ratings) * (high - low)
    business_rows = np.minimum(np.searchsorted(popularity, draws, side="right"), businesses - 1)
    cells = np.unique(user_rows * businesses + business_rows)
    user_rows, business_rows = np.divmod(rng.permutation(cells), businesses)
    user_bias, business_bias = rng.normal(scale=0.4, size=users), rng.normal(0, 0.4, businesses)
    taste = rng.normal(scale=0.35, size=(users, _TRUTH_DIM)).astype(np.float32)
    traits = rng.normal(scale=0.7, size=(businesses, _TRUTH_DIM)).astype(np.float32)
    stars = 3.7 + user_bias[user_rows] + business_bias[business_rows]
    stars += np.einsum("nk,nk->n", taste[user_rows], traits[business_rows])
    stars = np.clip(np.round(stars + rng.normal(scale=NOISE_STARS, size=len(stars))), 1, 5)
    bags = {}
    for key, length in _TOKENS_A_BUSINESS.items():
        own = group_of_business[:, None] * 7 + np.arange(length)
        noise = rng.integers(_VOCABULARY[key], size=(businesses, length))
        tokens = np.where(rng.random(noise.shape) < 0.3, own % _VOCABULARY[key], noise)
        bags[key] = Bag(
            tokens.astype(np.int32).ravel(), np.arange(businesses + 1, dtype=np.int64) * length
        )

    def numeric(bias: np.ndarray, width: int) -> np.ndarray:
        values = rng.normal(size=(len(bias), width)).astype(np.float32)
        values[:, 0] += bias
        return values

    return (
        EntityTable(np.char.mod(b"%022d", np.arange(users)), numeric(user_bias, _USER_NUMBERS)),
        EntityTable(
            ids=np.char.mod(b"%022d", np.arange(businesses)),
            numeric=numeric(business_bias, _BUSINESS_NUMBERS),
            categorical={CITY: (group_of_business % _VOCABULARY[CITY]).astype(np.int32)},
            bags=bags,
            vocabulary_sizes=dict(_VOCABULARY),
        ),
        Interactions(
            user_rows.astype(np.int32),
            business_rows.astype(np.int32),
            stars.astype(np.float32),
            rng.integers(1_100_000_000, 1_600_000_000, len(stars)),
        ),
    )


class _Clock(logging.Handler):
    """Prints what the trainer logs, with the time and memory that it took so far."""

    def __init__(self):
        super().__init__()
        self._start = time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        wall = time.perf_counter() - self._start
        print(
            f"{wall:7.0f} s {time.process_time():7.0f} CPU s {_peak_mb():6.0f} MB  "
            f"{record.getMessage()[:150]}",
            flush=True,
        )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main(scale: str, out: str, *settings: str) -> None:
    """Trains with default options, but for the settings, and reports what it took.

    Args:
      scale: Share of Yelp's size.
      out: Where to write wall and CPU seconds, the peak memory and what eval said.
      *settings: `key=value` of `TrainingOptions`.
    """
    from models.options import ModelOptions, TrainingOptions
    from models.training import train

    logger = logging.getLogger("t2rec")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Clock())
    users, businesses, ratings = planted(float(scale))
    logger.info(
        "%d users, %d businesses, %d ratings", users.num_rows, businesses.num_rows, len(ratings)
    )
    cut = len(ratings) * 9 // 10
    options = TrainingOptions.model_validate(dict(one.split("=", 1) for one in settings))
    wall, cpu = time.perf_counter(), time.process_time()
    result = train(
        users, businesses, ratings[:cut], ratings[cut:], ModelOptions(), options, refit=True
    )
    report = {
        "ratings": len(ratings),
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
        "scores": {task: choice.trials[-1]["score"] for task, choice in result.choices.items()},
    }
    with open(out, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
