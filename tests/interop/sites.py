"""A server that is killed and comes back, and what a client has to have got by then."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from tests.interop.events import Event, events
from tests.servers.processes import Server
from tests.servers.waiting import eventually
from tests.services import free_port

__all__ = ["Received", "Site", "misses_nothing"]

#: Returns what a client has got so far.
Received = Callable[[], Sequence[Event] | Awaitable[Sequence[Event]]]


class Site:
    """
    One port and one group. The server on the port may be killed; its group's history stays.

    Attributes:
        port: Where the server is, when it runs.
        group: The group of the site's stream.
    """

    def __init__(
        self,
        folder: Path,
        publisher: Server,
        *,
        kind: str,
        group: str,
        settings: dict[str, Any],
    ) -> None:
        self.port = free_port()
        self.group = group
        self._kind = kind
        self._folder = folder
        self._publisher = publisher
        self._settings = settings
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def path(self) -> str:
        """The path of the stream."""
        return f"/stream/{self.group}/"

    @property
    def server(self) -> Server:
        """The server that runs."""
        assert self._server is not None
        return self._server

    async def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._server = Server.of(self._kind, self._folder, port=self.port, settings=self._settings)
        await self._server.ready()

    async def kill(self) -> None:
        """End the server by ``kill -9``."""
        server = self.server
        server.send_signal(signal.SIGKILL)
        await server.gone()
        server.stop()
        self._server = None

    def stop(self) -> None:
        """End what runs."""
        if self._server is not None:
            self._server.stop()

    async def publish(self, first: int, count: int = 5) -> None:
        """Publish *count* events from the one of the number *first* on, from another process."""
        path = f"/publish/{self.group}/?first={first}&count={count}"
        answer = await self._publisher.get(path)
        assert answer.status == 200, answer.body

    async def has_streams(self, count: int = 1) -> None:
        """Wait until *count* streams are open."""

        async def are_open() -> bool:
            return bool((await self.server.state())["streams_open"] == count)

        await eventually(are_open)

    async def id_now(self) -> str:
        """Return the place of the group's history where a stream begins now."""
        client = await self.server.open(self.path)
        frame = (await client.next_frame()).decode()
        client.close()
        await self.has_streams(0)
        return frame.partition("\nid: ")[2].strip()


async def misses_nothing(site: Site, received: Received, *, count: int = 0) -> None:
    """
    Publish to a client whose stream is open, kill its server twice, and judge what it has got.

    It has got *count* events before.

    Five events come while the server lives, five each while it is dead, and five at the end,
    behind which nothing can be under way that comes late or twice.
    """

    async def gets_five_more() -> None:
        nonlocal count
        count += 5
        await gets(received, count)

    await site.publish(count)
    await gets_five_more()
    for _ in range(2):
        await site.kill()
        await site.publish(count)
        await site.start()
        await gets_five_more()
    await site.publish(count)
    await gets_five_more()
    assert await _now(received) == events(*range(count))


async def gets(received: Received, count: int) -> None:
    """Wait until a client has got *count* events."""

    async def has_them() -> bool:
        return len(await _now(received)) >= count

    await eventually(has_them, within=60)


async def _now(received: Received) -> Sequence[Event]:
    got = received()
    return list(await got if isinstance(got, Awaitable) else got)
