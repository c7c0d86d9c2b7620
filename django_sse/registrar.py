"""The task that keeps the registry of a hub's streams, and looks after their users' rights."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from asgiref.sync import sync_to_async

from django_sse import loops
from django_sse.control import tell_workers
from django_sse.hub import Hub
from django_sse.metrics import metrics
from django_sse.orders import Order
from django_sse.publishing import apublish
from django_sse.pulses import Pulses, ignore_pulses
from django_sse.reasons import CloseReason
from django_sse.registry import registry_alias
from django_sse.registry.entries import Batch, Entry, PresenceChange, State, state_of
from django_sse.registry.record import Record, renewal_seconds
from django_sse.reporting import Reporter
from django_sse.supervision import Supervision

__all__ = ["Registrar"]

logger = logging.getLogger("django.sse")

_TICK_SECONDS = 1.0
# So long after a turn at the database the next is due, if only to ask which streams are to end:
# that is every other tick.
_ORDERS_SECONDS = 1.5
# One order of a guard's refusal is enough for so long: it has asked all the others.
_GUARD_SECONDS = 1.0
# After so long without a failure, the next is news.
_CALM_SECONDS = 60.0
# With more changes in a tick, streams come in a burst, and are written together when it is over.
_BURST = 50
_MAX_BACKOFF_SECONDS = 30.0
# How long the end of a process may wait for its rows to be deleted; a lease runs out by itself.
_LEAVE_SECONDS = 0.5


class _Chore:
    """Work that is tried again after a failure, less often the longer that lasts."""

    def __init__(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        self._work = work
        self._what = what
        self._failures = 0
        self._rests_until = 0.0
        self._failed_at = 0.0
        self._told: set[str] = set()

    async def do(self) -> None:
        """Do it, if it is not resting after a failure. It never raises: the streams go on."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._rests_until:
            return
        try:
            await self._work()
        except Exception as error:
            self._failures += 1
            metrics.registry_errors += 1
            pause = min(2.0**self._failures, _MAX_BACKOFF_SECONDS)
            self._rests_until = loop.time() + pause
            if loop.time() - self._failed_at > _CALM_SECONDS:
                self._told.clear()
            self._failed_at = loop.time()
            # Some of it may work, and fail again: where a column is missing, for example.
            name = type(error).__name__
            log = logger.debug if name in self._told else logger.error
            self._told.add(name)
            log("The database fails as %s (%s: %s); trying on.", self._what, name, error)
        else:
            self._failures = 0


