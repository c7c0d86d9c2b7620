"""Four views that other systems' manuals begin with, as they are written here."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from django_sse import EventStream, ServerSentEvent, apublish, broadcast, event_stream, publish
from django_sse.metrics import metrics
from tests.clients import until
from tests.models import Room

RETRY = b"retry: 3000\n\n"


class TestClock:
    """An event by interval, with a cleanup on close."""

    @pytest.fixture
    def clock(self, route: Any) -> list[str]:
        stopped: list[str] = []

        @event_stream
        async def clock(request: HttpRequest) -> Any:
            tick = 0
            try:
                while True:
                    tick += 1
                    yield ServerSentEvent({"tick": tick}, event="tick")
                    await asyncio.sleep(0.001)
            finally:
                stopped.append(request.path)

        route("clock/", clock)
        return stopped

    async def test_clock_ticks_and_stops(self, asgi, clock):
        """It ticks while somebody listens; when they leave, its cleanup runs."""
        exchange = await asgi.open("/clock/")
        for tick in (1, 2, 3):
            assert await exchange.next_event() == (f'{{"tick":{tick}}}', "tick", "")
        await exchange.disconnected()
        await until(lambda: clock == ["/clock/"])
        assert metrics.streams_open == 0

    async def test_each_client_has_its_own(self, asgi, clock):
        """One client that leaves does not stop another's."""
        one, two = await asgi.open("/clock/"), await asgi.open("/clock/")
        await one.next_event()
        await one.disconnected()
        await until(lambda: len(clock) == 1)
        two_ticks = [(await two.next_event()).json()["tick"] for _ in range(3)]
        assert two_ticks == [1, 2, 3]


