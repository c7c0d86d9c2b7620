"""Clients that vanish from a real server."""

from collections.abc import Awaitable, Callable

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import Server

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
async def test_vanished_client_is_cleaned_up_within_a_second(
    shared_server: Server, open_stream: OpenStream, way: str
) -> None:
    """A closed and a broken connection run the stream's finally and on_close, with no event."""
    open_before = (await shared_server.state())["streams_open"]
    for kind, notes in NOTES.items():
        name = f"{way}-{kind}"
        stream = await open_stream(shared_server, f"/{kind}/{name}/")
        await stream.next_frame()
        if kind != "grouped":
            await stream.next_event()
        getattr(stream, way)()
        await shared_server.noted(*(f"{note} {name}" for note in notes), within=1)
    assert (await shared_server.state())["streams_open"] == open_before