class Registrar:
    """
    Writes what a hub has open to the registry, and ends what it is asked there to end.

    A change is written about a second later, with all that have come by then; a burst of
    streams when it is over. Nothing is done for an event, and nothing for a stream with which
    nothing happens. Every two seconds, while there are streams, the registry is asked which are to
    be closed; every four, some of their users are looked at: see Supervision.

    Attributes:
        pulses: The reports of all workers, for who watches; None where the registry is turned off.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        alias = registry_alias()
        self._record = Record(alias) if alias is not None else None
        self._reporter = Reporter(hub, self._record.worker_id) if self._record else None
        self.pulses = Pulses(hub, self._reporter) if self._reporter else None
        if self.pulses is None:
            ignore_pulses(hub)
        self._clock = hub.loop.time
        self._supervision = Supervision(lambda: self._clock())
        self._refused: set[str] = set()
        self._changed: set[Any] = set()
        self._changes = 0
        self._written: dict[Any, State] = {}
        self._is_anew = False
        self._renew_at = 0.0
        self._due_at = 0.0
        self._wake = asyncio.Event()
        self._chores = [_Chore(self._look, "the rights of users are looked at")]
        if self._record is not None:
            self._chores.insert(0, _Chore(self._write, "the registry is written"))
        self._task = hub.spawn(self._work())

    @classmethod
    def of(cls, hub: Hub) -> Self:
        """Return that of *hub*, which is made when it is first asked for."""
        if hub.observer is None:
            hub.observer = cls(hub)
        assert isinstance(hub.observer, cls)
        return hub.observer

    def ending(self, stream: Any) -> None:
        """Take note that *stream* ends; it is in its groups still."""
        if self._reporter is not None:
            self._reporter.ending(stream)

    def changed(self, stream: Any) -> None:
        """Take note that *stream* has opened, has ended, or is in other groups."""
        if stream.reason is None:
            self._supervision.add(stream)
        else:
            self._supervision.discard(stream)
            if stream.reason is CloseReason.GUARD:
                self._ask_guards(stream.visitor.user_id)
        if self._record is not None:
            self._changed.add(stream)
        self._changes += 1
        self._wake.set()

    def _ask_guards(self, user_id: str) -> None:
        """Let those of the user's other streams be asked, which may see what one has seen."""
        if user_id and user_id not in self._refused:
            self._refused.add(user_id)
            self._hub.loop.call_later(_GUARD_SECONDS, self._refused.discard, user_id)
            self._hub.spawn(tell_workers(Order(user=user_id, reason=CloseReason.GUARD)))

    async def close(self) -> None:
        """Delete what is in the registry: the process ends."""
        self._task.cancel()
        if self.pulses is not None:
            self.pulses.close()
        if self._record is not None and self._record.is_written:
            try:
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await sync_to_async(self._record.leave)()
            except Exception as error:
                metrics.registry_errors += 1
                logger.debug("This worker's rows stay until its lease runs out: %r", error)

    async def _work(self) -> None:
        while True:
            await self._rest()
            await self._turn()

    async def _turn(self) -> None:
        # Side by side: their calls share one turn of a thread, and its connection.
        await asyncio.gather(*(chore.do() for chore in self._chores))

    async def _rest(self) -> None:
        loop, longest = asyncio.get_running_loop(), renewal_seconds()
        has_rows = self._record is not None and (self._hub.streams or self._changed)
        if not has_rows and self._supervision.is_empty:
            self._wake.clear()
            has_lease = self._record is not None and self._record.is_written
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest if has_lease else None):
                    await self._wake.wait()
        ends_at, is_burst = loop.time() + longest, True
        while is_burst and loop.time() < ends_at:
            before = self._changes
            due = loop.time() + min(_TICK_SECONDS, longest)
            await asyncio.sleep(due - loop.time())
            if self._reporter is not None:
                self._reporter.note_lag(loop.time() - due)
            is_burst = self._changes - before > _BURST

    async def _write(self) -> None:
        assert self._record is not None
        now = self._clock()
        is_renewal = now >= self._renew_at
        changed, self._changed = self._changed, set()
        if self._is_anew:
            changed = set(self._hub.streams)
        batch = self._batch(changed, is_renewal)
        if not (batch.entries or batch.closed or self._record.is_written):
            return  # Streams that were over before they were written.
        is_due = is_renewal or self._is_anew or now >= self._due_at
        if not (batch.entries or batch.closed or is_due):
            return
        keep_sample = self._tell(batch)
        try:
            outcome = await sync_to_async(self._record.write)(batch)
        except BaseException:
            # Part of it may be there. What has ended is not kept until the database is back.
            self._is_anew = True
            self._written.clear()
            raise
        if is_renewal:
            self._renew_at = now + renewal_seconds()
            keep_sample()
        self._due_at = now + _ORDERS_SECONDS
        self._written.update((entry.stream, entry.state) for entry in batch.entries)
        for stream in batch.closed:
            del self._written[stream]
        self._end(dict(outcome.closing))
        self._is_anew = outcome.has_lapsed
        if outcome.has_lapsed:
            logger.warning("The lease of this worker had run out; its streams are written anew.")
            self._written.clear()
        if outcome.presence:
            loops.enqueue("presence", _tell_presence(outcome.presence), self._hub.driver.context)

    def _batch(self, changed: set[Any], is_renewal: bool) -> Batch:
        written = self._written
        entries = [
            Entry(stream, state_of(stream), written.get(stream))
            for stream in changed
            if stream.reason is None
        ]
        if is_renewal:
            for stream, before in written.items():
                if before.is_outdated(stream) and stream not in changed:
                    entries.append(Entry(stream, state_of(stream), before))
        closed = [stream for stream in changed if stream in written and stream.reason]
        states = [entry.state for entry in entries]
        states += [written[stream] for stream in changed if stream in written]
        return Batch(
            entries=entries,
            closed=closed,
            is_anew=self._is_anew,
            is_renewal=is_renewal,
            has_presence=self._is_anew or any(state.present_in for state in states),
        )

    def _tell(self, batch: Batch) -> Callable[[], None]:
        """Add to *batch* what there is to tell; return what is to be called once it is there."""
        assert self._reporter is not None
        if not (batch.is_renewal or batch.has_rows):
            return _nothing
        report = self._reporter.report()
        batch.report = report.to_dict()
        if not batch.is_renewal:
            return _nothing
        batch.sample, keep = self._reporter.sample(report)
        return keep

    def _end(self, closing: dict[str, str]) -> None:
        if closing:
            for stream in tuple(self._written):
                if stream.id in closing:
                    stream.end(_reason(closing[stream.id]))

    async def _look(self) -> None:
        if not self._supervision.is_empty:
            for stream in await self._supervision.look():
                stream.end(CloseReason.LOGGED_OUT)  # type: ignore[attr-defined]


def _nothing() -> None: ...


def _reason(text: str) -> CloseReason:
    try:
        return CloseReason(text)
    except ValueError:  # Of a worker of another version.
        return CloseReason.DISCONNECTED


async def _tell_presence(changes: Sequence[PresenceChange]) -> None:
    for change in changes:
        event = "user_joined" if change.has_joined else "user_left"
        await apublish(change.group, {"user": change.user_id}, event=event)
