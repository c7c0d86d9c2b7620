"""The broadcast."""

import json

import pytest

from demo_project.broadcast.receivers import open_streams
from tests.clients import until


async def next_of(stream, kind):
    while (event := await stream.next_event()).event != kind:
        pass
    return event


async def test_send_reaches_every_stream_and_counts_them(asgi, post):
    """Streams of any page get it, and the answer is how many streams this worker has."""
    streams = [await asgi.open(path) for path in ("/broadcast/stream/", "/board/stream/")]
    answer = await post(asgi, "/broadcast/send/", text="Tea <is> ready")
    assert json.loads(answer.body) == {"streams": 2}
    for stream in streams:
        event = await next_of(stream, "broadcast")
        assert event.json() == {"from": "Someone", "text": "Tea <is> ready"}


async def test_lobby_is_told_how_many_streams_are_open(asgi):
    """The number goes up and down with the pages."""
    lobby = await asgi.open("/broadcast/stream/")
    assert (await next_of(lobby, "streams")).json() == {"open": 1}
    other = await asgi.open("/board/stream/")
    assert (await next_of(lobby, "streams")).json() == {"open": 2}
    await other.disconnected()
    assert (await next_of(lobby, "streams")).json() == {"open": 1}
    await lobby.disconnected()
    await until(lambda: not open_streams)


@pytest.mark.parametrize("text", ["", "   ", "x" * 201])
async def test_send_refuses_what_is_no_message(asgi, post, text):
    """An empty or overlong message is a 400 that says so."""
    answer = await post(asgi, "/broadcast/send/", text=text)
    assert answer.status == 400
    assert json.loads(answer.body)["errors"]["text"]
