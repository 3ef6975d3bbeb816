"""Writes log records as lines of JSON, for what collects logs."""

import datetime
import json
import logging


class JsonFormatter(logging.Formatter):
    """Makes one JSON object of a record: `time`, `level`, `message`, and `traceback` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """Writes t2rec's log to standard error as JSON, and nothing else."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("t2rec")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
