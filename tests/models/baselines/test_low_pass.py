import numpy as np

from models.baselines.low_pass import LOW_PASS, LowPass
from models.tables import Bag


def test_scores_by_hand(make_ratings):
    # One user, two businesses: V = (1, 1) / √2 and all degrees of businesses are 1.
    model = LowPass(make_ratings([(0, 0, 5), (0, 1, 4)]), 1, 2, seed=0).cut(1, exponent=0.25)
    user, places = model._embed(np.array([0])), model._candidates
    np.testing.assert_allclose(user @ places.T, [[1.0, 1.0]], atol=1e-6)


def test_all_frequencies_give_back_the_normalised_visits(make_ratings):
    # Degrees of businesses 2, 1, 1. V Vᵀ = I: a score is R d_j^-½ d_j^a.
    ratings = make_ratings([(0, 0, 5), (1, 0, 5), (1, 1, 5), (2, 2, 5)])
    model = LowPass(ratings, 3, 3, seed=0).cut(3, exponent=0.5)
    scores = model._embed(np.arange(3)) @ model._candidates.T
    np.testing.assert_allclose(scores, [[1, 0, 0], [1, 1, 0], [0, 0, 1]], atol=1e-5)


def test_finds_what_is_missing_in_a_clique(cliques, finds_what_is_missing):
    model = LOW_PASS.fit(cliques).model
    finds_what_is_missing(model)
    nothing = Bag(np.zeros(0, np.int32), np.zeros(2, np.int64))
    # The other group comes last.
    assert set(model.recommend(np.array([0]), 30, nothing)[0]) == set(range(30))
