"""LiveQuerySetView, and a queryset in views of other kinds."""

import asyncio
from typing import Any

import pytest
from django.http import Http404, HttpRequest

from django_sse import EventStream, LiveQuerySetView, apublish, event_stream, subscribe_queryset
from django_sse.hub import get_hub
from django_sse.live_querysets.live_query import _queries
from django_sse.testing import ReceivedStream
from django_sse.threads import BorrowingExecutor
from tests.clients import until
from tests.live_querysets.reading import named, rooms
from tests.models import Room


class OpenRooms(LiveQuerySetView):
    """The rooms that are open."""

    queryset = Room.objects.filter(name="open").order_by("slug")


class RoomsOfName(LiveQuerySetView):
    """The rooms of the name in the URL, after one."""

    def get_queryset(self) -> Any:
        room = Room.objects.get(slug=self.request.GET["after"])
        return named(self.kwargs["name"]).filter(slug__gt=room.slug)


class RoomsOfNameAsync(LiveQuerySetView):
    """The same."""

    async def get_queryset(self) -> Any:
        room = await Room.objects.aget(slug=self.request.GET["after"])
        return named(self.kwargs["name"]).filter(slug__gt=room.slug)


async def events(exchange: ReceivedStream, count: int) -> list[Any]:
    """Return the type and the slug, or other data, of the next events."""
    found = [await exchange.next_event() for _ in range(count)]
    return [(event.event, event.json().get("slug", event.json())) for event in found]


class TestView:
    async def test_streams_rows_and_what_becomes_of_them(self, asgi, route, sync):
        """A page gets the rows, and then each that enters, changes or leaves."""
        route("rooms/", OpenRooms.as_view())
        [room] = await sync(rooms, "a")
        exchange = await asgi.open("/rooms/")
        assert await events(exchange, 2) == [("snapshot", {"count": 1}), ("enter", "a")]
        await sync(room.save)
        assert await events(exchange, 1) == [("change", "a")]
        await sync(rooms, "b")
        assert await events(exchange, 1) == [("enter", "b")]
        pk = room.pk
        await sync(room.delete)
        assert await events(exchange, 1) == [("leave", {"id": pk})]

    async def test_reconnecting_page_begins_anew(self, asgi, route, sync):
        """Its events have no id, so that nothing is replayed: a new snapshot is right."""
        route("rooms/", OpenRooms.as_view())
        for number in range(2):
            exchange = await asgi.open("/rooms/")
            first = await exchange.next_event()
            assert (first.event, first.json(), first.id) == ("snapshot", {"count": number}, "")
            await exchange.disconnected()
            await sync(rooms, f"a{number}")

    async def test_begins_before_the_rows_are_read(self, asgi, route, reads):
        """The response does not wait for them: the database may take its time, or be away."""
        route("rooms/", OpenRooms.as_view())
        exchange = asgi.start("/rooms/")
        async with reads.gate.held(exchange.started()):
            assert b"snapshot" not in exchange.body
        assert await events(exchange, 1) == [("snapshot", {"count": 0})]

    async def test_model(self, asgi, route, sync):
        """With a model alone all of its rows are followed."""
        route("rooms/", LiveQuerySetView.as_view(model=Room))
        await sync(rooms, "a", name="closed")
        exchange = await asgi.open("/rooms/")
        assert await events(exchange, 2) == [("snapshot", {"count": 1}), ("enter", "a")]

    @pytest.mark.parametrize("view", [RoomsOfName, RoomsOfNameAsync])
    async def test_get_queryset(self, asgi, route, sync, view):
        """It knows the request and the URL's arguments, sync or async, and may use the ORM."""
        route("rooms/<name>/", view.as_view())
        await sync(rooms, "a", "b")
        exchange = await asgi.open("/rooms/open/?after=a")
        assert await events(exchange, 2) == [("snapshot", {"count": 1}), ("enter", "b")]

    async def test_template(self, asgi, route, sync, settings):
        """A fragment is sent instead of the data; a row that leaves is told by its key."""
        template = "<li id=room-{{ room.pk }}>{{ object.slug }} {{ change }}</li>"
        loader = ("django.template.loaders.locmem.Loader", {"room.html": template})
        settings.TEMPLATES = [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"loaders": [loader]},
            }
        ]
        route("rooms/", OpenRooms.as_view(template_name="room.html"))
        [room] = await sync(rooms, "a")
        pk = room.pk
        exchange = await asgi.open("/rooms/")
        await exchange.next_event()
        await sync(room.save)
        await sync(room.delete)
        # It may have been deleted before it was looked at.
        found = [await exchange.next_event()]
        while found[-1].event != "leave":
            found.append(await exchange.next_event())
        assert found[0].data == f"<li id=room-{pk}>a created</li>"
        assert {event.data for event in found[1:-1]} <= {f"<li id=room-{pk}>a updated</li>"}
        assert found[-1].json() == {"id": pk}

    async def test_has_access(self, asgi, route):
        """All else is as in EventStreamView: a view may refuse."""

        class View(OpenRooms):
            def has_access(self) -> bool:
                return "key" in self.request.GET

        route("rooms/", View.as_view())
        assert (await asgi.get("/rooms/")).status == 403
        exchange = await asgi.open("/rooms/?key=")
        assert await events(exchange, 1) == [("snapshot", {"count": 0})]

    async def test_groups(self, asgi, route):
        """The events of groups come on the same stream."""

        class View(OpenRooms):
            groups = "news"

            def get_initial(self) -> Any:
                return [{"slug": "first"}]

        route("rooms/", View.as_view())
        exchange = await asgi.open("/rooms/")
        assert await events(exchange, 2) == [
            ("message", "first"),
            ("snapshot", {"count": 0}),
        ]
        await apublish("news", {"slug": "x"}, event="announcement")
        assert await events(exchange, 1) == [("announcement", "x")]

    async def test_slow_client(self, asgi, route, sync, publisher, monkeypatch):
        """A client that does not read gets of each row the newest state when it does."""

        def large(self: Any, room: Any, change: str) -> Any:
            # A few of these, and the stream waits for its client.
            return {"slug": room.slug, "text": "x" * 20_000}

        monkeypatch.setattr(publisher, "get_data", large)
        route("rooms/", OpenRooms.as_view())
        [room] = await sync(rooms, "a")
        slow, quick = await asgi.open("/rooms/"), await asgi.open("/rooms/")
        await events(slow, 2)
        await events(quick, 2)
        slow.stall()
        for number in range(20):
            room.slug = f"a{number}"
            await sync(room.save)
            assert await events(quick, 1) == [("change", room.slug)]
        slow.resume()
        found = [await events(slow, 1)]
        while found[-1] != [("change", room.slug)]:
            found.append(await events(slow, 1))
        assert len(found) < 10


