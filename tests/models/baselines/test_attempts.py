import numpy as np
import pytest

from models import machine
from models.baselines import registry
from models.baselines.attempts import Limits, Skipped, attempt, excess
from models.baselines.global_mean import GlobalMean
from models.baselines.interface import Baseline, Cost, Fitted

AMPLE = Limits(seconds=60.0, num_bytes=1e9)
FREE = Cost(num_bytes=0.0, seconds=0.0)
HERE = "models.baselines.global_mean:GLOBAL_MEAN"


def rate(model):
    return model.rate(np.zeros(2, int), np.zeros(2, int))


@pytest.fixture
def data(make_data):
    return make_data([(0, 0, 2.0), (0, 0, 4.0)], [], 1, 1)


@pytest.fixture
def replace(monkeypatch):
    """Puts another baseline in the place of the global mean."""

    def put(fit, cost=FREE):
        monkeypatch.setattr(
            "models.baselines.global_mean.GLOBAL_MEAN", Baseline(lambda data: cost, fit)
        )

    return put


def test_what_fits_is_fitted_and_applied(data):
    assert attempt(HERE, data, AMPLE, rate).output.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        (
            Cost(num_bytes=2.5e9, seconds=1.0),
            "it would take about 2.5 GB of memory; baselines.max_memory_gb allows 1.0",
        ),
        (
            Cost(num_bytes=1.0, seconds=200.0),
            "it would take about 400 s; baselines.max_seconds allows 60",
        ),
    ],
    ids=["memory", "time"],
)
def test_what_is_too_large_is_never_started(data, replace, cost, reason):
    replace(lambda data: pytest.fail("it was started"), cost)
    assert attempt(HERE, data, AMPLE, rate) == Skipped(reason)


def test_free_memory_is_a_limit_too(monkeypatch):
    monkeypatch.setattr(machine, "available_bytes", lambda: 0.5e9)
    reason = excess(Cost(num_bytes=0.8e9, seconds=1.0), AMPLE)
    assert reason == "it would take about 0.8 GB of memory; 0.5 are free"


def test_what_raises_is_reported_with_its_error(data, replace):
    def fit(data):
        raise ZeroDivisionError("no ratings at all")

    replace(fit)
    skipped = attempt(HERE, data, AMPLE, rate)
    assert skipped == Skipped("it failed: ZeroDivisionError: no ratings at all")


def test_what_predicts_nan_is_reported(data, replace):
    replace(lambda data: Fitted(GlobalMean(data.fitted), 0.0))
    skipped = attempt(HERE, data, AMPLE, lambda model: rate(model) * np.nan)
    assert skipped == Skipped("it failed: its predictions are not all finite")


def test_a_library_that_is_missing_is_reported(data):
    skipped = attempt("models.baselines.no_such_module:BASELINE", data, AMPLE, rate)
    assert isinstance(skipped, Skipped)
    assert "ModuleNotFoundError" in skipped.reason


@pytest.mark.parametrize("place", [*registry.RATING.values(), *registry.RETRIEVAL.values()])
def test_every_line_of_the_registry_leads_to_a_baseline(place):
    assert isinstance(registry.load(place), Baseline)
