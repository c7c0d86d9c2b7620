"""Work in the background, by one coroutine at a time."""

import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from django_sse import loops
from django_sse.contexts import new_context

__all__ = ["Job"]


class Job:
    """
    Runs *work* on the publishing loop, again after each start(), and never twice at once.

    Args:
        name: That of its queue; see loops.enqueue().
        work: Does all that there is to do by then.
    """

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._is_wanted = False
        self._running: Coroutine[Any, Any, None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the work goes on, or is going to."""
        running = self._running
        # One whose loop ends, or that is dropped from a full queue, is closed without a word.
        return running is not None and inspect.getcoroutinestate(running) != inspect.CORO_CLOSED

    def start(self) -> None:
        """See to it that *work* begins once more from now on; from any thread, without waiting."""
        with self._lock:
            self._is_wanted = True
            if self.is_running:
                return
            self._running = running = self._run()
        loops.post(self._name, running, new_context())

    async def _run(self) -> None:
        while self._take_turn():
            await self._work()

    def _take_turn(self) -> bool:
        with self._lock:
            is_wanted, self._is_wanted = self._is_wanted, False
            if not is_wanted:
                self._running = None
            return is_wanted
