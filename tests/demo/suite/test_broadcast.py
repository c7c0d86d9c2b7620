"""The broadcast."""

import json
import re

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
    """The number goes up and down with the streams."""
    lobby = await asgi.open("/broadcast/stream/")
    assert "<b>1</b> <span>stream is open" in (await next_of(lobby, "streams")).data
    other = await asgi.open("/board/stream/")
    assert "<b>2</b> <span>streams are open" in (await next_of(lobby, "streams")).data
    await other.disconnected()
    assert "<b>1</b>" in (await next_of(lobby, "streams")).data
    await lobby.disconnected()
    await until(lambda: not open_streams)


@pytest.mark.parametrize("path", ["/", "/broadcast/"])
async def test_page_begins_with_the_number_of_open_streams(path, asgi):
    """A tab that shares the stream of another opens none, and so is told of none."""
    await asgi.open("/board/stream/")
    page = (await asgi.get(path)).body.decode()
    assert "<b>1</b> <span>stream is open" in page
    [lobby] = re.findall(r'<event-source src="/broadcast/stream/"[^>]*>', page)
    assert " shared=" in lobby


@pytest.mark.parametrize("text", ["", "   ", "x" * 201])
async def test_send_refuses_what_is_no_message(asgi, post, text):
    """An empty or overlong message is a 400 that says so."""
    answer = await post(asgi, "/broadcast/send/", text=text)
    assert answer.status == 400
    assert json.loads(answer.body)["errors"]["text"]
