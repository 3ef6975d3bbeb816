import numpy as np
import pydantic
import pytest

from models.bootstrap import UserBootstrap
from models.gate import Check, Evidence, GateOptions, best_baseline, conclude, judge
from models.measurements import ALL, NUM_RATINGS, NUM_USERS, Measurements, Metric, UserSums

NUM = 200
OURS = ("t2rec", "previous")


def values(mean, shifts, seed):
    """By model, values around mean + shift with noise of its own that adds up to nothing."""
    rng = np.random.default_rng(seed)
    noise = {name: 0.1 * rng.normal(size=NUM) for name in shifts}
    return {name: mean + shift + noise[name] - noise[name].mean() for name, shift in shifts.items()}


def rating(shifts, slices=None, skipped=None, undefined="", losses=None):
    """Models whose mean errors are 2 + shift."""
    errors = values(2.0, shifts, seed=1)
    parts = {ALL: np.arange(NUM), **(slices or {"cold_user": np.arange(100)})}
    tables = {
        name: UserSums(
            users,
            {NUM_RATINGS: np.ones(len(users))},
            {(model, "rmse"): error[users] for model, error in errors.items()},
        )
        for name, users in parts.items()
    }
    measured = Measurements(
        {"rmse": Metric(NUM_RATINGS, is_loss=True)}, lambda *_: tables, UserBootstrap(NUM)
    )
    losses = losses if losses is not None else {n: s for n, s in shifts.items() if n not in OURS}
    return Evidence(measured, losses, skipped or {}, undefined)


def retrieval(shifts, **kwargs):
    found = values(0.5, shifts, seed=2)
    table = UserSums(
        np.arange(NUM),
        {NUM_USERS: np.ones(NUM)},
        {(model, "recall@20"): values for model, values in found.items()},
    )
    measured = Measurements(
        {"recall@20": Metric(NUM_USERS)}, lambda *_: {ALL: table}, UserBootstrap(NUM)
    )
    losses = {name: -shift for name, shift in shifts.items() if name not in OURS}
    return Evidence(measured, losses, kwargs.get("skipped", {}), kwargs.get("undefined", ""))


BETTER_RATING = rating({"t2rec": -0.2, "bias": 0.0, "ridge": -0.1})
LEVEL_RATING = rating({"t2rec": -0.1, "bias": 0.0, "ridge": -0.1})
WORSE_RATING = rating({"t2rec": 0.0, "bias": 0.0, "ridge": -0.1})
BETTER_LISTS = retrieval({"t2rec": 0.2, "popularity": 0.0, "als": 0.1})
LEVEL_LISTS = retrieval({"t2rec": 0.1, "popularity": 0.0, "als": 0.1})
WORSE_LISTS = retrieval({"t2rec": 0.0, "popularity": 0.0, "als": 0.1})


@pytest.mark.parametrize(
    ("of_rating", "of_retrieval", "blessed"),
    [
        (BETTER_RATING, BETTER_LISTS, True),
        (BETTER_RATING, LEVEL_LISTS, True),
        (LEVEL_RATING, BETTER_LISTS, True),
        (LEVEL_RATING, LEVEL_LISTS, False),
        (WORSE_RATING, BETTER_LISTS, False),
        (BETTER_RATING, WORSE_LISTS, False),
        # A single task must be better by itself.
        (BETTER_RATING, None, True),
        (LEVEL_RATING, None, False),
        (None, BETTER_LISTS, True),
        (None, LEVEL_LISTS, False),
    ],
)
def test_better_at_one_task_and_worse_at_none(of_rating, of_retrieval, blessed):
    assert conclude(judge(GateOptions(), of_rating, of_retrieval)).blessed is blessed


def texts(checks, ok):
    return [check.text for check in checks if check.ok is ok]


def test_lists_below_popularity_fail_whatever_is_the_best_on_eval():
    below = retrieval({"t2rec": 0.0, "popularity": 0.1, "als": -0.1})
    below.eval_losses.update(als=-0.5, popularity=-0.2)
    checks = judge(GateOptions(), BETTER_RATING, below)
    failed = [check.text for check in checks if check.ok is False]
    assert len(failed) == 1
    assert failed[0].startswith("test recall@20 minus that of popularity is -0.1")
    assert failed[0].endswith("significantly worse")
    (level,) = (c for c in judge(GateOptions(), None, LEVEL_LISTS) if "popularity" in c.text)
    assert (level.ok, level.text.endswith(": not significantly worse")) == (True, True)
    # Once is enough.
    one = retrieval({"t2rec": 0.2, "popularity": 0.0})
    assert sum("popularity" in check.text for check in judge(GateOptions(), None, one)) == 1


