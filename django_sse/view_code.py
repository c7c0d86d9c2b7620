"""What a view leaves running beside its stream."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django.http import HttpRequest

from django_sse.calls import call
from django_sse.exceptions import StreamClosed

__all__ = ["ViewCode", "see_through"]

logger = logging.getLogger("django.sse")

_T = TypeVar("_T")


class ViewCode:
    """
    The tasks and callbacks of one view, with the request and the context that they run in.

    A stream that is only fed by its groups has none of it: that is most of a stream's memory.
    """

    __slots__ = ("_callbacks", "_tasks", "context", "request")

    def __init__(self, request: HttpRequest | None) -> None:
        self.request = request
        self.context = contextvars.copy_context()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._callbacks: list[Callable[[], Any]] = []

    @property
    def has_tasks(self) -> bool:
        """Whether a task still runs."""
        return bool(self._tasks)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to run, now or at the end."""
        return not self._tasks and not self._callbacks

    def create_task(
        self, coroutine: Coroutine[Any, Any, _T], on_done: "Callable[[asyncio.Task[Any]], None]"
    ) -> "asyncio.Task[_T]":
        """Run *coroutine*; call *on_done* when it ends."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(on_done)
        return task

    def add_callback(self, callback: Callable[[], Any]) -> None:
        """Call *callback*, sync or async, in clean_up()."""
        if not callable(callback):
            raise TypeError(f"on_close() takes a function without arguments, not {callback!r}.")
        self._callbacks.append(callback)

    async def clean_up(self, owner: object, seconds: float) -> None:
        """
        Cancel and await the tasks, then call the callbacks in order; log what fails.

        Each of the two parts may take *seconds*; a stream must not keep its process for ever.
        """
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        done, stuck = await asyncio.wait(tasks, timeout=seconds) if tasks else (tasks, tasks)
        for task in done:
            error = None if task.cancelled() else task.exception()
            # Most learn by StreamClosed that their client has gone: that is no failure.
            if error is not None and not isinstance(error, StreamClosed):
                logger.error("A task of %r failed as it ended.", owner, exc_info=error)
        if stuck:
            logger.warning("%d tasks of %r did not end in %s s.", len(stuck), owner, seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._call_back(owner)
        except TimeoutError:
            logger.warning("The on_close callbacks of %r took over %s s.", owner, seconds)

    async def _call_back(self, owner: object) -> None:
        while self._callbacks:
            callback = self._callbacks.pop(0)
            try:
                await call(callback)
            except Exception:
                logger.exception("An on_close callback of %r failed.", owner)


async def see_through(task: "asyncio.Task[None]") -> None:
    """Await *task* to its end, and only then obey a cancellation."""
    cancellation = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
