"""Driving the sends of many clients from one place, without a task for each."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from django_sse.steps import HalfDone

__all__ = ["Driver", "SendWaits"]


class SendWaits(Protocol):
    """Who is told that a send of its own waits, and finishes it in a task."""

    async def go_on(self, rest: Awaitable[None]) -> None:
        """Await *rest*, then whatever is to follow it."""


class _Carrier:
    """A task that is ready to go on with a send which turned out to wait."""

    __slots__ = ("_handed_over", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self._handed_over: asyncio.Future[tuple[SendWaits, HalfDone[None]]] = loop.create_future()
        coroutine = self._carry()
        # One step ahead of its task: an error thrown into a coroutine that has not begun is not
        # raised inside, and what was handed over by then would be lost.
        coroutine.send(None)
        self.task = loop.create_task(coroutine, context=context)

    async def _carry(self) -> None:
        try:
            await asyncio.sleep(0)
            owner, rest = await self._handed_over
        except asyncio.CancelledError as error:
            if not self._handed_over.done() or self._handed_over.cancelled():
                raise
            # It is the send's: the time of its own asyncio.timeout() was over at once, say.
            owner, rest = self._handed_over.result()
            rest.interrupt(error)
        await owner.go_on(rest)

    def carry(self, owner: SendWaits, rest: HalfDone[None]) -> None:
        self._handed_over.set_result((owner, rest))


class Driver:
    """
    Takes the first step of each send itself; nearly always it is the only one.

    A server's ``send`` returns at once while the client reads. Awaiting it in a task a stream
    would cost a wake-up of that task for every event. So the driver runs the awaitable by its
    iterator, inside ``run()``. A send that waits goes on in a carrier: the task that was already
    the current one when it began, in the same context, because a wrapper around ``send`` may
    hold on to either (``asyncio.timeout()`` binds to the task, a token to the context).

    Source: asyncio's "Extending" page, which gives _enter_task() and _leave_task() to those who
    run coroutines by hand.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self._loop = loop
        self.context = context  # The driver's own: not that of some request.
        self._carrier: _Carrier | None = None
        self._running = False

    def run(self, step: Callable[[], None]) -> None:
        """Call *step*, which may call start(). It may be called from a task or a callback."""
        if self._running:
            step()
            return
        loop = self._loop
        caller = asyncio.current_task(loop)
        if caller is not None:
            asyncio._leave_task(loop, caller)
        if self._carrier is None:
            self._carrier = _Carrier(loop, self.context)
        self._running = True
        asyncio._enter_task(loop, self._carrier.task)
        try:
            step() if self._is_entered() else self.context.run(step)
        finally:
            asyncio._leave_task(loop, self._carrier.task)
            self._running = False
            if caller is not None:
                asyncio._enter_task(loop, caller)

    def start(self, awaitable: Awaitable[None], owner: SendWaits) -> asyncio.Task[None] | None:
        """
        Take the first step of *awaitable*. To be called inside run().

        Returns:
            None if that was all; else the task in which ``owner.go_on()`` awaits the rest.

        Raises:
            Exception: What the step itself raises.
        """
        steps = awaitable.__await__()
        try:
            waits_for = next(steps)
        except StopIteration:
            return None
        return self.hand_over(steps, waits_for, owner)

    def hand_over(
        self, steps: Iterator[Any], waits_for: Any, owner: SendWaits
    ) -> asyncio.Task[None]:
        """Return the task in which ``owner.go_on()`` awaits the rest of *steps*. See start()."""
        carrier = self._carrier
        assert carrier is not None
        carrier.carry(owner, HalfDone(steps, waits_for))
        self._carrier = _Carrier(self._loop, self.context)
        asyncio._leave_task(self._loop, carrier.task)
        asyncio._enter_task(self._loop, self._carrier.task)
        return carrier.task

    def _is_entered(self) -> bool:
        # A context cannot be entered twice, and has no other way to be asked.
        try:
            self.context.run(int)
        except RuntimeError:
            return True
        return False

    def close(self) -> None:
        """End the spare task."""
        if self._carrier is not None:
            self._carrier.task.cancel()
            self._carrier = None
