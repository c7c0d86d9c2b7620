"""What the code of a view has of its stream, before and while that is open."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django.http import HttpRequest

from django_sse.audiences import Audience
from django_sse.hub import Hub
from django_sse.lifetime import Lifetime
from django_sse.metrics import metrics
from django_sse.reasons import CloseReason
from django_sse.timekeeper import Timekeeper
from django_sse.view_code import ViewCode

__all__ = ["CLEANUP_SECONDS", "Authored"]

logger = logging.getLogger("django.sse")

_T = TypeVar("_T")

#: How long the tasks, and then the callbacks, may take at the end.
CLEANUP_SECONDS = 10.0


class Authored(Timekeeper):
    """A stream's request, tasks and callbacks, and what their end means for it."""

    __slots__ = (
        "_finish_task",
        "_started",
        "_view_code",
        "_wake_server",
        "audience",
        "is_started",
    )

    def __init__(self, hub: Hub, lifetime: Lifetime, request: HttpRequest | None) -> None:
        super().__init__(hub, lifetime)
        self.audience: Audience | None = None
        self.is_started = False
        self._started: asyncio.Future[None] | None = None
        self._view_code: ViewCode | None = ViewCode(request)
        self._wake_server: Callable[[], None] | None = None
        self._finish_task: asyncio.Task[None] | None = None

    @property
    def request(self) -> HttpRequest | None:
        """The request; None once the stream is only fed by its groups."""
        return self._view_code.request if self._view_code is not None else None

    def on_close(self, callback: Callable[[], Any]) -> None:
        """Call *callback*, sync or async, once, when the stream has ended, whoever ended it."""
        view_code = self._own_view_code()
        view_code.add_callback(callback)
        if self._finish_task is not None:  # The end has been: now, then.
            self._hub.spawn(view_code.clean_up(self, CLEANUP_SECONDS), view_code.context)

    def create_task(self, coroutine: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Run *coroutine* beside the stream; it is cancelled, and awaited, when that ends."""
        return self._own_view_code().create_task(coroutine, self._on_task_done)

    def run_author(self, coroutine: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Run the view's own *coroutine*: until the stream starts its error is a response."""
        return self._own_view_code().create_task(coroutine, self._on_author_done)

    def _own_view_code(self) -> ViewCode:
        if self._view_code is None:
            self._view_code = ViewCode(None)
        return self._view_code

    @property
    def has_view_code(self) -> bool:
        """Whether something of the view may still run: a task, a callback, a recheck."""
        return self._lifetime.recheck is not None or (
            self._view_code is not None and not self._view_code.is_idle
        )

    @property
    def started(self) -> "asyncio.Future[None]":
        """Done when the response is going to be this stream: an error can be no response then."""
        if self._started is None:
            self._started = self._hub.loop.create_future()
            if self.is_started:
                self._started.set_result(None)
        return self._started

    def start(self) -> None:
        """Decide that the response is this stream."""
        if not self.is_started:
            self.is_started = True
            if self._started is not None:
                self._started.set_result(None)

    def settle(self) -> None:
        """End the stream if it has no group and no task left."""
        has_tasks = self._view_code is not None and self._view_code.has_tasks
        if not has_tasks and self.audience is None:
            self.end(CloseReason.FINISHED)

    def _on_task_done(self, task: "asyncio.Task[Any]") -> None:
        error = None if task.cancelled() else task.exception()
        if self.reason is not None:
            return
        if error is not None:
            self.fail(error)
        elif self.is_started:
            self.settle()
            self._release_view_code()

    def _on_author_done(self, task: "asyncio.Task[Any]") -> None:
        if self.is_started:
            self._on_task_done(task)

    def _release_view_code(self) -> None:
        # Once served and fed by its groups alone: the request is most of a stream's memory.
        if self._wake_server is not None and not self.has_view_code:
            self._view_code = None

    def fail(self, error: BaseException) -> None:
        """End the stream because its view's code has raised *error*."""
        metrics.stream_errors += 1
        logger.error("The view of %r failed; the stream ends.", self, exc_info=error)
        self.end(CloseReason.ERROR)

    @property
    def _view_context(self) -> contextvars.Context | None:
        return self._view_code.context if self._view_code is not None else None
