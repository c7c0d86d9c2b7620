"""What a stream is sent of the events of its groups."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from django_sse.batches import Batch, newest
from django_sse.catching_up import CatchUp
from django_sse.enrolment import check_presence
from django_sse.envelope import Delivery
from django_sse.events import ServerSentEvent
from django_sse.exceptions import StreamClosed
from django_sse.framing import HEARTBEAT, frame
from django_sse.groups import BROADCAST, check_groups
from django_sse.lifecycle import Lifecycle
from django_sse.lifetime import Lifetime
from django_sse.metrics import metrics
from django_sse.places import Place
from django_sse.positions import Position
from django_sse.readers import Readers
from django_sse.resuming import Resumption, Start
from django_sse.runs import Item
from django_sse.signals import event_sent, events_dropped

__all__ = ["Fed", "Where", "check_where"]

logger = logging.getLogger("django.sse")

#: Chooses events; sync, since it is asked for each event of each stream.
Where = Callable[[ServerSentEvent], bool]

# After a store has failed.
_RETRY_SECONDS = 1.0


def check_where(where: object) -> None:
    """Raise TypeError unless *where* is None or a sync function."""
    if where is not None and (not callable(where) or iscoroutinefunction(where)):
        raise TypeError(f"where={where!r} must be a sync function of the event, or None.")


class Fed(Lifecycle):
    """
    A stream's groups, and its place in their histories.

    It is live, and handed each batch of its audience, or on its way there: see CatchUp.
    """

    __slots__ = ("_catch_up", "_first", "_last_id", "_resumption", "_where")

    def __init__(
        self,
        lifetime: Lifetime,
        request: HttpRequest | None,
        last_event_id: str | None,
        start: Start,
    ) -> None:
        super().__init__(lifetime, request)
        self._where: dict[str, Where] | None = None
        self._resumption: Resumption | None = Resumption(last_event_id, start)
        self._catch_up: CatchUp | None = None
        self._first = b""  # The id before the first event.
        self._last_id = b""  # As the client was told it.

    @property
    def groups(self) -> frozenset[str]:
        """The groups whose events the stream is sent."""
        return self.audience.groups if self.audience is not None else frozenset()

    async def subscribe(
        self, *groups: str, where: Where | None = None, presence: bool = False
    ) -> None:
        """
        Send the events of *groups* from now on; what is published after this returns is sent.

        A client that comes back is sent what it has missed in them first, as long as there is a
        store; see ``last_event_id``.

        Args:
            groups: Names of groups, any strings.
            where: A sync function of the event; the stream is sent those for which it is true.
            presence: Whether the groups are told that the user has joined, and that they left.

        Raises:
            InvalidGroup: If a group is no name, or there are more than ``MAX_GROUPS``.
            StreamClosed: If the stream has ended.
            ChannelLayerUnavailable: If the channel layer fails.
            StoreUnavailable: If the store of past events fails.
            ImproperlyConfigured: If *presence* is asked for, and the registry is turned off.
        """
        names = check_groups(groups)
        check_groups([*self.groups, *names])
        check_where(where)
        check_presence(presence)
        if self.reason is not None:
            raise StreamClosed(f"{self!r} cannot join {names!r}.")
        self._forget_where(names)
        if presence:
            self.tell_presence(names)
        if where is not None:
            self.part()
            self._where = {**(self._where or {}), **dict.fromkeys(names, where)}
        wanted = await self._wanted([name for name in names if name not in self.groups])
        await self._hub.join(self, names)
        if self.reason is not None:  # The client left meanwhile.
            self._hub.leave(self)
        elif self._hub.following is not None:
            self._begin(wanted)

    def divert_broadcasts(self, take: Callable[[ServerSentEvent], None]) -> None:
        """Call *take* with what is sent to all streams, or to this one, instead of sending it."""

        def refuse(event: ServerSentEvent) -> bool:
            take(event)
            return False

        self.part()
        self._where = {**(self._where or {}), BROADCAST: refuse}

    async def _wanted(self, names: Sequence[str]) -> Mapping[str, Position]:
        if self._resumption is None or self._hub.following is None:
            return {}
        return await self._resumption.positions(self._hub.following, names)

    def _begin(self, wanted: Mapping[str, Position]) -> None:
        # No wait since the groups were joined: nothing has been handed out from them yet.
        assert self.audience is not None
        start = self.audience.place
        if wanted and self._resumption is not None:
            start = self._resumption.place(start, wanted)
        if self._catch_up is not None:
            self._catch_up.regroup(start)
        elif wanted:
            self._fall_behind(start)
        self._tell_id()

    def _fall_behind(self, place: Place) -> None:
        catch_up = self._catch_up = CatchUp(self._hub, self, place)
        self._hub.spawn(self._go_on(catch_up))

    async def _go_on(self, catch_up: CatchUp) -> None:
        """Read from the store as the client reads, until the stream is live again."""
        try:
            while self.reason is None:
                await self.drained()
                try:
                    items = await catch_up.read()
                except Exception as error:
                    metrics.store_errors += 1
                    logger.warning("%r cannot read the store (%s); trying on.", self, error)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                if items is None:
                    self._catch_up = None
                    return
                self._driver.run(lambda items=items: self._take(Batch.of(newest(items)), True))  # type: ignore[misc]
        finally:
            catch_up.close()

    @property
    def place(self) -> Place | None:
        """How far the stream has come in its groups."""
        if self._catch_up is not None:
            return self._catch_up.place
        return self.audience.place if self.audience is not None else None

    @property
    def is_lagging(self) -> bool:
        """See Enrolled."""
        return self._catch_up is not None

    def _tell_id(self) -> None:
        """Let the client know where it is, before its first event."""
        id_line = self.place.id_line if self.place is not None else b""
        if self._send is None and self._last_id == self._first:
            self._first = self._last_id = id_line
        elif id_line:
            told = b"" if self._send is None else self._reset(id_line)
            told = told or id_line + b"\n"
            self._last_id = id_line
            self._driver.run(lambda: self.write(told))

    def first_bytes(self) -> bytes:
        """Return the reconnection time and, with groups, the id to come back with."""
        # With a reset it is that one's id: who has it, and leaves then, has been told.
        opening = (self._first and self._reset(self._first)) or self._first + b"\n"
        first = frame(retry=self._lifetime.retry)[:-1] + opening
        if (beat := self._lifetime.beat) is not None:
            first += self._first + beat.frame
        if self._resumption is not None and self._resumption.is_plain:
            self._resumption = None
        return first

    def heartbeat(self) -> bytes:
        """See Timekeeper: a comment, or the id, where it has moved on with events left out."""
        id_line = self.place.id_line if self.place is not None else b""
        told = (self._last_id, self._readers.id_line if self._readers is not None else b"")
        is_told, self._last_id = id_line in told, id_line
        if (beat := self._lifetime.beat) is not None:
            return id_line + beat.frame
        return HEARTBEAT if is_told else id_line + b"\n"

    def _reset(self, id_line: bytes) -> bytes:
        reason = self._resumption.take_reset() if self._resumption is not None else None
        if reason is None:
            return b""
        metrics.resets_sent += 1
        return id_line + frame(reason, event="reset")

    async def unsubscribe(self, *groups: str) -> None:
        """Send no more events of *groups*; those the stream is not in are ignored."""
        names = check_groups(groups)
        await self._hub.gathering.finished()
        self._hub.leave(self, names)
        self._forget_where(names)
        if self._catch_up is not None:
            self._catch_up.regroup()

    def _forget_where(self, names: Sequence[str]) -> None:
        if self._where is not None:
            self._where = {
                name: where for name, where in self._where.items() if name not in names
            } or None

    def take(self, batch: Batch) -> None:
        """See Member.take()."""
        if self.reason is not None:
            return
        if self._hub.following is None or self.has_room(len(batch.frames)):
            self._take(batch)
            return
        if batch.before is not None:
            self._fall_behind(batch.before)
        self._take_loose([item for item in batch.items if item.delivery.number is None])

    def join(self, readers: Readers) -> None:
        """See Member.join()."""
        if self._where is None and self.reason is None:
            super().join(readers)

    def part(self) -> None:
        """See Member.part()."""
        if self._readers is not None:
            self._last_id = self._readers.id_line or self._last_id
        super().part()

    def _take_loose(self, items: Sequence[Item]) -> None:
        """Queue of *items*, which no store has, those that fit; the others are lost."""
        chosen = self._chosen(items)
        kept = [item for item in chosen if self.offer(item)]
        self._count(Batch.of(kept))
        if lost := len(chosen) - len(kept):
            metrics.events_dropped += lost
            self._report(events_dropped, count=lost)

    def _take(self, batch: Batch, is_whole: bool = False) -> None:
        if self._where is not None:
            batch = Batch.of(self._chosen(batch.items))
        if not batch.count:
            return
        self._own_write = self._hub.gathering.now
        self._last_id = batch.id_line or self._last_id
        # What has been read of the store is there only once: it goes as one, which always fits.
        if is_whole or self._queue is None:
            self.write(batch.frames)
        else:
            self.write_each(batch.items)
        self._count(batch)

    def _count(self, batch: Batch) -> None:
        self._own_events += batch.count
        if event_sent.receivers:
            for item in batch.items:
                self._report(event_sent, event=item.event)

    def _chosen(self, items: Sequence[Item]) -> Sequence[Item]:
        if (where := self._where) is None:
            return items
        try:
            return [item for item in items if self._chooses(item.delivery, where)]
        except Exception as error:
            self.fail(error)
            return []

    def _chooses(self, delivery: Delivery, where: dict[str, Where]) -> bool:
        # An event of several groups comes once, by the first: each of the others counts too.
        return delivery.is_reset or any(
            name not in where or where[name](delivery.event)
            for name in delivery.groups
            if name == delivery.group or name in self.groups
        )
