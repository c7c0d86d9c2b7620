"""Clients in the model, and what each of them must get."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django_sse.exceptions import ChannelLayerUnavailable, StoreUnavailable
from django_sse.lifetime import make_lifetime
from django_sse.reasons import CloseReason
from django_sse.streams import EventStream
from django_sse.types import Message
from tests.faults.readers import RESET

if TYPE_CHECKING:
    from tests.faults.model import World

__all__ = ["Client", "Event"]


@dataclasses.dataclass
class Event:
    """One event that was published with a history."""

    number: int
    groups: tuple[str, ...]
    key: str | None
    time: float = 0.0


class _Stream(EventStream):
    """A stream that has the same place in a set each time."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class Client:
    """A client of a stream, which reads when it likes to and comes back with its last event id."""

    def __init__(self, world: "World", groups: tuple[str, ...]) -> None:
        self.groups = groups
        self.received: list[tuple[float, int | None]] = []
        self.losses: list[float] = []
        self.since = 0.0
        self.stream: EventStream | None = None
        self._world = world
        self._last_event_id = ""
        self._wire: list[tuple[float, bytes]] = []
        self._unread = b""
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def open(self) -> None:
        """Connect, if the process takes it."""
        if not self._last_event_id:  # It knows of nothing yet.
            self.received, self.losses = [], []
        self._wire, self._unread = [], b""
        lifetime = make_lifetime(heartbeat=5)
        stream = self.stream = _Stream.__new__(_Stream)
        stream.number = self._world.count()
        stream.__init__(lifetime, last_event_id=self._last_event_id or None)  # type: ignore[misc]
        self._flowing.set()
        try:
            await stream.subscribe(*self.groups)
        except (ChannelLayerUnavailable, StoreUnavailable):
            stream.end(CloseReason.NOT_SERVED)
            return
        if not self._last_event_id:
            self.since = self._world.loop.time()
        await stream.open()
        stream.serve(self._send, lambda: self._world.spawn(stream.finish()))

    async def _send(self, message: Message) -> None:
        await self._flowing.wait()
        self._wire.append((self._world.loop.time(), message.get("body", b"")))

    @property
    def is_open(self) -> bool:
        return self.stream is not None and self.stream.reason is None

    def stall(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def read(self) -> None:
        """Take what has come."""
        for time, data in self._wire:
            *frames, self._unread = (self._unread + data).split(b"\n\n")
            for frame in frames:
                self._note(time, frame)
        self._wire.clear()

    async def leave(self, cut: int) -> None:
        """Go away; of what has come and was not read, *cut* bytes are still taken in."""
        whole, self._wire = self._wire, []
        for time, data in whole:
            self._wire.append((time, data[:cut]))
            cut = max(0, cut - len(data))
        self.read()
        self.resume()
        if self.stream is not None:
            self.stream.let_go()
            self._world.spawn(self.stream.finish())
            self.stream = None

    def _note(self, time: float, frame: bytes) -> None:
        fields = dict(line.partition(": ")[::2] for line in frame.decode().split("\n"))
        self._last_event_id = fields.get("id", self._last_event_id)
        if fields.get("event") == "reset":
            self.received.append((time, RESET))
        elif "data" in fields:
            self.received.append((time, int(fields["data"].rstrip("."))))

    def has(self, number: int) -> bool:
        return any(number == other for _, other in self.received)

    # The verdict.

    def check(self) -> None:
        """Fail if anything that is kept was lost, or anything came twice or out of order."""
        resets = [time for time, number in self.received if number is RESET]
        losses = [*self.losses, *self._world.losses]
        assert not resets or losses, f"{self!r}: reset for nothing"
        last = max((time for time in resets if time >= min(losses)), default=-1.0)
        owed = max(self.since, last)  # What was published up to then it need not get.
        for run in self._runs():
            repeated = {number for number in run if run.count(number) > 1}
            assert not repeated, f"{self!r}: repeated: {repeated}"
            for group in self.groups:
                known = set(self._world.order.get(group, ())) - self._world.twice
                self._check_order(group, [number for number in run if number in known], owed)
        numbers = {number for _, number in self.received}
        lost = [
            event.number
            for event in self._world.events.values()
            if set(event.groups) & set(self.groups)
            and event.number not in numbers
            and event.time > owed
            and not any((group, event.number) in self._world.gone for group in event.groups)
            and not self._is_replaced(event)
        ]
        assert not lost, f"{self!r}: lost: {lost}"

    def _runs(self) -> list[list[int]]:
        """Return what came from each reset to the next: behind one, the page has begun anew."""
        runs: list[list[int]] = [[]]
        for _, number in self.received:
            if number is RESET:
                runs.append([])
            elif number in self._world.events:
                runs[-1].append(number)
        return runs

    def _check_order(self, group: str, numbers: Sequence[int], owed: float) -> None:
        """
        Fail if one of *numbers* came before another that precedes it in *group*.

        An event of several groups comes by the first that brings it: it may overtake those of
        another group of its own, unless they are in all of them.
        """
        place = {number: index for index, number in enumerate(self._world.order.get(group, ()))}
        for index, late in enumerate(numbers):
            if self._world.events[late].time <= owed:
                continue  # It may come all the same, by a group that lags.
            for early in numbers[:index]:
                if place[early] > place[late]:
                    assert not self.ways(early) <= self.ways(late), (
                        f"{self!r}: {early} came before {late} in {group!r}"
                    )

    def ways(self, number: int) -> set[str]:
        return set(self._world.events[number].groups) & set(self.groups)

    def _is_replaced(self, event: Event) -> bool:
        """Tell whether a newer event of its key was published to one of its groups."""
        if event.key is None:
            return False
        return any(
            other.key == event.key and other.number in order[order.index(event.number) + 1 :]
            for group in set(event.groups) & set(self.groups)
            for order in [self._world.order[group]]
            for other in self._world.events.values()
        )

    def begin_anew(self) -> None:
        """Judge only by what comes from now on: all up to now has been judged."""
        self.since, self.losses = self._world.loop.time(), []
        resets = [index for index, (_, number) in enumerate(self.received) if number is RESET]
        # What came before a reset the page has forgotten: it may come again.
        del self.received[: max(resets, default=-1) + 1]

    def __repr__(self) -> str:
        return f"<Client of {self.groups} since {self.since}: {self.received}, {self.losses}>"
