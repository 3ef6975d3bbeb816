"""Small planted data for the baselines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.baselines.interface import BaselineData
from models.preprocessing import CATEGORIES, CITY
from models.tables import Bag, EntityTable, Interactions

MakeData = Callable[..., BaselineData]


def _users(num_users: int, rng) -> EntityTable:
    ids = np.array([b"user %d" % row for row in range(num_users)])
    return EntityTable(ids, rng.normal(size=(num_users, 2)).astype(np.float32))


def _businesses(num_businesses: int, rng) -> EntityTable:
    tokens = rng.integers(3, size=2 * num_businesses).astype(np.int32)
    return EntityTable(
        ids=np.array([b"business %d" % row for row in range(num_businesses)]),
        numeric=rng.normal(size=(num_businesses, 2)).astype(np.float32),
        categorical={CITY: rng.integers(2, size=num_businesses).astype(np.int32)},
        bags={CATEGORIES: Bag(tokens, np.arange(0, 2 * num_businesses + 1, 2))},
        vocabulary_sizes={CITY: 2, CATEGORIES: 3},
    )


@pytest.fixture(scope="session")
def make_ratings() -> Callable[..., Interactions]:
    """Returns a function that makes interactions of (user, business, stars) triples."""

    def make(triples) -> Interactions:
        table = np.array(list(triples), np.float64).reshape(-1, 3)
        rows = table[:, :2].astype(np.int32)
        return Interactions(rows[:, 0], rows[:, 1], table[:, 2].astype(np.float32))

    return make


@pytest.fixture(scope="session")
def make_data(make_ratings) -> MakeData:
    """Returns a function that makes data of triples for train and for eval."""

    def make(train, held_out, num_users, num_businesses, **options) -> BaselineData:
        rng = np.random.default_rng(0)
        train, held_out = make_ratings(train), make_ratings(held_out)
        return BaselineData(
            fitted=train + held_out,
            train=train,
            held_out=held_out,
            users=_users(num_users, rng),
            businesses=_businesses(num_businesses, rng),
            **{"tuning_seconds": 60.0, **options},
        )

    return make


@pytest.fixture(scope="session")
def cliques(make_data) -> BaselineData:
    """Two groups of 30 users that visit 30 businesses each, no one the other group's.

    Each user has visited all businesses of their group but one: user u lacks number u modulo 30.
    """
    visits = [
        (30 * group + user, 30 * group + place, 4.0)
        for group in range(2)
        for user in range(30)
        for place in range(30)
        if place != user
    ]
    held_out = visits[5::11]
    return make_data([v for v in visits if v not in held_out], held_out, 60, 60)


@pytest.fixture(scope="session")
def finds_what_is_missing(cliques) -> Callable[[Any], None]:
    """Returns a check that a model's first place is the one business that a user lacks."""

    def check(model) -> None:
        users = np.arange(60)
        first = model.recommend(users, 3, cliques.fitted.histories(60))[:, 0]
        np.testing.assert_array_equal(first, users)

    return check
