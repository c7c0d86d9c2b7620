"""A process in which nothing can be relied on."""

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from typing import Any
from unittest import mock

from django_sse.audiences import Audience
from django_sse.hub import Hub, _hubs, get_hub
from django_sse.publishing import apublish
from django_sse.stores.base import Entry
from tests.faults.model_clients import Client, Event
from tests.faults.unreliable import Layer, Loop, Store, end_hub

__all__ = ["World"]

#: Longer than any pause after a failure: of the store's readers, of the backlog, of the layer.
SETTLE_SECONDS = 25.0


class World:
    """A hub, a store, a layer and clients, on a loop of their own."""

    def __init__(self, max_events: int = 8) -> None:
        # The order of sets is to be the same each time.
        self._hashing = mock.patch.object(Audience, "__hash__", lambda self: hash(self.groups))
        self._hashing.start()
        self.loop = Loop()
        asyncio.set_event_loop(self.loop)
        self.layer = Layer()
        self.store = Store(self.note, max_events)
        self.clients: list[Client] = []
        self.events: dict[int, Event] = {}
        #: The numbers of each group's events, in the order of its history.
        self.order: dict[str, list[int]] = {}
        #: When histories were lost to all since all was well.
        self.losses: list[float] = []
        #: What was lost with them: to who had not got it, no position tells that it was there.
        self.gone: set[tuple[str, int]] = set()
        #: What was stored again after a loss.
        self.twice: set[int] = set()
        self.count = itertools.count().__next__
        self._announced: dict[int, Event] = {}
        self._with_history: set[int] = set()
        self._kept: dict[str, list[int]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Make the hub, so that this loop is the one that publishes."""

        async def make() -> None:
            get_hub()

        self.run(make())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(seconds))
        self._find_losses()

    def publish(
        self, groups: tuple[str, ...], key: str | None, padding: int, *, history: bool
    ) -> None:
        number = len(self._announced) + 1
        self._announced[number] = Event(number, groups, key)
        if history:
            self._with_history.add(number)
        data = f"{number}{'.' * padding}"
        self.spawn(apublish(groups, data, key=key, history=history))

    def note(self, entries: Sequence[Entry]) -> None:
        """Write down the order that the store has given to what was appended."""
        for entry in entries:
            number = int(entry.message["data"].rstrip("."))
            event = self.events.setdefault(number, self._announced[number])
            order = self.order.setdefault(entry.group, [])
            if number in order and (entry.group, number) in self.gone:
                # Its publisher did not hear that it had been stored, and tried again.
                self.gone.discard((entry.group, number))
                self.twice.add(number)
                order.remove(number)
                order.append(number)
            elif number not in order:
                order.append(number)
                event.time = self.loop.time()
        self._find_losses()

    def _find_losses(self) -> None:
        """Note what is forgotten now, for the clients that have not got it."""
        for group in self.order:
            kept = self.store.kept(group)
            handed_out = self._handed_out(group)
            for number in set(self._kept.get(group, ())).difference(kept):
                if number not in handed_out:
                    self.losses.append(self.loop.time())
                for client in self.clients:
                    # What it has by another group it may still have to pass over in this one.
                    is_one_way = len(client.ways(number)) < 2
                    if group in client.groups and not (is_one_way and client.has(number)):
                        client.losses.append(self.loop.time())
            self._kept[group] = kept

    def _handed_out(self, group: str) -> list[int]:
        """Return the events that the hub is past, by the order of the history as it is now."""
        following = self._hub.following if self._hub is not None else None
        positions = following.positions([group]) if following is not None else {}
        if group not in positions:
            return self.order[group]
        behind = len(self.store.read(group, positions[group], 10_000).entries)
        order = self.order[group]
        return order[: len(order) - behind] if behind < self.store.max_events else []

    def lose_all(self) -> None:
        """Note that histories are others now. The hub may notice later, for later clients too."""
        self.losses.append(self.loop.time())
        # One of the old history that comes only now would be taken for one of the new.
        self.layer.pending.clear()
        for group, order in self.order.items():
            lost = set(order).difference(self.store.kept(group))
            self.gone.update((group, number) for number in lost)
        self._kept = {group: self.store.kept(group) for group in self.order}

    def settle(self) -> None:
        """Let all work again, and judge when all have come to the end."""
        self.layer.is_down = self.store.is_down = self.store.is_mute = False
        self.store.latency = 0.0
        self.layer.pending.clear()
        for client in self.clients:
            client.resume()
        left = SETTLE_SECONDS
        while left > 0:
            for client in self.clients:
                client.read()
                if not client.is_open:
                    self.spawn(client.open())
                    left = max(left, SETTLE_SECONDS / 2)
            self.advance(0.5)
            left -= 0.5
        unpublished = self._with_history.difference(self.events)
        assert not unpublished, f"never stored: {unpublished}"
        for client in self.clients:
            client.read()
            client.check()
            client.begin_anew()
        self.losses.clear()

    @property
    def _hub(self) -> Hub | None:
        return _hubs.get(self.loop)

    def close(self) -> None:
        """End it all."""
        self.run(self._close())
        self._hashing.stop()
        self.loop.close()
        asyncio.set_event_loop(None)

    async def _close(self) -> None:
        for client in self.clients:
            await client.leave(0)
        await end_hub()
