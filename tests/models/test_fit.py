import numpy as np
import pytest

from models.fit import Fit, Records, Shared
from models.low_pass import LowPass, LowPassRecipe
from models.options import ModelOptions, TrainingOptions


@pytest.fixture(scope="module")
def fit(planted):
    tables = planted.users, planted.businesses
    shared = Shared(*tables, (4.0, 4.0), 1.0, TrainingOptions(), Records())
    return Fit(shared, planted.train, ModelOptions())


@pytest.mark.parametrize("exponent", [0.25, 0.5])
def test_the_final_low_pass_block_is_cut_out_of_what_eval_chooses_from(fit, exponent):
    """A decomposition of fewer vectors is a rougher one: it would not be what was chosen."""
    recipe = LowPassRecipe(dim=16, user_exponent=exponent, weight=2.0)
    chosen = LowPass.of(fit.low_pass_spectra()[exponent], recipe)
    final = fit.low_pass(recipe)
    np.testing.assert_allclose(final.businesses, chosen.businesses, atol=1e-6)
    np.testing.assert_array_equal(final.history_weights, chosen.history_weights)
    assert final.dim == 16
