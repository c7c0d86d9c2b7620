"""A loop with a clock of its own, and a layer and a store that fail as a test wants them to."""

import asyncio
import contextlib
import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from channels.layers import BaseChannelLayer

from django_sse.hub import get_hub
from django_sse.positions import START, Position
from django_sse.stores.base import Entry, Slice
from django_sse.stores.memory import MemoryStore

__all__ = ["Layer", "Loop", "Store", "end_hub"]


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__()

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        own: Any = self
        if not own._ready:
            due = [timer._when for timer in own._scheduled if not timer._cancelled]
            self._now = max(self._now, min(due, default=0.0))
        super()._run_once()  # type: ignore[misc]


class Layer(BaseChannelLayer):
    """
    A channel layer that brings what the test lets it bring.

    Attributes:
        pending: The messages on their way.
        is_down: Whether every call fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[dict[str, Any]] = []
        self.is_down = False
        self._members: set[str] = set()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()

    def bring(self, index: int) -> None:
        """Let one message arrive, and keep it, to arrive again."""
        self._inbox.put_nowait(json.loads(json.dumps(self.pending[index])))

    def break_down(self) -> None:
        """Fail, and forget everything."""
        self.is_down = True
        self.forget()
        self.pending.clear()
        self._inbox.put_nowait(ConnectionError("the layer is down"))

    def forget(self) -> None:
        """Forget who is in which group."""
        self._members.clear()

    def _check(self) -> None:
        if self.is_down:
            raise ConnectionError("the layer is down")

    async def new_channel(self, prefix: str = "specific.") -> str:
        return prefix

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        self._check()
        self._inbox.put_nowait(message)

    async def receive(self, channel: str) -> Any:
        self._check()
        message = await self._inbox.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def group_add(self, group: str, channel: str) -> None:
        self._check()
        self._members.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        self._check()
        self._members.discard(group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._check()
        if group in self._members:
            self.pending.append(message)


class Store(MemoryStore):
    """
    A store that is slow, fails, and forgets; *note* is called with all that it has appended.

    Attributes:
        latency: How long each call takes, in seconds.
        is_down: Whether every call fails.
        is_mute: Whether what is appended is kept, and the publisher does not hear of it.
    """

    is_shared = True

    def __init__(self, note: Callable[[Sequence[Entry]], None], max_events: int) -> None:
        super().__init__(max_events=max_events)
        self.latency = 0.0
        self.is_down = self.is_mute = False
        self._note = note

    async def _wait(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.is_down:
            raise ConnectionError("the store is down")

    async def aappend(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        await self._wait()
        entries = self.append(groups, message, again=again)
        self._note(entries)
        if self.is_mute:
            raise TimeoutError("the store does not answer")
        await self._wait()
        return entries

    async def aread(self, group: str, after: Position, limit: int) -> Slice:
        found = self.read(group, after, limit)
        await self._wait()
        return found

    async def apositions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        found = self.positions(groups, back)
        await self._wait()
        return found

    def kept(self, group: str) -> list[int]:
        """Return the events that can still be read."""
        return [
            int(e.message["data"].rstrip(".")) for e in self.read(group, START, 10_000).entries
        ]

    def forget_all(self) -> None:
        """Lose every history."""
        self._processes.clear()

    def save(self) -> dict[str, Any]:
        """Return a snapshot."""
        histories = self._histories()
        return copy.deepcopy(dict(histories.live))

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Be as at save()."""
        self.forget_all()
        self._histories().live.update(copy.deepcopy(snapshot))


async def end_hub() -> None:
    """End the hub of the running loop, and all other tasks of it."""
    hub = get_hub()
    await hub.link.close()
    hub.dispose()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*rest, return_exceptions=True)
