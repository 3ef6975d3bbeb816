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
_EVAL_SHARE = 0.1
_NUM_TEST = 5_000  # Whatever the size of the world: few would not tell models apart.


@dataclasses.dataclass(frozen=True)
class StarOptions:
    """What a world of stars is like.

    Attributes:
      num_ratings: Ratings of train and eval, those of cold users included, which are left out.
      ratings_a_user: How many each user gives on average; businesses are as many as users.
      informative: Whether covariates are where the truth comes from; else they are noise.
      cold_share: Share of users without ratings in train and eval.
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
        rng.integers(num, size=options.num_ratings + _NUM_TEST).astype(np.int32) for _ in range(2)
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
    learnt, test = ratings[:-_NUM_TEST], ratings[-_NUM_TEST:]
    learnt = learnt[learnt.user_rows >= options.cold_share * num]
    is_eval = rng.random(len(learnt)) < _EVAL_SHARE
    return StarWorld(
        *entity_tables(*covariates), train=learnt[~is_eval], eval=learnt[is_eval], test=test
    )
