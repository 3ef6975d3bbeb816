"""Keeps what takes long off the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

# From this size on, to read or write a body takes long enough for others to notice.
LARGE_BYTES = 64 << 10

_Result = TypeVar("_Result")


async def call(num_bytes: int, function: Callable[..., _Result], *args) -> _Result:
    """Calls a function, in another thread if it has much to do.

    Args:
      num_bytes: Size of what it reads or writes.
      function: The function.
      *args: Its arguments.

    Returns:
      What it returns.
    """
    if num_bytes > LARGE_BYTES:
        return await asyncio.to_thread(function, *args)
    return function(*args)
