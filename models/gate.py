"""The gate: what a model must show before it reaches users, and the verdict with its reasons."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic

from models import slice_names
from models.baselines import registry
from models.bootstrap import Interval
from models.measurements import ALL, RATING_METRICS, RETRIEVAL_METRICS, Measurements
from models.options import Options, Weight, one_of

MODEL, PREVIOUS = "t2rec", "previous"
BEST = "best"
_POPULARITY = "popularity"
# Kinds of checks: against other models, of the index, for leaks and errors, by a server.
COMPARISON, INDEX, TRIPWIRE, SERVING = "comparison", "index", "tripwire", "serving"


def _check_slices(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not slice_names.is_known(name):
            raise ValueError(f"there is no slice {name!r}; there are {slice_names.describe()}")
    return names


RatingMetric = Annotated[
    str, one_of([name for name, spec in RATING_METRICS.items() if spec.is_loss], "rating loss")
]
RetrievalMetric = Annotated[str, one_of(RETRIEVAL_METRICS, "retrieval metric")]
RatingBaseline = Annotated[str, one_of([BEST, *registry.RATING], "rating baseline")]
RetrievalBaseline = Annotated[str, one_of([BEST, *registry.RETRIEVAL], "retrieval baseline")]
SliceNames = Annotated[tuple[str, ...], pydantic.AfterValidator(_check_slices)]


class GateOptions(Options):
    """What blesses a model.

    It must be significantly better than its baseline at one task, and significantly worse at none,
    nor its lists than popularity: the whole 95 % interval of the difference counts.

    Attributes:
      rating_metric: `rmse` or `mae`, in stars.
      rating_baseline: A baseline, or `best`: the one with the least RMSE on eval.
      rating_margin: By how many stars ours must be lower to count as better.
      retrieval_metric: Such as `recall@20`.
      retrieval_baseline: A baseline, or `best`: the one with the highest recall@20 on eval.
      retrieval_margin: By how much ours must be higher to count as better.
      slices: Where the rating metric must not be significantly worse than `slice_baseline`'s.
      slice_baseline: A rating baseline.
      max_regression: By what share either metric may be worse than that of the model that is being
        served; more is forgiven only where the interval does not exclude that nothing changed.
    """

    rating_metric: RatingMetric = "rmse"
    rating_baseline: RatingBaseline = BEST
    rating_margin: Weight = 0.0
    retrieval_metric: RetrievalMetric = "recall@20"
    retrieval_baseline: RetrievalBaseline = BEST
    retrieval_margin: Weight = 0.0
    slices: SliceNames = (slice_names.COLD_USER, slice_names.COLD_BUSINESS)
    slice_baseline: Annotated[str, one_of(registry.RATING, "rating baseline")] = "bias"
    max_regression: Weight = 0.01


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of one task.

    Attributes:
      measured: Metrics on the test split, of ours and of every other model that gave some.
      eval_losses: By baseline, its loss on eval; the least is `best`.
      skipped: By baseline, why it gave nothing.
      undefined: Why the task can't be judged on this data; "" if it can.
    """

    measured: Measurements
    eval_losses: Mapping[str, float]
    skipped: Mapping[str, str]
    undefined: str = ""


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
      text: What was found, in a sentence.
      ok: Whether it is good enough; None where there was no means to judge.
      kind: `comparison`, `index`, `tripwire` or `serving`.
    """

    text: str
    ok: bool | None
    kind: str = COMPARISON

    def __str__(self) -> str:
        word = {True: "passed", False: "FAILED", None: "left out"}[self.ok]
        return f"{word}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a model may be pushed, and why.

    Attributes:
      blessed: Whether nothing failed.
      checks: What was looked at, for and against.
    """

    blessed: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence a check."""
        return tuple(str(check) for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Lays it out for `metrics.json`: `reasons` for people, `checks` for programs."""
        checks = [dataclasses.asdict(check) for check in self.checks]
        return {"blessed": self.blessed, "reasons": list(self.reasons), "checks": checks}


def conclude(checks: Sequence[Check]) -> Verdict:
    """Blesses a model that passed something and failed nothing."""
    blessed = all(check.ok is not False for check in checks) and any(c.ok for c in checks)
    return Verdict(blessed, tuple(checks))


def best_baseline(evidence: Evidence, model_names: Sequence[str]) -> str | None:
    """Returns the baseline with the least loss on eval, the first of equals, None without any."""
    named = [name for name in evidence.eval_losses if name in model_names]
    return min(named, key=lambda name: evidence.eval_losses[name], default=None)


