"""Clients that write down all they get, and the verdict on it."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Self

from tests.servers.client import EndOfStream, StreamClient
from tests.servers.processes import Server
from tests.servers.waiting import TIMEOUT, eventually

__all__ = ["RESET", "Reader", "Verdict", "judge"]

#: What is written down for a ``reset``.
RESET = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with what a client got; true if nothing is."""

    lost: Sequence[int] = ()
    repeated: Sequence[int] = ()
    reordered: Sequence[int] = ()
    unknown: Sequence[int] = ()
    resets: str = ""

    def __bool__(self) -> bool:
        return not any(dataclasses.astuple(self))

    def __str__(self) -> str:
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return "; ".join(
            f"{name}: {value if isinstance(value, str) else _ranges(value)}"
            for name, value in found.items()
            if value
        )


def judge(
    published: Sequence[int], received: Sequence[int | None], breaks: Sequence[int] = ()
) -> Verdict:
    """
    Say what is wrong with *received*: each of *published* is to come once, in that order.

    Args:
        published: Numbers, each once.
        received: Numbers as they came, and RESET.
        breaks: For each time that the history went: the first number that was published after
            it. There has to be one reset for each, behind what came before the break. What was
            published from the break to the reset need not come: a page loads its state anew.
    """
    place = {number: index for index, number in enumerate(published)}
    known = [number for number in received if number is RESET or number in place]
    numbers = [number for number in known if number is not RESET]
    firsts = list(dict.fromkeys(numbers))
    excused, resets = _excused(published, known, [place[number] for number in breaks])
    furthest, reordered = -1, []
    for number in firsts:
        if place[number] < furthest:
            reordered.append(number)
        furthest = max(furthest, place[number])
    return Verdict(
        lost=[number for number in published if number not in excused.union(numbers)],
        repeated=[number for number in firsts if numbers.count(number) > 1],
        reordered=reordered,
        unknown=[n for n in dict.fromkeys(received) if n is not RESET and n not in place],
        resets=resets,
    )


def _excused(
    published: Sequence[int], known: Sequence[int | None], breaks: Sequence[int]
) -> tuple[set[int], str]:
    """Return the numbers that need not have come, and what is wrong with the resets."""
    places = [index for index, item in enumerate(known) if item is RESET]
    if len(places) != len(breaks):
        return set(), f"{len(places)} instead of {len(breaks)}"
    where = {number: index for index, number in enumerate(published)}
    excused: set[int] = set()
    for index, first in zip(places, breaks, strict=True):
        behind = [where[number] for number in known[:index] if number is not RESET]
        after = [where[number] for number in known[index:] if number is not RESET]
        if any(place < first for place in after):
            return excused, f"the one for {published[first]} came too early"
        if any(place >= first for place in behind):
            return excused, f"the one for {published[first]} came too late"
        excused.update(published[first : min(after, default=len(published))])
    return excused, ""


def _ranges(numbers: Iterable[int]) -> str:
    """Return *numbers* as a short text: 3-7, 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


class Reader:
    """
    A client that comes back with its last event id, as a browser does.

    Attributes:
        received: Each event's number as it came, and RESET.
        last_event_id: As a browser knows it.
        greeting: The data of the event by which the view has told that its groups are joined.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.received: list[int | None] = []
        self.last_event_id = ""
        self.greeting = ""
        self._client: StreamClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def connect(self, server: Server, **options: object) -> Self:
        """Open the stream, and read it from now on."""
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        client = await server.open(self.path, headers=headers, **options)
        try:
            assert client.status == 200
            fields = self._note(await client.next_frame())  # With it the fixed groups are joined.
            while self.is_told and fields.get("event") != "opened":
                fields = self._note(await client.next_frame())
        except BaseException:
            client.close()
            raise
        self._client = client
        self._task = asyncio.create_task(self._read(client))
        return self

    async def _read(self, client: StreamClient) -> None:
        with contextlib.suppress(EndOfStream, ConnectionError):
            while True:
                await self._flowing.wait()
                self._note(await client.next_frame(timeout=3600))

    @property
    def is_told(self) -> bool:
        """Whether the view tells by an event when it has joined its groups."""
        return self.path.startswith(("/handler/", "/generator/", "/whose/"))

    def _note(self, frame: bytes) -> dict[str, str]:
        fields: dict[str, str] = {}
        for line in frame.decode().split("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        self.last_event_id = fields.get("id", self.last_event_id)
        if fields.get("event") == "opened":
            self.greeting = fields["data"]
        elif fields.get("event") == "reset":
            self.received.append(RESET)
        elif "data" in fields and "event" not in fields:
            self.received.append(int(fields["data"].rstrip(".")))
        return fields

    def stall(self) -> None:
        """Read nothing more, but what has come already."""
        self._flowing.clear()

    def resume(self) -> None:
        """Read on."""
        self._flowing.set()

    async def leave(self, *, by_reset: bool = False) -> None:
        """Go away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        if self._client is not None:
            if by_reset:
                self._client.reset()
            else:
                self._client.close()
            self._client = None

    @property
    def is_connected(self) -> bool:
        """Whether the stream is open, as far as the client knows."""
        return self._task is not None and not self._task.done()

    async def gone(self) -> None:
        """Wait until the server has ended the stream, or has gone."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def has(self, number: int, *, within: float = 2 * TIMEOUT) -> None:
        """Wait until *number* has come."""
        await eventually(lambda: number in self.received, within=within, but=self._progress)

    def _progress(self) -> str:
        return f"{self.path}: {len(self.received)} came, the last of them {self.received[-5:]}"

    def check(self, published: Sequence[int], breaks: Sequence[int] = ()) -> None:
        """Fail if not all of *published* came, once and in order. See judge()."""
        verdict = judge(published, self.received, breaks)
        assert verdict, f"{self.path}: {verdict}"
