"""How long full-catalogue evaluation takes: ranking, every metric, slices, intervals."""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

_SECONDS_ALLOWED = 60.0


def main(argv: Sequence[str] = ()) -> None:
    """Prints the cost of ranking and measuring, in a process of its own.

    Args:
      argv: `--users`, `--businesses`, `--dim` and `--models`.
    """
    parser = argparse.ArgumentParser(prog="benchmarks validation")
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--businesses", type=int, default=40_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--models", type=int, default=1, help="models measured together")
    args = parser.parse_args(list(argv))
    command = [sys.executable, "-m", "benchmarks.validation", json.dumps(vars(args))]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(f"{args.users:,} users x {args.businesses:,} businesses, {args.dim} dimensions")
    for step, (wall, cpu) in told["steps"].items():
        print(f"{step:<28} {wall:7.1f} s wall {cpu:7.1f} s CPU")
    total = sum(wall for wall, _ in told["steps"].values())
    verdict = "within" if total < _SECONDS_ALLOWED else "BEYOND"
    print(
        f"{total:.1f} s in all, {verdict} {_SECONDS_ALLOWED:.0f} s; peak {told['peak_mb']:,.0f} MB"
    )


def _measure(users: int, businesses: int, dim: int, models: int) -> dict:
    """Ranks and measures generated users; returns the steps' seconds and the peak."""
    import numpy as np

    from models import metrics
    from models.evaluation import RetrievalEvaluation
    from models.slices import Known, Labels
    from models.tables import Interactions

    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(10, businesses + 10)

    def interact(num: int) -> Interactions:
        rows = rng.choice(businesses, users * num, p=weights / weights.sum()).astype(np.int32)
        owners = np.repeat(np.arange(users, dtype=np.int32), num)
        return Interactions(owners, rows, np.ones(len(rows), np.float32))

    fitted, test = interact(30), interact(10)
    known = Known.from_interactions(fitted, users, businesses)
    groups = np.array_split(rng.permutation(businesses).astype(np.int32), 50)
    labels = {b"label %d" % place: rows for place, rows in enumerate(groups)}
    queries, candidates = (
        rng.normal(size=(n, dim)).astype(np.float32) for n in (users, businesses)
    )
    steps: dict[str, tuple[float, float]] = {}

    def step(name: str, do):
        wall, cpu = time.perf_counter(), time.process_time()
        done = do()
        steps[name] = (time.perf_counter() - wall, time.process_time() - cpu)
        return done

    protocol = step(
        "protocol", lambda: RetrievalEvaluation(test, fitted, known, Labels(labels, labels))
    )
    lists = step("ranking, one model", lambda: metrics.top_k(
        queries[protocol.users], candidates, 50, protocol.seen))  # fmt: skip
    names = {f"model {number}": lists for number in range(models)}
    measured = step("metrics, slices, intervals", lambda: protocol.measure(names))
    step("laid out", lambda: measured.to_json("model 0", "num_users"))
    step("coverage and the like", lambda: protocol.describe(lists))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"steps": steps, "peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(_measure(**json.loads(sys.argv[1]))))
