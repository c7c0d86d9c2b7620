"""What a test reads of a stream, and what it is told when that does not come."""

import asyncio
from typing import Any

import pytest

from django_sse import apublish
from django_sse.testing import ReceivedEvent, ReceivedStream, StreamClient
from tests.clients import TIMEOUT

# Long enough for what has been sent to be there, short enough for a test that waits in vain.
SHORT = 0.05


@pytest.fixture
def client(sse_client: StreamClient) -> StreamClient:
    sse_client.timeout = TIMEOUT
    return sse_client


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Send one event, and end without ending the response."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})


async def waiting(scope: Any, receive: Any, send: Any) -> None:
    """Never answer, and never end before the client has gone."""
    await receive()
    await receive()


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("broken")


async def message_of(awaitable: Any) -> str:
    """Return the text of the AssertionError that waiting raises."""
    with pytest.raises(AssertionError) as raised:
        await awaitable
    return str(raised.value)


# Reading.


async def test_next_event_returns_what_a_listener_gets(client):
    """Data, type and id; a type that the stream leaves out is "message"."""
    stream = await client.open("/orders/")
    await apublish("orders", {"number": 1}, event="placed")
    await apublish("orders", "a\nb")
    event = await stream.next_event()
    assert event == ReceivedEvent('{"number":1}', "placed", "")
    assert event.json() == {"number": 1}
    assert await stream.next_event() == ("a\nb", "message", "")


async def test_events_returns_the_next_ones(client):
    """As many as were asked for, in order."""
    stream = await client.open("/count/")
    assert [event.data for event in await stream.events(2)] == ["0", "1"]
    assert (await stream.next_event()).data == "2"


async def test_iteration_ends_with_the_response(client):
    """``async for`` reads all events of a stream that ends."""
    stream = await client.open("/count/")
    assert [event.data async for event in stream] == ["0", "1", "2"]


async def test_next_frame_returns_the_bytes(client):
    """A frame is all up to and with its blank line."""
    stream = await client.open("/count/")
    assert await stream.next_frame() == b"retry: 3000\n\n"
    assert stream.has_unread
    assert await stream.next_frame() == b"data: 0\n\n"


async def test_ended_returns_the_whole_body(client):
    """It waits for the end of the response."""
    stream = await client.open("/count/")
    assert (await stream.ended()).endswith(b"data: 2\n\n")
    assert stream.is_ended


# Failures.


async def test_failure_says_what_has_come(client):
    """An event that does not come in time: the request, the response, and the frames so far."""
    stream = await client.open("/orders/")
    await apublish("orders", "first")
    await stream.next_event()
    assert await message_of(stream.next_event(timeout=SHORT)) == (
        "No event within 0.05 s. GET /orders/: status 200, text/event-stream; events read: 1.\n"
        "Came so far:\n"
        "    retry: 3000\n"
        "    \n"
        "    data: first"
    )


async def test_failure_counts_events(client):
    """Of several events it says which one is missing."""
    stream = await client.open("/orders/")
    await apublish("orders", "first")
    message = await message_of(stream.events(3, timeout=SHORT))
    assert message.startswith("No event (2 of 3) within 0.05 s.")


async def test_failure_without_a_response():
    """An application that does not answer is told from one that answers without an event."""
    async with StreamClient(waiting) as client:
        assert await message_of(client.open("/x/", timeout=SHORT)) == (
            "No response within 0.05 s. GET /x/: no response yet; events read: 0.\n"
            "Nothing has come of the body."
        )


async def test_failure_after_the_end(client):
    """A response that ended has no further event: nothing is waited for."""
    stream = await client.open("/count/")
    await stream.events(3)
    message = await message_of(stream.next_event())
    assert message.startswith("The application ended with no event. GET /count/: status 200")


async def test_failure_of_an_answer_that_is_no_stream(client):
    """The status tells why there is no event."""
    stream = await client.open("/nowhere/")
    message = await message_of(stream.next_event())
    assert "GET /nowhere/: status 404, text/html" in message


async def test_failure_of_a_response_that_was_not_ended():
    """An application that returns before the final body has not ended its response."""
    async with StreamClient(application) as client:
        message = await message_of(client.get("/x/"))
    assert message.startswith("The application ended with no end of the response.")
    assert message.endswith("Came so far:\n    data: 1")


async def test_failure_shows_the_end_of_a_long_body(client):
    """The last 2,000 characters."""
    stream = await client.open("/orders/")
    await apublish("orders", "x" * 3000)
    await stream.next_event()
    message = await message_of(stream.next_event(timeout=SHORT))
    assert f"Came so far:\n    …{'x' * 2000}" in message


async def test_error_of_the_application_is_raised():
    """What the application raises is what the test shows."""
    async with StreamClient(broken) as client:
        with pytest.raises(LookupError, match="broken"):
            await client.open("/x/")


