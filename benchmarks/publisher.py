"""The publisher inside a server's process, and the control connection that drives it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from benchmarks.events import group_names, make_event
from benchmarks.process import descendants_of

__all__ = ["Counts", "Publish", "connect"]

#: Publishes one event to one group, the way that the server's documentation shows.
Publish = Callable[[str, dict[str, Any]], Awaitable[None]]

#: Returns what the server has counted, each under its name.
Counts = Callable[[], dict[str, int]]


class _Publisher(asyncio.Protocol):
    """
    Takes one command a line, and answers "done" when the last event has been published.

    ``paced FIRST COUNT GROUPS``: publish COUNT events, numbered from FIRST on, each when the one
    before has been acknowledged by a line ``ack``. Each goes to every one of as many groups, one
    after the other, each time by a publish of its own; with no number to the one group ``ticks``.

    ``burst FIRST COUNT GROUPS``: publish them without a pause.

    ``counts`` is answered at once, by one line of JSON.
    """

    def __init__(
        self, publish: Publish, counts: Counts, greeting: dict[str, Any], at_once: int
    ) -> None:
        self._publish = publish
        self._at_once = at_once
        self._counts = counts
        self._greeting = greeting
        self._buffer = b""
        self._acknowledged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass.
        self._write_json(self._greeting)

    def _write_json(self, value: object) -> None:
        self._transport.write(json.dumps(value).encode() + b"\n")

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            name, *numbers = line.split()
            if name == b"ack":
                self._acknowledged.set()
            elif name == b"counts":
                self._write_json(self._counts())
            else:
                run = self._paced if name == b"paced" else self._burst
                self._task = asyncio.create_task(run(*map(int, numbers)))

    def connection_lost(self, error: Exception | None) -> None:
        # The benchmark has gone, without a word to this process.
        for pid in (*descendants_of(os.getpid()), os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _paced(self, first: int, count: int, groups: int = 1) -> None:
        names = group_names(groups)
        for seq in range(first, first + count):
            self._acknowledged.clear()
            await self._publish_to_all(names, seq)
            await self._acknowledged.wait()
        self._transport.write(b"done\n")

    async def _burst(self, first: int, count: int, groups: int = 1) -> None:
        names = group_names(groups)
        for seq in range(first, first + count):
            await self._publish_to_all(names, seq)
        self._transport.write(b"done\n")

    async def _publish_to_all(self, names: list[str], seq: int) -> None:
        data, rest = make_event(seq), iter(names)

        async def publish() -> None:
            for name in rest:
                await self._publish(name, data)

        if self._at_once == 1 or len(names) == 1:
            await publish()
        else:
            await asyncio.gather(*(publish() for _ in range(self._at_once)))


async def connect(
    control: socket.socket,
    publish: Publish,
    greeting: dict[str, Any],
    counts: Counts = dict,
    at_once: int = 1,
) -> None:
    """
    Serve the control connection *control* on the running loop; *greeting* is sent first.

    An event for many groups is published to *at_once* of them at the same time.
    """
    loop = asyncio.get_running_loop()
    control.setblocking(False)
    await loop.create_unix_connection(
        lambda: _Publisher(publish, counts, greeting, at_once), sock=control
    )
