"""Requests of a StreamClient."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from django_sse.testing import StreamClient, assert_published
from tests.clients import TIMEOUT
from tests.models import Room


async def test_get_waits_for_the_end(sse_client):
    """A plain view is answered by the project's application."""
    response = await sse_client.get("/echo/a?b=c")
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"path": "/echo/a", "query": {"b": "c"}, "method": "GET"}


async def test_path_is_decoded_as_servers_do(sse_client):
    """The application gets the path decoded, and its raw form."""
    response = await sse_client.get("/echo/caf%C3%A9%20au")
    assert response.json()["path"] == "/echo/café au"
    assert response.scope["raw_path"] == b"/echo/caf%C3%A9%20au"
    assert (await sse_client.get("/echo/café")).scope["raw_path"] == b"/echo/caf%C3%A9"


async def test_post_sends_a_form_with_a_csrf_token(sse_client):
    """A view behind Django's CSRF middleware takes it."""
    async with assert_published("orders", event="placed", data={"number": "A 1"}, count=1):
        response = await sse_client.post("/place/", {"number": "A 1"})
    assert response.json() == {"placed": "A 1"}


async def test_post_sends_bytes_as_they_are(sse_client):
    """What kind they are the headers say."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await sse_client.post("/place/", b"number=1", headers=headers)
    assert response.json() == {"placed": "1"}


async def test_post_without_the_token_is_refused(sse_client):
    """A header that is given goes before the client's own."""
    response = await sse_client.post("/place/", {"number": 1}, headers={"X-CSRFToken": "b" * 32})
    assert response.status == 403


async def test_token_is_that_of_the_cookie(sse_client):
    """Where Django has set one, the header says the same."""
    sse_client.cookies["csrftoken"] = "c" * 32
    headers = dict(sse_client.scope("/place/", method="DELETE")["headers"])
    assert headers[b"x-csrftoken"] == b"c" * 32
    assert headers[b"cookie"] == b"csrftoken=" + b"c" * 32


async def test_cookies_are_kept(sse_client):
    """What a response sets comes with the next request."""
    assert (await sse_client.get("/cookie/")).body == b"none"
    response = await sse_client.get("/cookie/")
    assert response.body == b"first"
    assert response.cookies["visit"].value == "first"


async def test_force_login(transactional_db, sse_client):
    """A view knows the user, and reads what is committed."""
    user = await User.objects.acreate(username="ada")
    await Room.objects.acreate(slug="lobby")
    assert (await sse_client.get("/mine/")).status == 403
    await sse_client.aforce_login(user)
    stream = await sse_client.open("/mine/", timeout=TIMEOUT)
    assert (await stream.next_event()).json() == {"user": "ada", "rooms": ["lobby"]}
    await sse_client.close()


@pytest.mark.django_db
def test_login_that_the_application_cannot_see(sse_client):
    """Beside a transaction that is not committed it would be a stranger's request."""
    sse_client.force_login(User.objects.create(username="ada"))

    async def open_stream() -> None:
        with pytest.raises(RuntimeError, match=r"django_db\(transaction=True\)"):
            await sse_client.open("/mine/")

    asyncio.run(open_stream())


async def test_block_ends_what_is_open():
    """At the end of the client's block every stream has ended."""
    async with StreamClient(timeout=TIMEOUT) as client:
        streams = [await client.open("/orders/") for _ in range(2)]
    assert all(stream.task.done() for stream in streams)


async def test_close_tells_what_does_not_end():
    """An application that does not care for a disconnect is named by its path."""
    ending = asyncio.Event()

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await ending.wait()

    client = StreamClient(stubborn, timeout=0.05)
    stream = client.start("/stubborn/")
    with pytest.raises(AssertionError, match=r"still runs 0\.05 s after .* from /stubborn/\."):
        await client.close()
    ending.set()
    await stream.task


async def test_close_closes_the_connection_of_the_tests_own_calls(transactional_db, sse_client):
    """asgiref's thread outlives the test, and its database could not be taken away."""
    await Room.objects.acreate(slug="lobby")
    await sse_client.close()
    assert await sync_to_async(lambda: connection.connection)() is None


async def test_headers_are_those_of_an_event_source(sse_client):
    """A browser asks for an event stream; a test may ask for something else."""
    assert (b"accept", b"text/event-stream") in sse_client.scope("/x/")["headers"]
    headers = sse_client.scope("/x/", headers={"Accept": "*/*"})["headers"]
    assert (b"accept", b"*/*") in headers
