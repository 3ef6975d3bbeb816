"""Writes log records as lines of JSON, for what collects logs."""

import datetime
import json
import logging
import os


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
    """Writes t2rec's log, and what libraries warn of, to standard error as JSON."""
    # gRPC's own lines, about clients that fail to shake hands, are no JSON.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [handler]
    logging.getLogger("t2rec").setLevel(logging.INFO)
