"""Clients that vanish from a real server."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import Server
from tests.servers.waiting import eventually

pytestmark = pytest.mark.servers

OpenStream = Callable[..., Awaitable[StreamClient]]

#: What each kind of stream notes at its end.
NOTES = {
    "generator": ["finally", "closed"],
    "handler": ["on_close", "closed"],
    "tasked": ["finally", "on_close", "closed"],
    "grouped": ["closed"],
}


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_vanished_client_is_cleaned_up(
    shared_server: Server, open_stream: OpenStream, way: str
) -> None:
    """A closed and a broken connection run the stream's finally and on_close, with no event."""
    # Those of the test before may be on their way out.
    await eventually(partial(_has_no_streams, shared_server))
    for kind, notes in NOTES.items():
        name = f"{way}-{kind}"
        stream = await open_stream(shared_server, f"/{kind}/{name}/")
        await stream.next_frame()
        if kind != "grouped":
            await stream.next_event()
        getattr(stream, way)()
        await shared_server.noted(*(f"{note} {name}" for note in notes))
    await eventually(partial(_has_no_streams, shared_server))


async def _has_no_streams(server: Server) -> bool:
    return (await server.state())["streams_open"] == 0