async def test_default_timeout_is_the_clients():
    """Each wait has it."""
    async with StreamClient(waiting, timeout=SHORT) as client:
        assert (await message_of(client.open("/x/"))).startswith("No response within 0.05 s.")
    assert StreamClient().timeout == 5


# A client's ways.


async def test_stalled_client_reads_nothing_until_it_resumes(client):
    """What is sent meanwhile waits with the application, and comes in order."""
    stream = await client.open("/orders/")
    assert await stream.next_frame() == b"retry: 3000\n\n"
    stream.stall()
    for number in range(3):
        await apublish("orders", number)
    message = await message_of(stream.next_event(timeout=SHORT))
    assert "\nThe client is stalled: it reads nothing until resume().\n" in message
    stream.resume()
    assert [event.json() for event in await stream.events(3)] == [0, 1, 2]


async def test_disconnected_waits_for_the_views_cleanup(client, route):
    """A client that has gone has been noticed when it returns."""
    from django_sse import EventStream, event_stream

    closed = []

    @event_stream(groups="room")
    async def view(request: Any, stream: EventStream) -> None:
        stream.on_close(lambda: closed.append(True))

    route("view/", view)
    stream = await client.open("/view/")
    await stream.disconnected()
    assert closed == [True]
    message = await message_of(stream.next_event())
    assert "\nThe client has disconnected.\n" in message


async def test_block_ends_the_stream(client):
    """As an async context manager it disconnects at the end."""
    async with await client.open("/orders/") as stream:
        await apublish("orders", "x")
        assert (await stream.next_event()).data == "x"
    assert stream.task.done()


async def test_block_that_fails_shows_its_own_error():
    """An application that breaks at the end does not hide what went wrong in the block."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        await receive()
        raise LookupError("late")

    async with StreamClient(failing) as client:
        with pytest.raises(ZeroDivisionError):
            async with await client.open("/x/"):
                raise ZeroDivisionError
        with pytest.raises(LookupError, match="late"):
            async with await client.open("/x/"):
                pass


@pytest.mark.history
class TestReconnect:
    """A client that comes back with its last event id."""

    async def test_reconnect_brings_what_was_missed(self, client):
        """What was published while it was away, once and in order."""
        stream = await client.open("/orders/?group=a&group=b")
        await apublish("a", 1)
        read = await stream.next_event()
        await stream.disconnected()
        await apublish("a", 2)
        await apublish("a", 3)
        again = await stream.reconnect()
        assert [event.json() for event in await again.events(2)] == [2, 3]
        assert read.id == stream.last_event_id
        assert again.scope["query_string"] == b"group=a&group=b"

    async def test_reconnect_before_the_first_event(self, client):
        """The id of the stream's first bytes counts: a browser has taken it."""
        stream = await client.open("/orders/")
        again = await stream.reconnect()
        await stream.disconnected()
        await apublish("orders", 1)
        assert (await again.next_event()).json() == 1
        third = await again.reconnect()
        await apublish("orders", 2)
        assert (await third.next_event()).json() == 2

    async def test_what_came_unread_is_lost_on_the_way(self, client):
        """It resumes behind the last event that the test has read."""
        stream = await client.open("/orders/")
        for number in range(3):
            await apublish("orders", number)
        assert (await stream.next_event()).json() == 0
        again = await stream.reconnect()
        assert [event.json() for event in await again.events(2)] == [1, 2]

    async def test_frames_that_were_read_count(self, client):
        """The id of a raw frame is one that a browser would have."""
        stream = await client.open("/orders/")
        await apublish("orders", 0)
        await stream.next_frame()
        await stream.next_frame()
        await apublish("orders", 1)
        assert (await (await stream.reconnect()).next_event()).json() == 1

    async def test_stalled_client_reconnects(self, client):
        """What waited for it is lost with its connection, and comes from the history."""
        stream = await client.open("/orders/")
        await apublish("orders", 0)
        await stream.next_event()
        stream.stall()
        await apublish("orders", 1)
        assert (await (await stream.reconnect()).next_event()).json() == 1


async def test_reconnect_without_an_id(client):
    """A stream without a history names no id, and none is sent."""
    stream = await client.open("/orders/", headers={"Last-Event-ID": "old"})
    again = await stream.reconnect()
    assert b"last-event-id" not in dict(again.scope["headers"])


async def test_only_a_client_reconnects():
    """A stream that was made by hand does not know how it was asked for."""
    stream = ReceivedStream(application, StreamClient().scope("/x/"), timeout=TIMEOUT)
    with pytest.raises(RuntimeError, match="StreamClient has opened"):
        await stream.reconnect()
    await stream.task


async def test_cancelled_application_is_an_ended_one():
    """A test is not cancelled with the application."""
    async with StreamClient(waiting) as client:
        stream = client.start("/x/")
        await asyncio.sleep(0)
        stream.task.cancel()
        message = await message_of(stream.started())
        assert message.startswith("The application ended with no response.")
        await stream.disconnected()