class TestMistakes:
    async def test_no_queryset(self, asgi, route, caplog):
        """A view must say which rows it streams."""
        route("rooms/", LiveQuerySetView.as_view())
        assert (await asgi.get("/rooms/")).status == 500
        assert "LiveQuerySetView has no queryset; set queryset or model, or" in caplog.text

    async def test_queryset_that_cannot_be_followed(self, asgi, route, caplog):
        """What subscribe_queryset() refuses is an ordinary error: nothing is streamed yet."""
        route("rooms/", OpenRooms.as_view(queryset=Room.objects.all()[:3]))
        assert (await asgi.get("/rooms/")).status == 500
        assert "A queryset that is sliced cannot be followed" in caplog.text

    async def test_get_queryset_that_finds_nothing(self, asgi, route):
        """Its own 404 is the response."""

        class View(LiveQuerySetView):
            def get_queryset(self) -> Any:
                raise Http404

        route("rooms/", View.as_view())
        assert (await asgi.get("/rooms/")).status == 404


class TestOtherViews:
    async def test_generator(self, asgi, route, sync):
        """In a generator the events are yielded, among others."""

        @event_stream
        async def view(request: HttpRequest) -> Any:
            yield {"slug": "welcome"}
            async with subscribe_queryset(named("open")) as rows:
                async for event in rows:
                    yield event

        route("rooms/", view)
        await sync(rooms, "a")
        exchange = await asgi.open("/rooms/")
        assert await events(exchange, 3) == [
            ("message", "welcome"),
            ("snapshot", {"count": 1}),
            ("enter", "a"),
        ]

    async def test_two_querysets_on_one_stream(self, asgi, route, sync):
        """A handler may follow several beside each other."""

        @event_stream
        async def view(request: HttpRequest, stream: EventStream) -> None:
            for name in ("open", "closed"):
                stream.create_task(follow(stream, name))

        async def follow(stream: EventStream, name: str) -> None:
            async with subscribe_queryset(named(name)) as rows:
                await stream.feed(rows)

        route("rooms/", view)
        [room] = await sync(rooms, "a")
        exchange = await asgi.open("/rooms/")
        assert len(await events(exchange, 3)) == 3
        room.name = "closed"
        pk = room.pk
        await sync(room.save)
        found = await events(exchange, 2)
        assert sorted(found, key=str) == [("enter", "a"), ("leave", {"id": pk})]


class TestEnds:
    async def test_nothing_is_left_of_clients_that_have_gone(self, asgi, route, sync, reads):
        """After the last one no task, no thread and no connection to the database is held."""
        route("rooms/", OpenRooms.as_view())
        await sync(rooms, "a")
        exchanges = [await asgi.open("/rooms/") for _ in range(3)]
        for exchange in exchanges:
            await events(exchange, 2)
        [query] = _queries.values()
        # While they are open, and nothing happens, none either.
        await until(lambda: is_idle(BorrowingExecutor._pool))
        for exchange in exchanges:
            assert not query.is_closed
            await exchange.disconnected()
        await until(lambda: query.is_closed)
        await until(lambda: not get_hub()._tasks & set(query._tasks))
        assert all(task.done() for task in query._tasks)
        await until(lambda: not list(get_hub().audiences))

    async def test_shutdown(self, asgi, route, sync):
        """The end of the process ends streams that follow querysets, and what they follow."""
        route("rooms/", OpenRooms.as_view())
        exchange = await asgi.open("/rooms/")
        await events(exchange, 1)
        [query] = _queries.values()
        get_hub().shut_down()
        await exchange.ended()
        await until(lambda: all(task.done() for task in query._tasks))
        assert asyncio.current_task() not in query._tasks


def is_idle(pool: Any) -> bool:
    """Tell whether no call of a stream holds a thread; then its connection is closed, too."""
    return not pool._ready and pool._idle == pool._threads
