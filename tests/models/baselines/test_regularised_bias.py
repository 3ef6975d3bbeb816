import numpy as np

from models.baselines.regularised_bias import BIAS
from models.bias import choose_shrinkages, fit_bias


def test_it_is_fitted_on_everything_with_what_train_chose(make_data):
    rng = np.random.default_rng(0)
    ratings = np.stack(
        [rng.integers(8, size=120), rng.integers(6, size=120), rng.integers(1, 6, 120)], axis=1
    )
    data = make_data(ratings[:90], ratings[90:], 8, 6)
    shrinkages = choose_shrinkages(data.train, data.held_out, 8, 6)
    expected = fit_bias(data.fitted, 8, 6, *shrinkages)
    rows = np.arange(6)
    np.testing.assert_allclose(BIAS.fit(data).model.rate(rows, rows), expected.rate(rows, rows))
