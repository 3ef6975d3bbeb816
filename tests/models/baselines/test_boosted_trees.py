import numpy as np

from models.baselines.boosted_trees import LIGHTGBM
from models.baselines.choosing import rmse
from models.baselines.regularised_bias import BIAS


def test_learns_from_covariates_what_biases_cannot_say(make_data):
    """Stars are a product of a user's and a business's covariates."""
    rng = np.random.default_rng(0)
    empty = make_data([], [], 200, 100)
    likes, kind = np.sign(empty.users.numeric[:, 0]), np.sign(empty.businesses.numeric[:, 0])
    cells = rng.permutation(200 * 100)[:4_000]
    triples = [(c // 100, c % 100, 3 + likes[c // 100] * kind[c % 100]) for c in cells]
    data = make_data(triples[:3_600], triples[3_600:], 200, 100, tuning_seconds=0.0)
    assert rmse(BIAS.fit(data).model, data) > 0.8
    assert rmse(LIGHTGBM.fit(data).model, data) < 0.3
