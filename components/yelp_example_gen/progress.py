"""How far a process has come, told in its log."""

import logging

from components.yelp_example_gen import tables

_LOG_EVERY_ROWS = 200_000
_LOG = logging.getLogger("t2rec")


class Progress:
    """Logs how many rows this process has handled, now and then."""

    def __init__(self, verb: str):
        self._verb = verb
        self._num_rows = dict.fromkeys(tables.SCHEMAS, 0)

    def add(self, table: str, num_rows: int) -> None:
        """Counts rows, and logs when a round number is passed."""
        before = self._num_rows[table]
        after = self._num_rows[table] = before + num_rows
        if after // _LOG_EVERY_ROWS > before // _LOG_EVERY_ROWS:
            _LOG.info("%s %.1f M %s", self._verb, after / 1e6, table)
