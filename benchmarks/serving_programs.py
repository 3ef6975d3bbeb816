"""Calls a model in this process, 64 rows at a time, and writes down the CPU time a row."""

import os
import pathlib
import sys
import time

from serving.loader import load_model

_ROWS, _CALLS, _WARM_CALLS = 64, 60, 5


def main(path: str, num_users: str, report: str) -> None:
    """Measures on the last core.

    Args:
      path: As `serving.model_folders.find_version` takes it.
      num_users: Users of the model, named `user-N`.
      report: Gets CPU microseconds a row.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    model = load_model(path)

    def call(number: int) -> None:
        rows = range(number * _ROWS, (number + 1) * _ROWS)
        users = [f"user-{row * 7919 % int(num_users)}" for row in rows]
        model.call("recommend", {"user_id": users})

    for number in range(_WARM_CALLS):
        call(number)
    begin = time.process_time()
    for number in range(_CALLS):
        call(number)
    seconds = time.process_time() - begin
    pathlib.Path(report).write_text(str(seconds / _CALLS / _ROWS * 1e6))


if __name__ == "__main__":
    main(*sys.argv[1:])
