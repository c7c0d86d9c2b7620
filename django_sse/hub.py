"""The fan-out of one event loop."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextvars import Context
from typing import Any

from django_sse import exits, loops
from django_sse.audiences import Audiences, Member, deliver, groups_of
from django_sse.batches import Batch
from django_sse.broadcasts import Broadcasts
from django_sse.commands import COMMAND_TYPES, Command, unpack_command
from django_sse.contexts import new_context
from django_sse.driver import Driver
from django_sse.envelope import Delivery, unpack_all
from django_sse.following import Following
from django_sse.gathering import Gathering
from django_sse.groups import BROADCAST
from django_sse.hub_streams import HubStream, Observer
from django_sse.layer_link import LayerLink
from django_sse.layers import has_layer
from django_sse.metrics import metrics
from django_sse.occupancy import Occupancy
from django_sse.positions import Position
from django_sse.reasons import CloseReason
from django_sse.relaying import relay
from django_sse.runs import Item
from django_sse.sockets import Addresses, Resets, reset
from django_sse.stores import get_store
from django_sse.threads import keep_one_thread
from django_sse.timers import Timer
from django_sse.traffic import Traffic
from django_sse.visitors import Visitor
from django_sse.watching import Watching

__all__ = ["Hub", "get_hub"]

logger = logging.getLogger("django.sse")

# How long a client may take to read its last bytes when the process goes.
_LAST_READ_SECONDS = 1.2


class Hub:
    """
    Holds the open streams of one event loop, and hands them what the channel layer brings.

    Members with the same groups form an audience. An event of a group is encoded once; when no
    more follows for a few ticks of the loop, all that has come is put before the audiences of its
    groups, every audience joins it, and each of its streams makes one write of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.driver = Driver(loop, new_context())
        self.timer = Timer(loop, self.driver.run)
        self.streams: set[HubStream] = set()
        self.observer: Observer | None = None
        self.occupancy = Occupancy()
        #: What is done with a message of the channel layer that is no event, by its type.
        self.handlers: dict[str, Callable[[dict[str, Any]], None]] = dict.fromkeys(
            COMMAND_TYPES, lambda message: self.obey(unpack_command(message))
        )
        #: Counts the events of each group, where somebody wants to know.
        self.traffic: Traffic | None = None
        self.is_closing = False
        self._alive: dict[HubStream, Visitor] = {}
        self._empty = asyncio.Event()
        self.audiences = Audiences(self.positions)
        self.gathering = Gathering(loop, self.driver, self.audiences)
        self._resets = Resets(loop)
        self._link: LayerLink | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.watching = Watching(self.spawn)
        self._relay_task: asyncio.Task[None] | None = None
        self._broadcasts = Broadcasts(lambda: self.link, self.spawn)
        self.following = self._follow()
        self._stop_watching = exits.watch(loop, self.shut_down)
        loops.serve(loop)
        keep_one_thread()

    def _follow(self) -> Following | None:
        store = get_store()
        if store is None:
            return None
        if store.is_transactional:
            self._relay_task = self.spawn(relay(store))
        rejoin = lambda groups: self.link.join_again((*groups, BROADCAST))  # noqa: E731
        return Following(store, self.spawn, self._put, rejoin)

    def positions(self, groups: Iterable[str]) -> Mapping[str, Position]:
        """Return how far those of *groups* that have a history have come."""
        return self.following.positions(groups) if self.following is not None else {}

    def admit(self, stream: HubStream) -> None:
        """Know of *stream* until forget(), from before it is served to after its cleanup."""
        self._alive[stream] = stream.visitor
        self.occupancy.add(stream.visitor)

    @property
    def admitted(self) -> Collection[HubStream]:
        """The streams that are served, are about to be, or are being cleaned up."""
        return self._alive.keys()

    @property
    def size(self) -> int:
        """How many these are."""
        return len(self._alive)

    async def open(self, stream: HubStream) -> None:
        """Count *stream* among the open ones, which a broadcast reaches."""
        self.streams.add(stream)
        metrics.streams_open += 1
        self.changed(stream)
        if self.is_closing or not has_layer():
            return
        await self._broadcasts.join()

    def close(self, stream: HubStream) -> None:
        """Send *stream* nothing more."""
        was_open = stream in self.streams
        if was_open and self.observer is not None:
            self.observer.ending(stream)
        self.streams.discard(stream)
        self.leave(stream)
        self.timer.discard(stream)
        if was_open:
            metrics.streams_open -= 1
            if self.observer is not None:
                self.observer.changed(stream)

    def changed(self, stream: Any) -> None:
        """Let it be known that *stream*, if it is open, is in other groups."""
        if self.observer is not None and stream in self.streams:
            self.observer.changed(stream)

    def obey(self, command: Command) -> None:
        """Do what *command* says to the streams of this hub that it concerns."""
        command.carry_out(self)

    def reset(self, addresses: Addresses | None) -> None:
        """Cut the connection of *addresses* soon, with all that are given in this tick."""
        if addresses is not None:
            self._resets.add(addresses)

    def forget(self, stream: HubStream) -> None:
        """Forget *stream*: its cleanup is done."""
        if (visitor := self._alive.pop(stream, None)) is not None:
            self.occupancy.discard(visitor)
        if self.is_closing and not self._alive:
            self._empty.set()

    async def join(self, member: Member, groups: Collection[str]) -> None:
        """
        Add *groups* to those of *member*. What is published after this returned reaches it.

        Raises:
            ChannelLayerUnavailable: See LayerLink.join().
            ImproperlyConfigured: If there is no channel layer.
        """
        before = groups_of(member)
        new = [group for group in groups if group not in before]
        await self.link.join(new)
        try:
            if self.following is not None:
                await self._broadcasts.join()  # By it, too, events come.
                await self.following.start(new)
            await self.gathering.finished()
        except BaseException:
            self.link.leave(new)
            raise
        # Another task may have changed the groups of the member while this one waited.
        present = groups_of(member)
        self.link.leave([group for group in new if group in present])
        self._place(member, present.union(new))

    def leave(self, member: Member, groups: Collection[str] | None = None) -> None:
        """Take *groups* from those of *member*, or all of them."""
        before = groups_of(member)
        gone = before if groups is None else before.intersection(groups)
        if gone:
            self._place(member, before - gone)
            self.link.leave(gone)

    def _place(self, member: Member, groups: frozenset[str]) -> None:
        # What came before the change goes to those who were there when it came.
        self.gathering.flush()
        self.audiences.place(member, groups)
        self.changed(member)

    @property
    def link(self) -> LayerLink:
        """The way to the channel layer, made when it is first needed."""
        if self._link is None:
            self._link = LayerLink(
                self.receive, self._on_left, self._on_return, self.driver.context
            )
        return self._link

    def _on_left(self, group: str) -> None:
        if self.following is not None:
            self.following.stop(group)

    def _on_return(self) -> None:
        if self.following is not None:
            self.following.look_now()

    def receive(self, message: dict[str, Any]) -> None:
        """Take one message of the channel layer. It never raises: the receiving must go on."""
        try:
            if (handle := self.handlers.get(message.get("type", ""))) is not None:
                handle(message)
                return
            deliveries = unpack_all(message, self.following)
        except Exception:
            logger.exception("A message of the channel layer is not an event: %.200r", message)
            return
        metrics.events_received += len(deliveries)
        for delivery in deliveries:
            self._receive(delivery)

    def _receive(self, delivery: Delivery) -> None:
        if delivery.group == BROADCAST:
            self.gathering.flush()
            self.driver.run(lambda: deliver(Batch.of([Item(delivery)]), self.streams))
        elif delivery.number is None:
            self._put(delivery)
        elif self.following is not None:
            self.following.receive(delivery)

    def _put(self, delivery: Delivery) -> None:
        """Put *delivery* before all whom it is for, to be handed out soon."""
        if self.traffic is not None:
            self.traffic.counts[delivery.group] += 1
        self.gathering.put(delivery)

    def spawn(
        self, coroutine: Coroutine[Any, Any, None], context: Context | None = None
    ) -> asyncio.Task[None]:
        """Run *coroutine* in a task of no request, or in *context*; keep it until it ends."""
        task = self.loop.create_task(coroutine, context=context or self.driver.context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def shut_down(self) -> None:
        """End every stream, then let the loop go; new streams are turned away."""
        if self.is_closing:
            return
        self.is_closing = True
        left = {stream.addresses for stream in self._alive if stream.addresses is not None}
        for stream in tuple(self._alive):
            stream.hurry()
            stream.end(CloseReason.SHUTDOWN)
        # A server waits for clients to read what it holds for them; some never do. On a thread:
        # granian may have stopped the loop by then, and wait all the same.
        with contextlib.suppress(RuntimeError):  # None starts while the interpreter exits.
            cutting = threading.Timer(_LAST_READ_SECONDS, reset, [left])
            cutting.daemon = True
            cutting.start()
        if not self._alive:
            self._empty.set()
        self.spawn(self._close())

    async def _close(self) -> None:
        await self._empty.wait()
        if self.observer is not None:
            await self.observer.close()
        if self._link is not None:
            await self._link.close()
        self.dispose()

    def dispose(self) -> None:
        """Let go of the loop and of the process's signals."""
        self._stop_watching()
        self.timer.close()
        if self.following is not None and not self.loop.is_closed():
            self.following.close()
            if self._relay_task is not None:
                self._relay_task.cancel()
        if not self.loop.is_closed():
            self._broadcasts.close()
            self.driver.close()


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def get_hub() -> Hub:
    """Return the hub of the running event loop; it is made when it is first asked for."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        for other in [other for other in _hubs if other.is_closed()]:
            _hubs.pop(other).dispose()
        hub = _hubs[loop] = Hub(loop)
    return hub
