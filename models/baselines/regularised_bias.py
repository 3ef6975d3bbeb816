"""The regularised bias model of `models.bias`, its shrinkages chosen on eval."""

from models.baselines.choosing import rmse
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.bias import BiasModel, choose_shrinkages, fit_bias

# A dozen pairs of shrinkages at 5 sweeps, then 10 sweeps; 4 passes of 4 ns over the ratings each.
_SECONDS_PER_RATING = 1.2e-6


def _cost(data: BaselineData) -> Cost:
    return Cost(
        num_bytes=40 * len(data.fitted) + 32 * (data.num_users + data.num_businesses),
        seconds=_SECONDS_PER_RATING * len(data.fitted),
    )


def _fit(data: BaselineData) -> Fitted[BiasModel]:
    sizes = (data.num_users, data.num_businesses)
    shrinkages = choose_shrinkages(data.train, data.held_out, *sizes)
    eval_loss = rmse(fit_bias(data.train, *sizes, *shrinkages), data)
    return Fitted(fit_bias(data.fitted, *sizes, *shrinkages), eval_loss)


BIAS = Baseline(_cost, _fit)
