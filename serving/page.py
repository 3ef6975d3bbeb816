"""The page at `/`, and the state that it shows."""

import functools
import pathlib
import time
from typing import Any

from serving.core import Core
from serving.http_messages import Response

_FILE = pathlib.Path(__file__).parent / "page.html"
# The page is whole in itself, and asks nobody but this server.
_HEADERS = (
    b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'; "
    b"script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'\r\n"
    b"x-content-type-options: nosniff\r\ncache-control: no-cache\r\n"
)
_STARTED = time.monotonic()


@functools.cache
def response() -> Response:
    """Returns the page."""
    return Response(200, _FILE.read_bytes(), b"text/html; charset=utf-8", _HEADERS)


def state(core: Core) -> dict[str, Any]:
    """Tells what goes on.

    Args:
      core: What answers.

    Returns:
      `ready`, `uptime_seconds`, `memory_bytes`, `latency` of the last minute, and `models`: by
      name, versions with state and message.
    """
    models = {
        name: [
            {"version": str(s.version), "state": s.state, "message": s.message} for s in statuses
        ]
        for name, statuses in core.manager.all_statuses().items()
    }
    return {
        "ready": core.manager.is_ready(),
        "uptime_seconds": time.monotonic() - _STARTED,
        "memory_bytes": core.metrics.memory_bytes(),
        "pending_requests": core.num_pending,
        "latency": core.metrics.recent(),
        "models": models,
    }
