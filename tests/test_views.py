"""EventStreamView."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import RequestFactory
from django.views.decorators.vary import vary_on_headers

from django_sse import EventStreamView, ServerSentEvent, apublish
from django_sse.metrics import metrics
from tests.models import Room

RETRY = b"retry: 3000\n\n"


class SyncRooms(EventStreamView):
    """All four methods sync, with the ORM."""

    def has_access(self):
        return Room.objects.filter(pk=self.kwargs["pk"]).exists()

    def get_groups(self):
        return f"room.{Room.objects.get(pk=self.kwargs['pk']).slug}"

    def get_initial(self):
        return [room.name for room in Room.objects.all()]


class AsyncRooms(EventStreamView):
    """The same, async."""

    async def has_access(self):
        return await Room.objects.filter(pk=self.kwargs["pk"]).aexists()

    async def get_groups(self):
        return [f"room.{(await Room.objects.aget(pk=self.kwargs['pk'])).slug}", "news"]

    async def get_initial(self):
        return [room.name async for room in Room.objects.all()]


@pytest.fixture
def room(transactional_db):
    return Room.objects.create(slug="lobby", name="The lobby")


@pytest.mark.parametrize("view", [SyncRooms, AsyncRooms])
class TestMethods:
    async def test_methods_sync_and_async(self, view, asgi, route, room):
        """Access, groups and first events come from methods of either kind."""
        route("s/<int:pk>/", view.as_view())
        exchange = await asgi.open(f"/s/{room.pk}/")
        assert await exchange.next_frame() == RETRY
        assert await exchange.next_frame() == b"data: The lobby\n\n"
        await apublish("room.lobby", "live")
        assert (await exchange.next_event()).data == "live"

    async def test_no_access(self, view, asgi, route, room):
        """has_access() that says no is 403, before anything is opened."""
        route("s/<int:pk>/", view.as_view())
        assert (await asgi.get("/s/0/")).status == 403
        assert metrics.streams_opened == 0

    async def test_head(self, view, asgi, route, room):
        """HEAD asks for access, and gives headers only."""
        route("s/<int:pk>/", view.as_view())
        exchange = await asgi.get(f"/s/{room.pk}/", method="HEAD")
        assert (exchange.status, exchange.body) == (200, b"")
        assert (await asgi.get("/s/0/", method="HEAD")).status == 403

    async def test_other_method(self, view, asgi, route, room):
        """Anything but GET and HEAD is 405; OPTIONS lists them."""
        route("s/<int:pk>/", view.as_view())
        exchange = await asgi.get(f"/s/{room.pk}/", method="POST")
        assert (exchange.status, exchange.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert (await asgi.get(f"/s/{room.pk}/", method="OPTIONS")).status == 200

    def test_wsgi(self, view, client, route, room):
        """Under WSGI the answer is 501 and the fix."""
        route("s/<int:pk>/", view.as_view())
        response = client.get(f"/s/{room.pk}/")
        assert response.status_code == 501
        assert "Event streams need ASGI" in response.text


class TestGroups:
    @pytest.mark.parametrize("groups", ["news", ["news"], ("news", "other")])
    async def test_groups_attribute(self, asgi, route, groups):
        """Groups that are known beforehand are an attribute, or an argument of as_view()."""
        route("s/", EventStreamView.as_view(groups=groups))
        exchange = await asgi.open("/s/")
        await exchange.next_frame()
        await apublish("news", {"n": 1})
        assert (await exchange.next_event()).json() == {"n": 1}

    @pytest.mark.parametrize("groups", [(), [], "", None])
    async def test_no_groups(self, asgi, route, caplog, groups):
        """A view without groups could never send anything: an error that says what to do."""
        route("s/", EventStreamView.as_view(groups=groups))
        assert (await asgi.get("/s/")).status == 500
        text = "EventStreamView has no groups; set groups, or override get_groups()"
        assert text in caplog.text

    async def test_groups_of_the_wrong_type(self, asgi, route, caplog):
        """A group that is no string is named where it is put into the URLs, or got."""
        with pytest.raises(ValueError, match="Group 7 must be a string"):
            EventStreamView.as_view(groups=[7])

        class View(EventStreamView):
            def get_groups(self):
                return [7]

        route("s/", View.as_view())
        assert (await asgi.get("/s/")).status == 500
        assert "Group 7 must be a string" in caplog.text

    async def test_groups_property(self, asgi, route):
        """An attribute that is a property is read for each request."""

        class View(EventStreamView):
            @property
            def groups(self):  # type: ignore[override]
                return f"news.{self.kwargs['language']}"

        route("s/<language>/", View.as_view())
        exchange = await asgi.open("/s/fr/")
        await exchange.next_frame()
        await apublish("news.fr", "bonjour")
        assert (await exchange.next_event()).data == "bonjour"

    async def test_groups_are_joined_before_the_initial_events(self, asgi, route):
        """What changes while the first events are collected is sent after them."""

        class View(EventStreamView):
            groups = "news"

            async def get_initial(self):
                await apublish("news", "changed meanwhile")
                return ["state"]

        route("s/", View.as_view())
        exchange = await asgi.open("/s/")
        received = {(await exchange.next_event()).data for _ in range(2)}
        assert received == {"state", "changed meanwhile"}


class TestInitial:
    async def test_initial_events_of_each_kind(self, asgi, route):
        """An iterable of events, strings and data."""

        class View(EventStreamView):
            groups = "news"

            def get_initial(self):
                return (value for value in [ServerSentEvent("a", event="e"), "b", {"c": 1}])

        route("s/", View.as_view())
        exchange = await asgi.open("/s/")
        frames = [await exchange.next_frame() for _ in range(4)]
        assert frames == [RETRY, b"event: e\ndata: a\n\n", b"data: b\n\n", b'data: {"c":1}\n\n']

    @pytest.mark.parametrize("kind", ["generator method", "returned"])
    async def test_initial_async_generator(self, asgi, route, room, kind):
        """An async iterable works too, whether the method is a generator or returns one."""

        async def names():
            async for room in Room.objects.all():
                yield room.name

        class Generator(EventStreamView):
            groups = "news"

            async def get_initial(self):
                async for name in names():
                    yield name

        class Returned(EventStreamView):
            groups = "news"

            def get_initial(self):
                return names()

        view = Generator if kind == "generator method" else Returned
        route("s/", view.as_view())
        exchange = await asgi.open("/s/")
        assert (await exchange.next_event()).data == "The lobby"
        await apublish("news", "live")
        assert (await exchange.next_event()).data == "live"

    @pytest.mark.parametrize("kind", ["queryset", "generator over one"])
    async def test_initial_lazy(self, asgi, route, room, kind):
        """A queryset, and a sync generator over one, may make their query when they are read."""

        class View(EventStreamView):
            groups = "news"

            def get_initial(self):
                rooms = Room.objects.values("slug")
                return rooms if kind == "queryset" else (dict(room) for room in rooms)

        route("s/", View.as_view())
        exchange = await asgi.open("/s/")
        assert (await exchange.next_event()).json() == {"slug": "lobby"}

    async def test_initial_none(self, asgi, route):
        """Without first events the stream starts with its reconnection time."""
        route("s/", EventStreamView.as_view(groups="news"))
        exchange = await asgi.open("/s/")
        assert await exchange.next_frame() == RETRY
        await apublish("news", "live")
        assert await exchange.next_frame() == b"data: live\n\n"

    @pytest.mark.parametrize("initial", ["text", {"a": 1}, 5])
    async def test_initial_of_the_wrong_type(self, asgi, route, caplog, initial):
        """One event is no iterable of events: an error, not its characters or keys."""

        class View(EventStreamView):
            groups = "news"

            def get_initial(self):
                return initial

        route("s/", View.as_view())
        assert (await asgi.get("/s/")).status == 500
        assert f"get_initial() returned {initial!r}; return an iterable of events" in caplog.text


class TestOptions:
    async def test_options_are_attributes(self, asgi, route):
        """Options of event_stream() are attributes or arguments."""

        class View(EventStreamView):
            groups = "news"
            retry = 7

        route("a/", View.as_view())
        route("b/", View.as_view(retry=0))
        assert await (await asgi.open("/a/")).next_frame() == b"retry: 7\n\n"
        assert await (await asgi.open("/b/")).next_frame() == b"retry: 0\n\n"

    def test_option_that_breaks_a_rule(self):
        """A bad value is an error where the view is put into the URLs."""
        with pytest.raises(ValueError, match="heartbeat=0 must be a number of seconds above 0"):
            EventStreamView.as_view(groups="news", heartbeat=0)
        with pytest.raises(TypeError, match="invalid keyword 'hearbeat'"):
            EventStreamView.as_view(groups="news", hearbeat=5)

    async def test_allowed_origins(self, asgi, route):
        """Pages of other sites are refused and allowed as by the decorator."""
        route("a/", EventStreamView.as_view(groups="news"))
        allowed = ["https://other.example"]
        route("b/", EventStreamView.as_view(groups="news", allowed_origins=allowed))
        headers = {"sec-fetch-site": "cross-site", "origin": allowed[0]}
        assert (await asgi.get("/a/", headers=headers)).status == 403
        exchange = await asgi.open("/b/", headers=headers)
        assert exchange.headers["access-control-allow-origin"] == allowed[0]

    async def test_recheck(self, asgi, route):
        """has_access() is asked again every so often; the stream ends when it says no."""
        asked = asyncio.Event()

        class View(EventStreamView):
            groups = "news"
            recheck = 0.01
            answers = iter([True, True, False])

            async def has_access(self):
                asked.set()
                return next(self.answers)

        route("s/", View.as_view())
        exchange = await asgi.open("/s/")
        first, _, pause = (await exchange.ended()).partition(b"\n\n")
        assert (first + b"\n\n", pause[:7]) == (RETRY, b"retry: ")
        assert next(View.answers, "exhausted") == "exhausted"


class TestDjango:
    def test_view_is_a_coroutine_function(self):
        """Django sees an async view."""
        view: Any = EventStreamView.as_view(groups="news")
        assert iscoroutinefunction(view)
        assert view.view_class is EventStreamView

    async def test_atomic_requests(self, asgi, route, monkeypatch):
        """With ATOMIC_REQUESTS Django refuses async views, but for those marked as this one."""
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        route("s/", EventStreamView.as_view(groups="news"))
        assert (await asgi.open("/s/")).status == 200

    async def test_decorators(self, asgi, route, transactional_db):
        """Django's decorators go around the view."""
        route("a/", vary_on_headers("X-Region")(EventStreamView.as_view(groups="news")))
        route("b/", login_required(EventStreamView.as_view(groups="news")))
        assert "X-Region" in (await asgi.open("/a/")).headers["vary"]
        assert (await asgi.get("/b/")).status == 302

    async def test_access_by_user(self, asgi, route, log_in, sync, transactional_db):
        """The methods find the user in self.request."""

        class View(EventStreamView):
            def has_access(self):
                return self.request.user.is_authenticated

            def get_groups(self):
                return f"user.{self.request.user.pk}"

        route("s/", View.as_view())
        assert (await asgi.get("/s/")).status == 403
        user = await sync(User.objects.create_user, "ada")
        await sync(log_in, asgi, user)
        exchange = await asgi.open("/s/")
        await exchange.next_frame()
        await apublish(f"user.{user.pk}", "for you")
        assert (await exchange.next_event()).data == "for you"

    def test_wsgi_handler(self, route):
        """A WSGI server gets the same answer as the test client."""
        route("s/", EventStreamView.as_view(groups="news"))
        status = []

        def start_response(line: str, *args: Any) -> Any:
            status.append(line)

        response = WSGIHandler()(RequestFactory().get("/s/").environ, start_response)
        response.close()
        assert status == ["501 Not Implemented"]
