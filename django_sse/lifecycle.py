"""The life of a stream: opened, served, ended, cleaned up."""

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal
from django.http import HttpRequest

from django_sse import loops
from django_sse.authorship import CLEANUP_SECONDS
from django_sse.batches import Batch
from django_sse.enrolment import Enrolled
from django_sse.framing import frame
from django_sse.hub import get_hub
from django_sse.lifetime import Lifetime
from django_sse.metrics import metrics
from django_sse.observation import observe
from django_sse.reasons import CloseReason
from django_sse.signals import events_dropped, stream_closed, stream_opened
from django_sse.view_code import see_through

if TYPE_CHECKING:
    from django_sse.types import Send

__all__ = ["Lifecycle", "only_served"]

logger = logging.getLogger("django.sse")

_EXIT_SECONDS = 0.8
# A response that Django never serves (a middleware replaced it) must not stay in its groups.
_UNSERVED_SECONDS = 30.0
# Where the client cannot be written to any more, or was never there.
_GIVEN_UP = frozenset(
    {CloseReason.CLIENT, CloseReason.SLOW, CloseReason.SEND_TIMEOUT, CloseReason.NOT_SERVED}
)
# Where the client is not to come back at once.
_SENT_AWAY = frozenset({CloseReason.GUARD, CloseReason.DISCONNECTED})


_made_in_request: "contextvars.ContextVar[list[Lifecycle] | None]" = contextvars.ContextVar(
    "django_sse_made_in_request", default=None
)


@contextlib.contextmanager
def only_served(served: Callable[[], object]) -> Iterator[None]:
    """
    End the streams that are made inside, but the one that *served* returns in the end.

    A client may leave when its view has returned and a middleware is at work: Django drops the
    response then, without a word to it.
    """
    made: list[Lifecycle] = []
    token = _made_in_request.set(made)
    try:
        yield
    finally:
        _made_in_request.reset(token)
        for stream in made:
            if stream is not served():
                stream.end(CloseReason.NOT_SERVED)
        made.clear()  # Copies of this context may live on with a view's tasks.


