"""Rating factors in requests: the export computes a new user's from what the request rated."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import export
from models.query_encoder import USER_COVARIATES
from models.recommender import Recommender

_WEIGHT, _RIDGE = 0.5, np.array([1.0, 2.0], np.float32)
_HISTORY, _STARS = [b"place-000", b"place-007", b"place-031"], [5.0, 1.0, 4.0]


def _ratings(tables, encoder, folder, history=_HISTORY, stars=_STARS) -> dict[bytes, float]:
    """Asks for the predicted stars of the whole catalogue."""
    recommender = Recommender(tables, encoder, str(folder))
    answer = recommender.signatures()["recommend_features"](
        **{key: tf.constant([-1], tf.int64) for key in USER_COVARIATES},
        history_business_id=tf.constant([history]),
        history_stars=tf.constant([stars]),
        k=tf.constant([len(tables.business_ids)]),
        exclude_seen=tf.constant([False]),
        exclude_business_id=tf.constant([[""]]),
        category=tf.constant([""]),
        city=tf.constant([""]),
    )
    return dict(zip(answer["business_id"].numpy()[0], answer["rating"].numpy()[0], strict=True))


@pytest.fixture(scope="module")
def plain(exact_export):
    """The export's tables without factors, whatever training found, and its encoder."""
    tables, encoder = export.load_tables(exact_export.path)
    factor_dim = len(tables.factor_ridge)
    start = tables.candidate_embeddings.shape[1] - tables.rating_dim
    drop = slice(start, start + factor_dim)
    return (
        dataclasses.replace(
            tables,
            query_embeddings=np.delete(tables.query_embeddings, drop, axis=1),
            candidate_embeddings=np.delete(tables.candidate_embeddings, drop, axis=1),
            rating_dim=tables.rating_dim - factor_dim,
            factor_ridge=np.zeros(0, np.float32),
            factor_weight=0.0,
        ),
        encoder,
    )


@pytest.fixture(scope="module")
def factors(plain):
    rng = np.random.default_rng(0)
    drawn = rng.normal(scale=0.7, size=(len(plain[0].business_ids) + 1, 2)).astype(np.float32)
    drawn[-1] = 0.0
    return drawn


@pytest.fixture(scope="module")
def with_factors(plain, factors):
    tables, _ = plain
    start = tables.candidate_embeddings.shape[1] - tables.rating_dim

    def insert(array, columns):
        return np.concatenate([array[:, :start], columns, array[:, start:]], axis=1)

    nothing = np.zeros([len(tables.query_embeddings), 2], np.float16)
    return dataclasses.replace(
        tables,
        query_embeddings=insert(tables.query_embeddings, nothing),
        candidate_embeddings=insert(tables.candidate_embeddings, factors),
        rating_dim=tables.rating_dim + 2,
        factor_ridge=_RIDGE,
        factor_weight=_WEIGHT,
    )


def test_a_history_gets_the_ridge_regression_of_its_residuals(
    plain, factors, with_factors, tmp_path
):
    tables, encoder = plain
    before = _ratings(tables, encoder, tmp_path)
    after = _ratings(with_factors, encoder, tmp_path)
    rows = {name: row for row, name in enumerate(tables.business_ids)}
    rated = factors[[rows[name] for name in _HISTORY]]
    residuals = np.array(_STARS) - [before[name] for name in _HISTORY]
    own = np.linalg.solve(rated.T @ rated + np.diag(_RIDGE), rated.T @ residuals)
    compared = 0
    for name, stars in before.items():
        if not 1.0 < stars < 5.0:
            continue  # Clipped: what it was is not known.
        expected = np.clip(stars + _WEIGHT * own @ factors[rows[name]], 1.0, 5.0)
        assert after[name] == pytest.approx(expected, abs=1e-3)
        compared += 1
    assert compared > 50
    assert max(abs(after[name] - before[name]) for name in before) > 0.1


def test_without_a_history_factors_change_nothing(plain, with_factors, tmp_path):
    tables, encoder = plain
    before = _ratings(tables, encoder, tmp_path, [b""], [0.0])
    after = _ratings(with_factors, encoder, tmp_path, [b""], [0.0])
    for name, stars in before.items():
        assert after[name] == pytest.approx(stars, abs=1e-5)


def test_padding_counts_nothing(plain, with_factors, tmp_path):
    _, encoder = plain
    short = _ratings(with_factors, encoder, tmp_path)
    padded = _ratings(with_factors, encoder, tmp_path, [*_HISTORY, b"", b""], [*_STARS, 0.0, 0.0])
    for name, stars in short.items():
        assert padded[name] == pytest.approx(stars, abs=1e-4)
