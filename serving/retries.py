"""When a client may ask again, and when."""

import dataclasses
import random
import time

from serving.errors import OverloadedError, ServingError, UnavailableError


@dataclasses.dataclass(frozen=True)
class Retries:
    """Says how often to ask again and how long to wait before.

    Every question only reads, so that asking twice does no harm; but only a server that refused
    or could not be reached is asked again: what it can't answer, or not in time, stays so.

    Attributes:
      attempts: The most times to ask.
      first_seconds: The wait before the second time; it doubles each time, give or take a half.
    """

    attempts: int = 4
    first_seconds: float = 0.1

    def delay(self, attempt: int, error: ServingError, deadline: float) -> float | None:
        """Returns how long to wait before asking again; None if not to ask.

        Args:
          attempt: How often it was asked already.
          error: What was answered.
          deadline: By `time.monotonic`, when the answer is not wanted any more.
        """
        if attempt >= self.attempts or not isinstance(error, OverloadedError | UnavailableError):
            return None
        # Clients that were refused together must not come back together.
        seconds = self.first_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        return seconds if time.monotonic() + seconds < deadline else None