class Lifecycle(Enrolled):
    """What every stream goes through, whatever it is sent. See EventStream for the attributes."""

    __slots__ = (
        "_closed",
        "_is_clean",
        "is_open",
    )

    def __init__(self, lifetime: Lifetime, request: HttpRequest | None) -> None:
        super().__init__(get_hub(), lifetime, request)
        self.is_open = False
        self._closed: asyncio.Future[None] | None = None
        self._is_clean = False
        self._hub.admit(self)
        if (made := _made_in_request.get()) is not None:
            made.append(self)
        self.set_deadline(_UNSERVED_SECONDS)

    def __repr__(self) -> str:
        state = f"ended: {self.reason}" if self.reason else "open"
        return f"<{type(self).__name__} {self.id} {self.path} {state}>"

    @property
    def closed(self) -> "asyncio.Future[None]":
        """Awaitable; done when the stream has ended, whoever ended it."""
        if self._closed is None:
            self._closed = self._hub.loop.create_future()
            if self.reason is not None:
                self._closed.set_result(None)
        # Shielded: one that gives up waiting would cancel it for all.
        return asyncio.shield(self._closed)

    async def open(self) -> None:
        """Announce the stream, before its first byte."""
        if self.is_finished:  # It was given up before it could be served.
            return
        self.know_user()
        if self.reason is None:  # A short one may have ended before it is served.
            observe(self._hub)
            await self._hub.open(self)
        self.is_open = True
        metrics.streams_opened += 1
        logger.info("Stream %s opened: %s, user %s", self.id, self.path, self.user_label)
        if stream_opened.has_listeners(type(self)):
            # In the hub's context: the request has given its thread up, or is about to.
            await see_through(self._hub.spawn(_notify(stream_opened, self)))

    def serve(self, send: "Send", wake_server: Callable[[], None]) -> None:
        """
        Write to *send* from now on. The headers have been sent.

        *wake_server* is called when nothing more is going to be written.
        """
        self._wake_server = wake_server
        self._release_view_code()
        was_finished = self.is_finished
        self.attach(send, self.first_bytes())
        if was_finished:
            wake_server()
        if self._hub.is_closing:
            self.end(CloseReason.SHUTDOWN)
        if self.reason is None:
            self.start_clock()

    def end(self, reason: CloseReason) -> None:
        """End the stream, once; the first *reason* holds. It never waits."""
        if self.reason is not None:
            return
        self.reason = reason
        self._hub.close(self)
        if reason in _GIVEN_UP:
            self.give_up()
        elif reason is CloseReason.SHUTDOWN:
            # Spread, or all the clients of this worker come back to the next in one moment.
            retry = self._lifetime.retry
            last = frame(retry=retry + round(random.uniform(0, max(retry, 1000))))
            self._driver.run(lambda: self.write(last))
            # The response ends after the cleanup: granian leaves once no response is open.
            self._hub.spawn(self.finish())
        elif reason in _SENT_AWAY:
            # It may be all the clients of a group.
            self.close_response(self._come_back(5, 15))
        elif reason is CloseReason.LOGGED_OUT:
            # Soon: who has changed the password has a new session, and is logged in all the same.
            self.close_response(self._come_back(1, 2))
        else:
            self.close_response(b"")
        if not self.is_finished:
            # The client is slow to read the last bytes, or the response was never served.
            self.set_deadline(_EXIT_SECONDS if self._hub.is_closing else self._send_timeout)

    def _come_back(self, least: float, most: float) -> bytes:
        """Return a reconnection time, spread between so many times the usual."""
        pause = max(self._lifetime.retry, 1000) * random.uniform(least, most)
        return frame(retry=round(pause))

    def obey(self, reason: CloseReason) -> None:
        """See HubStream: the guard of this stream may say something else than another's."""
        if reason is CloseReason.GUARD:
            if self.reason is None:
                self.recheck_now()
        else:
            self.end(reason)

    def give_up(self) -> None:
        """Write nothing more, and cut the connection of a client that does not read."""
        is_complete = self.is_finished  # Then the connection may have its next request already.
        self.abort()
        # One that was never served has another answer: a busy one, an error, what a view returned.
        if self._send is not None and not is_complete and self.reason is not CloseReason.CLIENT:
            self._hub.reset(self.addresses)

    def let_go(self) -> None:
        """Take it that there is no client any more, if the stream has not ended from within."""
        self.end(CloseReason.CLIENT)
        if not self.is_shutting_down:
            self.abort()

    async def finish(self) -> None:
        """Run what is to run at the end: the tasks' cleanup, the callbacks, the signal. Once."""
        if self._finish_task is None:
            self._finish_task = self._hub.spawn(self._finish(), self._view_context)
        try:
            await see_through(self._finish_task)
        except asyncio.CancelledError:
            if not self.is_shutting_down:
                raise

    @property
    def is_shutting_down(self) -> bool:
        """
        Whether the process is, and this stream has ended for it: a cancellation has been obeyed.

        Daphne cancels every application and goes on at the first that raises CancelledError;
        the cleanup of the others would be cut short.
        """
        return self._hub.is_closing

    async def _finish(self) -> None:
        metrics.events_sent += self.events_sent
        metrics.bytes_sent += self.bytes_sent
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        try:
            if self._view_code is not None:
                seconds = _EXIT_SECONDS if self._hub.is_closing else CLEANUP_SECONDS
                await self._view_code.clean_up(self, seconds)
            if self.is_open:
                await _notify(stream_closed, self, reason=self.reason)
        finally:
            if self.is_open:
                self._log_closed()
            self.close_response(b"")
            self._is_clean = True
            self._leave_the_hub()

    def hurry(self) -> None:
        """Cut short a cleanup that began before the process was told to go."""
        if self._finish_task is not None and not self._finish_task.done():
            self._hub.loop.call_later(_EXIT_SECONDS, self._finish_task.cancel)

    def _leave_the_hub(self) -> None:
        # A process that goes waits for both, for the client to read the last bytes not for long.
        if self._is_clean and self.is_finished:
            self._hub.forget(self)

    def _log_closed(self) -> None:
        logger.info(
            "Stream %s closed (%s): %s, user %s, %.1f s, %d events, %d bytes",
            self.id,
            self.reason,
            self.path,
            self.user_label,
            self.seconds_open,
            self.events_sent,
            self.bytes_sent,
        )

    def on_send_error(self, error: BaseException) -> None:
        """See Outlet. Most servers say nothing when the client has gone; some raise."""
        self.abort()  # Before the end would write its last bytes to the same send.
        if isinstance(error, OSError | asyncio.CancelledError):
            logger.debug("The server could not write to %r.", self, exc_info=error)
            self.end(CloseReason.CLIENT)
        else:
            metrics.stream_errors += 1
            logger.error("The server's send failed for %r; the stream ends.", self, exc_info=error)
            self.end(CloseReason.ERROR)

    def on_overflow(self, count: int) -> None:
        """See Outlet. The client cannot be told what it missed, so it must start anew."""
        metrics.events_dropped += count
        self._report(events_dropped, count=count)
        self.end(CloseReason.SLOW)

    def take(self, batch: Batch) -> None:
        """See Member.take()."""
        raise NotImplementedError

    def first_bytes(self) -> bytes:
        """Return what the stream begins with."""
        raise NotImplementedError

    def on_finished(self) -> None:
        """See Outlet."""
        if self._wake_server is not None:
            self._wake_server()
        else:
            self._hub.spawn(self.finish())
        self._hub.timer.discard(self)
        self._leave_the_hub()

    def _report(self, signal: Signal, **named: Any) -> None:
        """Send *signal* soon: whoever calls this must not wait for the receivers."""
        if signal.has_listeners(type(self)):
            sending = signal.asend_robust(type(self), stream=self, **named)
            loops.enqueue("signals", sending, self._hub.driver.context)


async def _notify(signal: Signal, stream: Lifecycle, **named: Any) -> None:
    if signal.has_listeners(type(stream)):
        await signal.asend_robust(type(stream), stream=stream, **named)