def test_the_best_baseline_is_the_one_of_eval_whatever_test_says():
    # On test ridge is best; on eval it was bias.
    evidence = rating(
        {"t2rec": -0.05, "bias": 0.0, "ridge": -0.1}, losses={"bias": 0.9, "ridge": 1.0}
    )
    assert best_baseline(evidence, evidence.measured.models) == "bias"
    text = judge(GateOptions(), evidence, None)[0].text
    assert "test rmse minus that of bias, the best on eval, is -0.05" in text
    assert text.endswith("better")


def test_a_named_baseline_is_held_to():
    gate = GateOptions(rating_baseline="bias", retrieval_baseline="popularity")
    assert conclude(judge(gate, LEVEL_RATING, LEVEL_LISTS)).blessed
    assert "that of bias is -0.1" in judge(gate, LEVEL_RATING, None)[0].text


def test_a_margin_asks_for_more():
    assert conclude(judge(GateOptions(rating_margin=0.05), BETTER_RATING, None)).blessed
    assert not conclude(judge(GateOptions(rating_margin=0.15), BETTER_RATING, None)).blessed


def test_a_named_baseline_that_was_skipped_fails_and_says_why():
    evidence = rating({"t2rec": -0.2, "ridge": 0.0, "bias": 0.0}, skipped={"svd": "too slow"})
    checks = judge(GateOptions(rating_baseline="svd"), evidence, None)
    assert "svd was skipped: too slow" in texts(checks, False)[0]


def test_without_any_baseline_nothing_is_proven():
    evidence = rating({"t2rec": 0.0}, skipped={"bias": "it failed: no ratings"}, losses={})
    failed = texts(judge(GateOptions(slices=()), evidence, None), False)
    assert "no baseline was trained (bias: it failed: no ratings)" in failed[0]


def in_a_slice(base, cold, worse_by):
    """Ours is better by .5 than biases, but for the users of a slice."""
    ours = base - 0.5
    ours[cold] = base[cold] + worse_by
    tables = {
        name: UserSums(
            users,
            {NUM_RATINGS: np.ones(len(users))},
            {("t2rec", "rmse"): ours[users], ("bias", "rmse"): base[users]},
        )
        for name, users in {ALL: np.arange(NUM), "cold_user": cold}.items()
    }
    return Measurements(
        {"rmse": Metric(NUM_RATINGS, is_loss=True)}, lambda *_: tables, UserBootstrap(NUM)
    )


def test_a_slice_that_is_significantly_worse_fails():
    base = 2.0 + 0.1 * np.random.default_rng(3).normal(size=NUM)
    measured = in_a_slice(base, np.arange(50), 0.2)
    failed = texts(judge(GateOptions(), Evidence(measured, {"bias": 1.0}, {}), None), False)
    assert len(failed) == 1
    assert failed[0].startswith("slice cold_user: rmse minus that of bias is +0.2000")


