"""What an open stream does by the clock."""

import contextvars
import logging
import random

from django_sse.conf import get_settings
from django_sse.hub import Hub
from django_sse.lifetime import Lifetime
from django_sse.outlet import Outlet
from django_sse.reasons import CloseReason

__all__ = ["Timekeeper"]

logger = logging.getLogger("django.sse")

# Heartbeats keep to such steps of the loop's clock, or to a tenth of a shorter interval: to wake
# costs the process as much for thirty streams as for three hundred, and their readers, too.
_STEP_SECONDS = 0.5


class Timekeeper(Outlet):
    """Heartbeats, rechecks, time-outs and the end of a stream's time, on the hub's timer."""

    __slots__ = ("_ends_at", "_hub", "_lifetime", "_recheck_at", "reason", "timer_slot")

    def __init__(self, hub: Hub, lifetime: Lifetime) -> None:
        super().__init__(hub.driver, get_settings().queue_max_bytes)
        self.reason: CloseReason | None = None
        self.timer_slot: int | None = None
        self._hub = hub
        self._lifetime = lifetime
        self._ends_at: float | None = None
        self._recheck_at: float | None = None

    def start_clock(self) -> None:
        """Begin with the deadlines of a stream that is served."""
        now = self._hub.loop.time()
        self._note_heartbeat(now)
        if self._lifetime.max_duration is not None:
            # Spread, so that streams which began together do not end together.
            self._ends_at = now + self._lifetime.max_duration * random.uniform(0.9, 1.1)
        if self._lifetime.recheck is not None:
            self._recheck_at = now + self._lifetime.recheck
        self._hub.timer.discard(self)
        self._hub.timer.add(self, self._next_deadline(now))

    def set_deadline(self, seconds: float) -> None:
        """Give the stream *seconds* to be served, or to end."""
        self._hub.timer.discard(self)
        self._hub.timer.add(self, self._hub.loop.time() + seconds)

    def on_time(self, now: float) -> float | None:
        """Do what is due. See Timed.on_time()."""
        if self.reason is not None:
            self.give_up()  # The client has not read the last bytes.
        elif self._send is None:
            self.end(CloseReason.NOT_SERVED)
        elif self._ends_at is not None and now >= self._ends_at:
            self.end(CloseReason.MAX_DURATION)
        elif self._queue is not None and now >= self._waits_since + self._send_timeout:
            self.end(CloseReason.SEND_TIMEOUT)
        else:
            if self._recheck_at is not None and now >= self._recheck_at:
                self.recheck_now()
            if self._queue is None and self._step_of(now) >= self._step_of(self._next_heartbeat):
                self._note_heartbeat(now)
                self.write(self.heartbeat())
        return self._next_deadline(now) if self.reason is None else None

    def _next_deadline(self, now: float) -> float:
        if self._queue is None:
            # A send that begins to wait from now on is over its time at the earliest then.
            heartbeat = self._step_of(self._next_heartbeat) * self._step_seconds
            first = min(heartbeat, now + self._send_timeout)
        else:
            first = self._waits_since + self._send_timeout
            if self._lifetime.beat is not None:  # It is not put off for as long as that.
                first = min(first, now + self._lifetime.heartbeat)
        return min(first, self._ends_at or first, self._recheck_at or first)

    @property
    def _next_heartbeat(self) -> float:
        beat = self._lifetime.beat
        last = self._last_write if beat is None else beat.last
        return last + self._lifetime.heartbeat

    def _step_of(self, time: float) -> int:
        """Return the step of the clock that is nearest to *time*."""
        return round(time / self._step_seconds)

    @property
    def _step_seconds(self) -> float:
        return min(_STEP_SECONDS, self._lifetime.heartbeat / 10)

    def _note_heartbeat(self, now: float) -> None:
        self._own_write = now
        if (beat := self._lifetime.beat) is not None:
            beat.last = now

    def recheck_now(self) -> None:
        """Call the guard, if there is one that is called again, and is not being called."""
        if self._recheck_at is not None:
            self._recheck_at = None
            self._hub.spawn(self._recheck(), self._view_context)

    async def _recheck(self) -> None:
        assert self._lifetime.guard is not None
        assert self._lifetime.recheck is not None
        try:
            allowed = await self._lifetime.guard()
        except Exception:
            logger.exception("The guard of %r failed; the stream ends.", self)
            allowed = False
        if not allowed:
            self.end(CloseReason.GUARD)
        elif self.reason is None:
            now = self._hub.loop.time()
            self._recheck_at = now + self._lifetime.recheck
            # Likely before the deadline that the timer has: that of the next heartbeat.
            self._hub.timer.discard(self)
            self._hub.timer.add(self, self._next_deadline(now))

    @property
    def _send_timeout(self) -> float:
        return get_settings().send_timeout_seconds

    @property
    def _view_context(self) -> contextvars.Context | None:
        """The context in which code of the view runs."""
        raise NotImplementedError

    def heartbeat(self) -> bytes:
        """Return what is written when nothing else has been for a while."""
        raise NotImplementedError

    def end(self, reason: CloseReason) -> None:
        """End the stream, once; the first *reason* holds. It never waits."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Write nothing more."""
        raise NotImplementedError
