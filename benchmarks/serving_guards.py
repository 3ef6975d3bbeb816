"""What a server must stand: judged from measurements, so that a broken one can be held against it.

Each guard returns what is wrong, in words; nothing, if nothing is.
"""

import statistics
from collections.abc import Sequence

from benchmarks.serving_fuzz import Finding
from benchmarks.serving_load import Answer

MAX_DRIFT = 0.02
MIN_GOODPUT = 0.9
MAX_SWAP_SLOWDOWN = 2.0


def judge_memory(before_mb: float, after_mb: float) -> list[str]:
    """Judges whether memory grew.

    Args:
      before_mb: Resident memory once all has been used, in 10^6 bytes.
      after_mb: The same, much later.
    """
    drift = after_mb / before_mb - 1
    if drift <= MAX_DRIFT:
        return []
    return [f"memory grew by {drift:.1%} from {before_mb:.0f} MB, more than {MAX_DRIFT:.0%}"]


def judge_fuzzing(finding: Finding, count: int, alive: bool) -> list[str]:
    """Judges what a fuzzing run saw.

    Args:
      finding: What it saw.
      count: Inputs that should have been sent.
      alive: Whether the server runs after it.
    """
    problems = list(finding.problems)
    if finding.sent < count:
        problems.append(f"only {finding.sent} of {count} inputs were sent")
    if not alive:
        problems.append("the server is gone")
    return problems


def judge_swaps(
    answers: Sequence[Answer], swaps: Sequence[tuple[float, float]], max_slowdown: float
) -> list[str]:
    """Judges answers that were given while versions were swapped.

    Args:
      answers: All answers.
      swaps: When each swap began and ended, in seconds since 1970.
      max_slowdown: How many times the latency of before it may be during a swap, at the 99th
        percentile.
    """
    problems = []
    failed = [answer for answer in answers if answer.status != 200]
    if failed:
        problems.append(
            f"{len(failed)} of {len(answers)} requests failed, as with {failed[0].status}"
        )
    before, during = split_by_swaps(answers, swaps)
    if not before or not during:
        return [*problems, "there were no requests before or during the swaps"]
    slowdown = p99(during) / p99(before)
    if slowdown > max_slowdown:
        problems.append(f"p99 during swaps was {slowdown:.1f} x that before them")
    return problems


def judge_overload(peak: float, answers: Sequence[Answer], seconds: float, limit_ms: float) -> list:
    """Judges answers under more load than the server can carry.

    Args:
      peak: The most answers a second that it gave without overload.
      answers: All answers, refusals included.
      seconds: How long it was overloaded.
      limit_ms: Later than this an answer is worth nothing.
    """
    good = goodput(answers, seconds, limit_ms)
    refused = [answer.ms for answer in answers if answer.status == 503]
    problems = []
    if good < MIN_GOODPUT * peak:
        problems.append(f"{good:.0f} good answers a second, of {peak:.0f} without overload")
    if not refused:
        problems.append("nothing was refused")
    elif statistics.median(refused) > limit_ms / 2:
        problems.append(f"refusals took {statistics.median(refused):.0f} ms")
    others = [answer.status for answer in answers if answer.status not in {200, 503}]
    if others:
        problems.append(f"{len(others)} requests got neither answer nor refusal: {others[0]}")
    return problems


def goodput(answers: Sequence[Answer], seconds: float, limit_ms: float) -> float:
    """Returns the answers a second that came in time."""
    return sum(a.status == 200 and a.ms <= limit_ms for a in answers) / seconds


def split_by_swaps(
    answers: Sequence[Answer], swaps: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Returns the latencies, in ms, of answers before the first swap and during any."""
    first = min(begin for begin, _ in swaps)
    before = [answer.ms for answer in answers if answer.sent + answer.ms / 1e3 < first]
    during = [
        answer.ms
        for answer in answers
        if any(
            begin <= answer.sent + answer.ms / 1e3 and answer.sent <= end for begin, end in swaps
        )
    ]
    return before, during


def p99(values: Sequence[float]) -> float:
    """Returns the 99th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]
