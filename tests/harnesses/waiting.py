"""Waits for what happens in another thread or process."""

import time
from collections.abc import Callable


def wait_until(
    check: Callable[[], object],
    seconds: float = 30.0,
    told: Callable[[], object] = lambda: "It did not happen in time",
) -> None:
    """Returns once something is so.

    Args:
      check: Tells whether it is.
      seconds: How long to wait at most.
      told: What a failure says, such as a log.

    Raises:
      AssertionError: If it is not so in time.
    """
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, told()
        time.sleep(0.01)
