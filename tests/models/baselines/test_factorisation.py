import numpy as np
import pytest
import surprise

from models.baselines.choosing import rmse
from models.baselines.factorisation import SVD, SVDPP, SgdOptions, factorise
from models.baselines.regularised_bias import BIAS
from models.baselines.surprise_data import SurpriseData


@pytest.fixture(scope="module")
def rank_two(make_data):
    """Stars 3 + ⟨p_u, q_i⟩ with signs of two coordinates: biases explain none of it."""
    rng = np.random.default_rng(0)
    users, businesses = rng.choice([-1, 1], (80, 2)), rng.choice([-1, 1], (60, 2))
    stars = 3 + users @ businesses.T
    cells = rng.permutation(80 * 60)[:3_000]
    triples = [(cell // 60, cell % 60, stars[cell // 60, cell % 60]) for cell in cells]
    return make_data(triples[:2_400], triples[2_400:], 80, 60)


@pytest.mark.parametrize("baseline", [SVD, SVDPP], ids=["svd", "svdpp"])
def test_beats_the_bias_model_on_a_matrix_of_rank_two(baseline, rank_two):
    # Fitted on train + eval, and asked for eval: a test of fit.
    found, biases = (rmse(b.fit(rank_two).model, rank_two) for b in (baseline, BIAS))
    assert biases > 1.2
    assert found < 0.5 * biases


@pytest.mark.parametrize("with_visits", [False, True], ids=["svd", "svdpp"])
def test_predicts_what_the_library_predicts(with_visits, rank_two):
    options = SgdOptions(4, 5, 0.1)
    model = factorise(rank_two.train, 81, 61, options, seed=3, with_visits=with_visits)
    kind = surprise.SVDpp if with_visits else surprise.SVD
    theirs = kind(n_factors=4, n_epochs=5, lr_all=0.005, reg_all=0.1, random_state=3)
    theirs.fit(SurpriseData(rank_two.train).trainset)
    users, businesses = np.arange(60), np.arange(60)[::-1]
    expected = [theirs.estimate(u, b) for u, b in zip(users, businesses, strict=True)]
    np.testing.assert_allclose(model.rate(users, businesses), np.clip(expected, 1, 5))
    # User 80 and business 60 are unknown: the mean alone.
    cold = model.rate(np.array([80]), np.array([60]))
    assert cold[0] == pytest.approx(rank_two.train.stars.mean(), abs=1e-6)
