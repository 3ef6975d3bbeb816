import numpy as np
import surprise

from models.baselines.coclustering import fit_coclusters
from models.baselines.surprise_data import SurpriseData


def test_one_cluster_by_hand(make_ratings):
    ratings = make_ratings([(0, 0, 5), (0, 1, 4), (1, 0, 2), (1, 1, 2.5)])
    model = fit_coclusters(ratings, 3, 3, (1, 1), seed=0)
    # The user's mean and the business's minus the mean of all, 3.375: 4.5 + 3.5, 2.25 + 3.25.
    np.testing.assert_allclose(
        model.rate(np.array([0, 1]), np.array([0, 1])), [4.625, 2.125], atol=1e-9
    )
    # Of user 2 and business 2 nothing is known: the other side's mean, or that of all.
    np.testing.assert_allclose(
        model.rate(np.array([2, 0, 2]), np.array([0, 2, 2])), [3.5, 4.5, 3.375], atol=1e-9
    )


def test_predicts_what_the_library_predicts(make_ratings):
    rng = np.random.default_rng(0)
    cells = rng.permutation(20 * 10)[:120]
    ratings = make_ratings([(c // 10, c % 10, rng.integers(1, 6)) for c in cells])
    model = fit_coclusters(ratings, 20, 10, (3, 2), seed=1)
    data = SurpriseData(ratings, scale=2.0)
    theirs = surprise.CoClustering(3, 2, 20, random_state=1).fit(data.trainset)
    users, businesses = np.arange(20), np.arange(20) % 10
    expected = [theirs.estimate(u, b) / 2 for u, b in zip(users, businesses, strict=True)]
    np.testing.assert_allclose(model.rate(users, businesses), np.clip(expected, 1, 5))
