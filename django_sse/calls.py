"""Calling what a project has written, sync or async."""

import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async

__all__ = ["call"]


async def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """
    Call *function* and return its result, awaited if it is awaitable.

    A sync function runs in a thread, where it may use the ORM. What looks sync may still return
    a coroutine: a lambda that calls a coroutine function, or a decorated one.
    """
    if iscoroutinefunction(function):
        return await function(*args, **kwargs)
    result = await sync_to_async(function)(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result
