"""Reading the events of groups in code of one's own."""

import asyncio
from collections.abc import Hashable, Iterable
from types import TracebackType
from typing import Self

from django_sse import loops
from django_sse.audiences import Audience
from django_sse.batches import Batch
from django_sse.catching_up import CatchUp
from django_sse.conf import get_settings
from django_sse.enrolment import check_presence
from django_sse.events import ServerSentEvent
from django_sse.exceptions import EventsDropped, InvalidGroup
from django_sse.feeding import Where, check_where
from django_sse.groups import check_groups
from django_sse.hub import Hub, get_hub
from django_sse.metrics import metrics
from django_sse.readers import Readers
from django_sse.resuming import Resumption
from django_sse.runs import Item
from django_sse.signals import events_dropped
from django_sse.streams import EventStream, current_stream

__all__ = ["Subscription", "subscribe"]


class Subscription:
    """
    The events of some groups: an async context manager, and an iterator inside it.

    Not for several tasks at once. See subscribe().
    """

    def __init__(
        self,
        groups: tuple[str, ...],
        where: Where | None,
        last_event_id: str | None = None,
        presence: bool = False,
    ) -> None:
        self.audience: Audience | None = None
        self._groups = groups
        self._where = where
        self._last_event_id = last_event_id
        self._presence = presence
        self._stream: EventStream | None = None
        self._hub: Hub | None = None
        self._catch_up: CatchUp | None = None
        self._queue: dict[Hashable, ServerSentEvent] = {}
        self._queued_bytes = 0
        self._arrived: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        if self._hub is not None:
            raise RuntimeError("This subscription is open already; call subscribe() once more.")
        self._queue, self._queued_bytes, self._error = {}, 0, None
        hub, resumption = get_hub(), Resumption(self._last_event_id)
        following = hub.following
        wanted = await resumption.positions(following, self._groups) if following else {}
        await hub.join(self, self._groups)
        self._hub = hub
        if following is not None and self.audience is not None:
            place = self.audience.place
            if wanted:
                place = resumption.place(place, wanted)
                self._catch_up = CatchUp(hub, self, place)
            if (reason := resumption.take_reset()) is not None:
                metrics.resets_sent += 1
                reset = ServerSentEvent(reason, event="reset", id=place.id)
                self._queue[object()] = reset
                self._queued_bytes += len(reset.encode())
            if (stream := current_stream.get()) is not None:
                stream.tell(place.id_line)
        self._enrol()
        return self

    def _enrol(self) -> None:
        self._stream = current_stream.get()
        if self._stream is not None:
            if self._presence:
                self._stream.tell_presence(self._groups)
            self._stream.begin_reading(self._groups)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._hub is not None
        self._hub.leave(self)
        self._hub = None
        if self._stream is not None:
            self._stream.end_reading(self._groups)
        if self._catch_up is not None:
            self._catch_up.close()
            self._catch_up = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerSentEvent:
        if self._hub is None:
            raise RuntimeError(
                "A subscription is read inside its block: async with subscribe(...) as events:"
            )
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self._catch_up is not None:
                await self._read_on(self._catch_up)
                continue
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        event = self._queue.pop(next(iter(self._queue)))
        self._queued_bytes -= len(event.encode())
        return event

    async def _read_on(self, catch_up: CatchUp) -> None:
        items = await catch_up.read()
        if items is not None:
            self._enqueue(items)
        elif self._catch_up is catch_up:  # It is live again.
            self._catch_up = None
            catch_up.close()

    def join(self, readers: Readers) -> None:
        """See Member.join(): there is something else to do with an event than to write it."""

    def part(self) -> None:
        """See Member.part()."""

    def take(self, batch: Batch) -> None:
        """See Member.take()."""
        assert self._hub is not None
        if self._hub.following is None:
            self._enqueue(batch.items)
            # One alone is never too much, as for a stream.
            if self._queued_bytes > get_settings().queue_max_bytes and len(self._queue) > 1:
                self._overflow()
        elif self._has_room(len(batch.frames)):
            self._enqueue(batch.items)
        else:
            if batch.before is not None:
                self._catch_up = CatchUp(self._hub, self, batch.before)
            self._take_loose([item for item in batch.items if item.delivery.number is None])
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _has_room(self, size: int) -> bool:
        return not self._queue or self._queued_bytes + size <= get_settings().queue_max_bytes

    def _take_loose(self, items: Iterable[Item]) -> None:
        """Queue of *items*, which no store has, those that fit; the others are lost."""
        lost = 0
        for item in items:
            replaced = self._queue.get(item.delivery.key)
            if self._has_room(len(item.frame) - (len(replaced.encode()) if replaced else 0)):
                self._enqueue([item])
            else:
                lost += self._chooses(item.delivery.event)
        self._drop(lost)

    def _enqueue(self, items: Iterable[Item]) -> None:
        for item in items:
            delivery = item.delivery
            if self._error is None and (delivery.is_reset or self._chooses(delivery.event)):
                key: Hashable = delivery.key or object()
                if (replaced := self._queue.pop(key, None)) is not None:
                    self._queued_bytes -= len(replaced.encode())
                self._queue[key] = item.event
                self._queued_bytes += len(item.frame)

    def _chooses(self, event: ServerSentEvent) -> bool:
        try:
            return self._where is None or self._where(event)
        except Exception as error:
            self._error = error
            return False

    def _overflow(self) -> None:
        count, limit = len(self._queue), get_settings().queue_max_bytes
        self._error = EventsDropped(
            f"{count} events of {sorted(self._groups)!r} were not read in time: together they are"
            f" over DJANGO_SSE['QUEUE_MAX_BYTES'] = {limit}. Read faster, or publish with key=."
        )
        self._queue.clear()
        self._queued_bytes = 0
        self._drop(count)

    def _drop(self, count: int) -> None:
        metrics.events_dropped += count
        if not count:
            return
        if self._hub is not None and events_dropped.has_listeners(Subscription):
            sending = events_dropped.asend_robust(Subscription, stream=self, count=count)
            loops.enqueue("signals", sending, self._hub.driver.context)


def subscribe(
    *groups: str,
    last_event_id: str | None = None,
    where: Where | None = None,
    presence: bool = False,
) -> Subscription:
    """
    Return the events of *groups*, to be read in a block.

    For example::

        async with subscribe("orders") as events:
            async for event in events:
                ...

    From the block's first line on nothing that is published is missed. Each event has an ``id``,
    which stands for all of the groups.

    Args:
        groups: Names of groups, any strings.
        last_event_id: The id of the last event that was read before, to go on behind it. If that
            cannot be, the first event is a ``reset``.
        where: A sync function of the event; those for which it is true are read.
        presence: In the view of a stream: whether the groups are told that its user has joined,
            and that they left.

    Raises:
        InvalidGroup: If a group is no name, or there are more than ``MAX_GROUPS``.
        ChannelLayerUnavailable: On entering, if the channel layer fails.
        StoreUnavailable: On entering, if the store of past events fails.
        ImproperlyConfigured: If *presence* is asked for, and the registry is turned off; on
            entering, if there is no channel layer.
        EventsDropped: While reading, without a store, if more than ``QUEUE_MAX_BYTES`` of events
            have piled up.
    """
    names = check_groups(groups)
    if not names:
        raise InvalidGroup("subscribe() was given no group; name at least one.")
    check_where(where)
    check_presence(presence)
    return Subscription(names, where, last_event_id, presence)
