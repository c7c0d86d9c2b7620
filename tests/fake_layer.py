"""A channel layer for tests of what is said to one."""

import asyncio
from collections.abc import Iterator
from typing import Any

from channels.layers import BaseChannelLayer

__all__ = ["FakeLayer"]


class FakeLayer(BaseChannelLayer):
    """
    Notes each call, and fails or waits where a test says so.

    Attributes:
        calls: The calls in order: the method's name, then the group or the channel.
        failures: For a method, what its next calls raise, one after the other; None is nothing.
        gates: For a method, an event that its calls wait for.
        inbox: What ``receive()`` returns, or raises where it is an exception.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.failures: dict[str, list[Exception | None]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.in_flight = self.most_in_flight = 0

    async def _call(self, method: str, argument: str) -> None:
        self.calls.append((method, argument))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if method in self.gates:
                await self.gates[method].wait()
        finally:
            self.in_flight -= 1
        error = self.failures[method].pop(0) if self.failures.get(method) else None
        if error is not None:
            raise error

    def called(self, method: str) -> list[str]:
        """Return the arguments of the calls of *method*, in order."""
        return list(self._arguments(method))

    def _arguments(self, method: str) -> Iterator[str]:
        for name, argument in self.calls:
            if name == method:
                yield argument

    async def new_channel(self) -> str:
        await self._call("new_channel", "")
        return f"channel.{len(self.called('new_channel'))}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._call("send", channel)
        self.inbox.put_nowait(message)

    async def receive(self, channel: str) -> Any:
        self.calls.append(("receive", channel))
        message = await self.inbox.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def group_add(self, group: str, channel: str) -> None:
        await self._call("group_add", group)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._call("group_discard", group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._call("group_send", group)
        self.inbox.put_nowait(message)