class TestBroadcast:
    """A POST that reaches every open stream, and answers how many there were of this worker."""

    @pytest.fixture(autouse=True)
    def site(self, route: Any) -> None:
        @event_stream(groups="news")
        async def listen(request: HttpRequest, stream: EventStream) -> None:
            await stream.send("welcome")

        @require_POST
        def announce(request: HttpRequest) -> JsonResponse:
            count = broadcast({"text": request.POST["text"]}, event="announcement")
            return JsonResponse({"streams": count})

        route("listen/", listen)
        route("announce/", announce)

    async def test_broadcast_reaches_all(self, asgi):
        """Every client that listens gets it, and the sender the number of them."""
        clients = [await asgi.open("/listen/") for _ in range(3)]
        for client in clients:
            assert (await client.next_event()).data == "welcome"
        answer = await asgi.get(
            "/announce/",
            method="POST",
            body=b"text=Closing+soon",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.body == b'{"streams": 3}'
        for client in clients:
            event = await client.next_event()
            assert (event.event, event.json()) == ("announcement", {"text": "Closing soon"})

    async def test_broadcast_to_nobody(self, asgi):
        """With nobody there the number is 0."""
        answer = await asgi.get(
            "/announce/",
            method="POST",
            body=b"text=x",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.body == b'{"streams": 0}'


def notify(user: User, text: str) -> None:
    """Be a service that knows nothing of streams: called from anywhere."""
    publish(f"user.{user.pk}", {"text": text}, event="notification")


class TestNotifications:
    """A `connected` event, then what a service publishes; for users of a role only."""

    @pytest.fixture(autouse=True)
    def site(self, route: Any) -> None:
        async def is_editor(request: HttpRequest) -> bool:
            user = await request.auser()
            return await user.groups.filter(name="editors").aexists()

        @event_stream(guard=is_editor)
        async def notifications(request: HttpRequest, stream: EventStream) -> None:
            user = await request.auser()
            await stream.subscribe(f"user.{user.pk}")
            await stream.send({"user": user.get_username()}, event="connected")

        route("notifications/", notifications)

    @pytest.fixture
    def users(self, transactional_db: None) -> tuple[User, User]:
        editor, reader = User.objects.create_user("ada"), User.objects.create_user("bob")
        editor.groups.add(Group.objects.create(name="editors"))
        return editor, reader

    async def test_notifications_of_a_service(self, asgi, users, log_in, sync):
        """Who has the role is connected, and gets what is for them."""
        editor, reader = users
        await sync(log_in, asgi, editor)
        exchange = await asgi.open("/notifications/")
        assert await exchange.next_event() == ('{"user":"ada"}', "connected", "")
        await sync(notify, reader, "not for ada")
        await sync(notify, editor, "for ada")
        assert await exchange.next_event() == ('{"text":"for ada"}', "notification", "")

    async def test_notifications_without_the_role(self, asgi, users, log_in, sync):
        """Who has not is refused, logged in or not."""
        assert (await asgi.get("/notifications/")).status == 403
        await sync(log_in, asgi, users[1])
        assert (await asgi.get("/notifications/")).status == 403
        assert metrics.streams_opened == 0


class TestStatus:
    """One URL: plain JSON for curl, updates for a browser, closed when the work is done."""

    @pytest.fixture(autouse=True)
    def site(self, route: Any) -> None:
        async def follow(stream: EventStream, room: Room) -> None:
            while room.name != "done":
                await asyncio.sleep(0.001)
                previous = room.name
                await room.arefresh_from_db()
                if room.name != previous:
                    await stream.send({"state": room.name})

        @event_stream(progressive=True, lookups={"room": "slug"})
        async def status(request: HttpRequest, stream: EventStream | None, room: Room) -> Any:
            if stream and room.name != "done":
                stream.create_task(follow(stream, room))
            return {"state": room.name}

        route("status/<slug:room>/", status)

    @pytest.fixture
    def room(self, transactional_db: None) -> Room:
        return Room.objects.create(slug="build", name="new")

    async def test_status_for_curl(self, asgi, room):
        """curl accepts anything, and gets JSON; what is not there is 404 for either."""
        exchange = await asgi.get("/status/build/", headers={"accept": "*/*"})
        assert exchange.headers["content-type"] == "application/json"
        assert exchange.body == b'{"state": "new"}'
        assert (await asgi.get("/status/other/")).status == 404

    async def test_status_for_a_browser(self, asgi, room):
        """A browser gets the state of now, then each change, and an end."""
        exchange = await asgi.open("/status/build/")
        assert (await exchange.next_event()).json() == {"state": "new"}
        for state in ("running", "done"):
            await Room.objects.filter(pk=room.pk).aupdate(name=state)
            assert (await exchange.next_event()).json() == {"state": state}
        await exchange.ended()
        assert metrics.streams_open == 0

    async def test_status_of_what_is_done(self, asgi, room):
        """What is done already is one event and the end."""
        await Room.objects.filter(pk=room.pk).aupdate(name="done")
        assert (await asgi.get("/status/build/")).body == RETRY + b'data: {"state":"done"}\n\n'


async def test_published_status(asgi, route, transactional_db):
    """The same by publishing: the view ends its stream when a `done` event comes."""

    @event_stream(progressive=True)
    async def status(request: HttpRequest, stream: EventStream | None, pk: int) -> Any:
        def until_done(event: ServerSentEvent) -> bool:
            if event.data["state"] == "done":
                asyncio.get_running_loop().call_soon(asyncio.ensure_future, finish(event))
                return False
            return True

        async def finish(event: ServerSentEvent) -> None:
            if stream:
                with suppress(Exception):
                    await stream.send(event)
                await stream.close()

        if stream:
            await stream.subscribe(f"build.{pk}", where=until_done)
        return {"state": "new"}

    route("status/<int:pk>/", status)
    exchange = await asgi.open("/status/7/")
    assert (await exchange.next_event()).json() == {"state": "new"}
    await apublish("build.7", {"state": "running"})
    await apublish("build.7", {"state": "done"})
    assert (await exchange.next_event()).json() == {"state": "running"}
    assert (await exchange.next_event()).json() == {"state": "done"}
    await exchange.ended()