def noisy(shift, num):
    """Differences whose mean is `shift`; their interval is wider than .05 to each side."""
    return shift + np.tile([0.5, -0.5], num // 2)


def test_a_slice_that_may_be_as_good_as_before_passes():
    measured = in_a_slice(np.full(NUM, 2.0), np.arange(NUM // 2), noisy(0.02, NUM // 2))
    difference = measured.difference("t2rec", "bias", "rmse", "cold_user")
    assert difference.low < 0 < difference.value
    checks = judge(GateOptions(slices=("cold_user",)), Evidence(measured, {"bias": 1.0}, {}), None)
    assert not texts(checks, False)
    assert checks[-1].text.endswith("not significantly worse")


@pytest.mark.parametrize("is_loss", [True, False])
def test_a_regression_that_may_be_none_is_forgiven(is_loss):
    # .03 worse than the served model, of whose 1.7 or .7 1 % is .017 or .007.
    metric, sign = ("rmse", 1) if is_loss else ("recall@20", -1)
    previous = np.full(NUM, 1.7 if is_loss else 0.7)
    table = UserSums(
        np.arange(NUM),
        {NUM_USERS: np.ones(NUM), NUM_RATINGS: np.ones(NUM)},
        {
            ("t2rec", metric): previous + sign * noisy(0.03, NUM),
            ("previous", metric): previous,
            ("bias" if is_loss else "als", metric): previous + sign * 0.5,
        },
    )
    counted = Metric(NUM_RATINGS if is_loss else NUM_USERS, is_loss=is_loss)
    measured = Measurements({metric: counted}, lambda *_: {ALL: table}, UserBootstrap(NUM))
    difference = measured.difference("t2rec", "previous", metric)
    assert difference.low < 0 < difference.high
    assert sign * difference.value == pytest.approx(0.03)
    evidence = Evidence(measured, {"bias": 0.0, "als": 0.0}, {})
    checks = judge(GateOptions(slices=()), *((evidence, None) if is_loss else (None, evidence)))
    assert not texts(checks, False)
    assert "no regression beyond 0.01" in checks[-1].text


def test_a_slice_of_three_users_is_left_out_and_one_of_nobody_too():
    shifts = {"t2rec": -0.2, "bias": 0.0}
    evidence = rating(shifts, slices={"cold_user": np.arange(3)})
    checks = judge(GateOptions(), evidence, None)
    left_out = texts(checks, None)
    assert "3 users are too few to tell" in left_out[0]
    assert left_out[1] == "slice cold_business: nobody is in it"
    assert conclude(checks).blessed


@pytest.mark.parametrize(("shift", "blessed"), [(0.0, True), (0.01, True), (0.1, False)])
def test_a_regression_beyond_the_tolerance_fails(shift, blessed):
    # 1 % of the served model's 1.7 is .017.
    evidence = rating({"t2rec": -0.3 + shift, "bias": 0.0, "previous": -0.3})
    checks = judge(GateOptions(), evidence, None)
    assert conclude(checks).blessed is blessed
    assert "that of the model being served" in checks[-1].text


def test_lists_that_got_shorter_of_hits_are_a_regression_too():
    evidence = retrieval({"t2rec": 0.2, "als": 0.1, "previous": 0.3})
    failed = texts(judge(GateOptions(), None, evidence), False)
    assert len(failed) == 1
    assert "worse by more than 0.01" in failed[0]


def test_constant_stars_are_left_out_and_lists_decide():
    constant = rating({"t2rec": 0.0, "bias": 0.0}, undefined="ratings, for all are 4")
    checks = judge(GateOptions(), constant, BETTER_LISTS)
    assert texts(checks, None) == ["ratings, for all are 4"]
    assert conclude(checks).blessed
    assert not conclude(judge(GateOptions(), constant, None)).blessed


def test_what_can_not_be_compared_is_noted():
    checks = judge(GateOptions(), BETTER_RATING, None, "the model being served: KeyError: 'x'")
    assert str(checks[-1]) == "left out: the model being served: KeyError: 'x'"


def test_reasons_are_for_and_against():
    verdict = conclude([Check("a", True), Check("b", False), Check("c", None)])
    assert verdict.reasons == ("passed: a", "FAILED: b", "left out: c")
    told = verdict.to_json()
    assert told["reasons"] == list(verdict.reasons)
    assert [check["ok"] for check in told["checks"]] == [True, False, None]
    assert told["checks"][0] == {"text": "a", "ok": True, "kind": "comparison"}
    assert not verdict.blessed


def test_nothing_looked_at_is_no_blessing():
    assert not conclude([]).blessed
    assert not conclude([Check("c", None)]).blessed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rating_metric": "rsme"}, "there is no rating loss 'rsme'; there are rmse, mae"),
        ({"rating_metric": "calibration"}, "no rating loss 'calibration'"),
        ({"retrieval_metric": "recall@15"}, "no retrieval metric 'recall@15'; there are recall@10"),
        ({"rating_baseline": "als"}, "no rating baseline 'als'; there are best, global_mean"),
        ({"retrieval_baseline": "bias"}, "no retrieval baseline 'bias'"),
        ({"slices": ["cold_users"]}, "no slice 'cold_users'; there are cold_user, warm_user"),
        ({"slice_baseline": "best"}, "no rating baseline 'best'"),
    ],
)
def test_names_are_checked_before_anything_runs(options, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        GateOptions(**options)