def judge(
    gate: GateOptions, rating: Evidence | None, retrieval: Evidence | None, note: str = ""
) -> list[Check]:
    """Compares a model with its baselines and with the one before it.

    Args:
      gate: What is asked.
      rating: What is known of ratings, None where the task is off.
      retrieval: Likewise of lists.
      note: Why the previous model is not compared; "" if it is or there is none.

    Returns:
      All that was looked at.
    """
    checks: list[Check] = []
    is_better = []
    for evidence, metric, baseline, margin in (
        (rating, gate.rating_metric, gate.rating_baseline, gate.rating_margin),
        (retrieval, gate.retrieval_metric, gate.retrieval_baseline, gate.retrieval_margin),
    ):
        if evidence is None:
            continue
        if evidence.undefined:
            checks.append(Check(evidence.undefined, None))
            continue
        check, better = _against_baseline(evidence, metric, baseline, margin)
        checks.append(check)
        is_better.append(better)
    if retrieval is not None and not retrieval.undefined:
        checks += _against_popularity(retrieval, gate)
    if not any(is_better):
        checks.append(Check("it is significantly better than its baseline at no task", False))
    if rating is not None and not rating.undefined:
        checks += [_in_slice(rating, gate, name) for name in gate.slices]
    for evidence, metric in ((rating, gate.rating_metric), (retrieval, gate.retrieval_metric)):
        if evidence and not evidence.undefined and PREVIOUS in evidence.measured.models:
            checks.append(_against_previous(evidence.measured, metric, gate.max_regression))
    if note:
        checks.append(Check(note, None))
    return checks


def _meant(evidence: Evidence, wanted: str) -> str | None:
    """Returns the baseline that is to be compared with; None if none was trained to be the best."""
    if wanted == BEST:
        return best_baseline(evidence, evidence.measured.models)
    return wanted


def _against_baseline(
    evidence: Evidence, metric: str, wanted: str, margin: float
) -> tuple[Check, bool]:
    """Compares with a baseline; tells, too, whether ours is better beyond doubt."""
    name, how = _meant(evidence, wanted), ", the best on eval," if wanted == BEST else ""
    if name is None:
        why = "; ".join(f"{key}: {reason}" for key, reason in evidence.skipped.items())
        text = f"test {metric} can't be compared, for no baseline was trained"
        return Check(f"{text} ({why or 'none is configured'})", False), False
    if name not in evidence.measured.models:
        why = evidence.skipped.get(name, "it was not trained")
        text = f"test {metric} against that of {name} is not known, for {name} was skipped: {why}"
        return Check(text, False), False
    spec = evidence.measured.metrics[metric]
    difference = evidence.measured.difference(MODEL, name, metric)
    text = f"test {metric} minus that of {name}{how} is {_in_words(difference)}"
    if not math.isfinite(difference.low):
        few = evidence.measured.num_users()
        return Check(f"{text}: {few} test users are too few to tell", False), False
    gain = _flipped(difference) if spec.is_loss else difference
    if gain.low > margin:
        return Check(f"{text}: better", True), True
    if gain.high < 0:
        return Check(f"{text}: significantly worse", False), False
    return Check(f"{text}: not significantly worse, but not better either", True), False


def _against_popularity(evidence: Evidence, gate: GateOptions) -> list[Check]:
    """Compares with the list that anybody could be shown, whatever was the best on eval."""
    measured, metric = evidence.measured, gate.retrieval_metric
    is_compared = _meant(evidence, gate.retrieval_baseline) == _POPULARITY
    if _POPULARITY not in measured.models or is_compared:
        return []
    difference = measured.difference(MODEL, _POPULARITY, metric)
    text = f"test {metric} minus that of {_POPULARITY} is {_in_words(difference)}"
    return [_not_worse(text, _flipped(difference), measured.num_users())]


def _in_slice(evidence: Evidence, gate: GateOptions, name: str) -> Check:
    measured, metric, baseline = evidence.measured, gate.rating_metric, gate.slice_baseline
    if name not in measured.slices:
        return Check(f"slice {name}: nobody is in it", None)
    if baseline not in measured.models:
        why = evidence.skipped.get(baseline, "it was not trained")
        return Check(f"slice {name}: {baseline} was skipped: {why}", False)
    difference = measured.difference(MODEL, baseline, metric, name)
    text = f"slice {name}: {metric} minus that of {baseline} is {_in_words(difference)}"
    return _not_worse(text, difference, measured.num_users(name))


def _not_worse(text: str, loss: Interval, num_users: int) -> Check:
    """Checks that a difference, of which more is worse, may be none."""
    if not math.isfinite(loss.low):
        return Check(f"{text}: {num_users} users are too few to tell", None)
    if loss.low > 0:
        return Check(f"{text}: significantly worse", False)
    return Check(f"{text}: not significantly worse", True)


def _against_previous(measured: Measurements, metric: str, tolerance: float) -> Check:
    difference = measured.difference(MODEL, PREVIOUS, metric)
    before = measured.interval(PREVIOUS, metric, ALL).value
    loss = difference if measured.metrics[metric].is_loss else _flipped(difference)
    text = f"test {metric} minus that of the model being served is {_in_words(difference)}"
    allowed = tolerance * abs(before)
    if loss.value > allowed and not loss.low <= 0:
        return Check(f"{text}: worse by more than {tolerance:g} of {before:.4f}", False)
    return Check(f"{text}: no regression beyond {tolerance:g} of {before:.4f}", True)


def _flipped(difference: Interval) -> Interval:
    return Interval(-difference.value, -difference.high, -difference.low)


def _in_words(difference: Interval) -> str:
    if not math.isfinite(difference.low):
        return f"{difference.value:+.4f}"
    return f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
