"""Worlds in which the paper's model and its rivals predict the stars of the same users again."""

import dataclasses

import numpy as np

from models.tables import EntityTable, Interactions
from models.theory.towers import entity_tables
from models.theory.worlds import RandomSeries, embed_cube

# Of the variance of the truth: the inner product, and either side's bias.
_PART_SHARES = (0.5, 0.25, 0.25)
_MEAN_STARS, _TRUTH_STARS, _NOISE_STARS = 3.7, 0.9, 0.7
_DIM, _AMBIENT, _SMOOTHNESS, _NUM_FACTORS = 2, 16, 2.0, 2
_HELD_OUT = 0.1  # Share of ratings in eval, and in test.


@dataclasses.dataclass(frozen=True)
class StarOptions:
    """What a world of stars is like.

    Attributes:
      num_ratings: Ratings of all splits.
      ratings_a_user: How many each user gives on average; businesses are as many as users.
      informative: Whether covariates are where the truth comes from; else they are noise.
      cold_share: Share of users all of whose ratings are test.
      seed: Seed of everything.
    """

    num_ratings: int
    ratings_a_user: int = 20
    informative: bool = True
    cold_share: float = 0.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class StarWorld:
    """Tables and splits, in the form that training and baselines take."""

    users: EntityTable
    businesses: EntityTable
    train: Interactions
    eval: Interactions
    test: Interactions


def draw_star_world(options: StarOptions) -> StarWorld:
    """Draws a world: whole stars from 1 to 5, of a smooth truth and noise."""
    rng = np.random.default_rng([options.seed, options.num_ratings])
    num = max(20, options.num_ratings // options.ratings_a_user)
    covariates, embeddings = [], []
    for _ in range(2):
        points = rng.random((num, _DIM))
        embeddings.append(RandomSeries.draw(rng, _DIM, _SMOOTHNESS, _NUM_FACTORS + 1)(points))
        if not options.informative:
            points = rng.random((num, _DIM))
        covariates.append(embed_cube(points, _AMBIENT, rng))
    users, businesses = (
        rng.integers(num, size=options.num_ratings).astype(np.int32) for _ in range(2)
    )
    f, g = embeddings[0][users], embeddings[1][businesses]
    parts = (
        (f[:, 1:] * g[:, 1:]).sum(axis=1) / np.sqrt(_NUM_FACTORS),
        f[:, 0],
        g[:, 0],
    )
    truth = sum(np.sqrt(share) * part for share, part in zip(_PART_SHARES, parts, strict=True))
    stars = _MEAN_STARS + _TRUTH_STARS * truth + _NOISE_STARS * rng.normal(size=len(truth))
    ratings = Interactions(users, businesses, np.clip(np.round(stars), 1, 5).astype(np.float32))
    place = rng.random(len(ratings))
    is_test = place < _HELD_OUT
    if options.cold_share:
        is_test = users < options.cold_share * num
    is_eval = ~is_test & (place > 1 - _HELD_OUT)
    return StarWorld(
        *entity_tables(*covariates),
        train=ratings[~is_test & ~is_eval],
        eval=ratings[is_eval],
        test=ratings[is_test],
    )
