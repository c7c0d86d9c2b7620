"""Waiting for something that a process of its own will do."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

__all__ = ["TIMEOUT", "eventually"]

#: How long a test waits for what it expects, on a machine however slow; one that passes never
#: waits as long.
TIMEOUT = 30.0


async def eventually(
    condition: Callable[[], Any], *, within: float = TIMEOUT, but: object = ""
) -> Any:
    """
    Return what *condition* returns as soon as that is true.

    Args:
        condition: A function without arguments, sync or async.
        within: Seconds until the test fails instead.
        but: What the failure tells beside the last value, itself or by a call.
    """
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            told = but() if callable(but) else but
            raise AssertionError(f"Not within {within} s; the last value was {value!r}. {told}")
        await asyncio.sleep(0.01)
