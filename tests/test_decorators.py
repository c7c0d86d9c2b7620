"""event_stream: the two styles, and Django's own decorators around them."""

import asyncio
import inspect
import logging
from functools import partial
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.decorators import login_required, permission_required, user_passes_test
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpResponse
from django.urls import re_path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from django_sse import ServerSentEvent, apublish, event_stream, subscribe
from django_sse.metrics import metrics
from tests.clients import TIMEOUT

RETRY = b"retry: 3000\n\n"


class TestGeneratorStyle:
    async def test_generator_values_become_events(self, asgi, route):
        """An event is sent as it is, a str as its data, anything else as JSON."""

        @event_stream
        async def view(request):
            yield ServerSentEvent({"a": 1}, event="first", id="7")
            yield "two\nlines"
            yield {"n": None}
            yield ["é"]

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.status == 200
        assert exchange.body == (
            RETRY
            + b'event: first\nid: 7\ndata: {"a":1}\n\n'
            + b"data: two\ndata: lines\n\n"
            + b'data: {"n":null}\n\n'
            + 'data: ["é"]\n\n'.encode()
        )

    async def test_generator_starts_at_once(self, asgi, route):
        """The response begins before the generator yields anything."""
        go_on = asyncio.Event()

        @event_stream
        async def view(request):
            await go_on.wait()
            yield "late"

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert (exchange.status, await exchange.next_frame()) == (200, RETRY)
        go_on.set()
        assert (await exchange.next_event()).data == "late"

    async def test_generator_gets_url_arguments(self, asgi, route):
        """The URL's arguments come as they come to any view, converted."""

        @event_stream
        async def view(request, symbol, *, days):
            yield {"symbol": symbol, "days": days, "query": request.GET["q"]}

        route("s/<symbol>/<int:days>/", view)
        exchange = await asgi.open("/s/ACME/3/?q=x")
        event = await exchange.next_event()
        assert event.json() == {"symbol": "ACME", "days": 3, "query": "x"}

    async def test_generator_misses_nothing_after_subscribe(self, asgi, route):
        """What is published from the block's first line on is yielded, after the snapshot."""

        @event_stream
        async def view(request):
            async with subscribe("prices") as events:
                await apublish("prices", "new")
                yield ServerSentEvent("old", event="snapshot")
                async for event in events:
                    yield event

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert await exchange.next_event() == ("old", "snapshot", "")
        assert (await exchange.next_event()).data == "new"
        await apublish("prices", "newer", event="price")
        assert await exchange.next_event() == ("newer", "price", "")

    async def test_generator_end_ends_the_stream(self, asgi, route):
        """With nothing more to yield the response is complete, and nothing stays open."""

        @event_stream
        async def view(request):
            yield "only"

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.body.endswith(b"data: only\n\n")
        assert metrics.streams_open == 0

    async def test_generator_finally_runs_when_the_client_leaves(self, asgi, route):
        """A disconnect closes the generator where it waits."""
        closed = asyncio.Event()

        @event_stream
        async def view(request):
            try:
                yield "hello"
                await asyncio.Event().wait()
            finally:
                closed.set()

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_event()
        exchange.disconnect()
        await asyncio.wait_for(closed.wait(), TIMEOUT)

    async def test_generator_error_ends_the_stream(self, asgi, route, caplog):
        """The stream has begun, so that the error cannot be a response: it is logged, counted."""

        @event_stream
        async def view(request):
            yield "one"
            raise ValueError("broken")

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.status == 200
        assert exchange.body == RETRY + b"data: one\n\n"
        assert metrics.stream_errors == 1
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.name == "django.sse"
        assert "broken" in str(record.exc_info)

    async def test_generator_yields_none(self, asgi, route, caplog):
        """None is no event; the log says what can be yielded."""

        @event_stream
        async def view(request):
            yield None

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY
        assert "None is not an event; pass a ServerSentEvent, a string, or data" in caplog.text

    async def test_generator_that_never_waits_lets_others_run(self, asgi, route):
        """An eager generator neither starves the loop nor holds up the disconnect."""
        closed = asyncio.Event()

        @event_stream
        async def view(request):
            try:
                while True:
                    yield "more"
            finally:
                closed.set()

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_event()
        exchange.disconnect()
        await asyncio.wait_for(closed.wait(), TIMEOUT)


class TestHandlerStyle:
    async def test_handler_starts_at_its_first_send(self, asgi, route):
        """Nothing goes out while the handler prepares; its first event starts the response."""
        reached, go_on = asyncio.Event(), asyncio.Event()

        @event_stream
        async def view(request, stream):
            reached.set()
            await go_on.wait()
            await stream.send({"joined": 1}, event="connected")
            await asyncio.Event().wait()

        route("s/", view)
        exchange = asgi.start("/s/")
        await asyncio.wait_for(reached.wait(), TIMEOUT)
        assert exchange.status == 0
        go_on.set()
        await exchange.started()
        assert exchange.status == 200
        assert await exchange.next_event() == ('{"joined":1}', "connected", "")

    async def test_handler_starts_at_its_first_comment(self, asgi, route):
        """A comment starts the response too."""

        @event_stream
        async def view(request, stream):
            await stream.comment("preparing")
            await asyncio.Event().wait()

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert await exchange.next_frame() == RETRY
        assert await exchange.next_frame() == b": preparing\n\n"

    @pytest.mark.parametrize(
        ("error", "status"),
        [(Http404("gone"), 404), (PermissionDenied("no"), 403), (ValueError("bug"), 500)],
    )
    async def test_handler_error_before_start_is_an_ordinary_response(
        self, asgi, route, error, status
    ):
        """What is raised before the first event is answered as in any view; nothing stays open."""
        closed: list[object] = []

        @event_stream
        async def view(request, stream):
            stream.on_close(partial(closed.append, "closed"))
            await stream.subscribe("a")
            raise error

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.status == status
        assert exchange.headers["content-type"].startswith("text/html")
        assert (metrics.streams_open, metrics.stream_errors) == (0, 0)
        assert closed == ["closed"]

    async def test_handler_error_after_start_ends_the_stream(self, asgi, route, caplog):
        """Once an event is out, an error ends the stream, is logged and counted."""

        @event_stream
        async def view(request, stream):
            await stream.send("one")
            raise Http404

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.body == RETRY + b"data: one\n\n"
        assert exchange.status == 200
        assert metrics.stream_errors == 1
        assert "failed; the stream ends" in caplog.text

    async def test_handler_return_hands_over_to_the_groups(self, asgi, route):
        """After the handler has returned the stream goes on with its groups."""
        returned = asyncio.Event()

        @event_stream
        async def view(request, stream):
            await stream.subscribe("a", "b")
            returned.set()

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert returned.is_set()
        await apublish("a", 1)
        await apublish("b", 2)
        assert [(await exchange.next_event()).data for _ in range(2)] == ["1", "2"]

    async def test_handler_with_no_group_and_no_task_ends(self, asgi, route):
        """Nothing could ever be sent: the response is complete."""

        @event_stream
        async def view(request, stream):
            await stream.send("all there is")

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY + b"data: all there is\n\n"

    async def test_handler_that_does_nothing_ends(self, asgi, route):
        """A stream without an event, a group or a task is an empty event stream."""

        @event_stream
        async def view(request, stream):
            pass

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert (exchange.status, exchange.body) == (200, RETRY)

    async def test_handler_return_hands_over_to_a_task(self, asgi, route):
        """A task keeps the stream open, and its end ends it."""
        go_on = asyncio.Event()

        @event_stream
        async def view(request, stream):
            async def later():
                await go_on.wait()
                await stream.send("from the task")

            stream.create_task(later())

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert await exchange.next_frame() == RETRY
        go_on.set()
        assert await exchange.ended() == RETRY + b"data: from the task\n\n"

    async def test_handler_may_answer_with_a_response_instead(self, asgi, route):
        """A response returned before anything is sent is the answer: 204 stops a browser."""
        closed: list[object] = []

        @event_stream
        async def view(request, stream):
            stream.on_close(partial(closed.append, 1))
            await stream.subscribe("a")
            return HttpResponse(status=204)

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert (exchange.status, exchange.body) == (204, b"")
        assert (closed, metrics.streams_open) == ([1], 0)

    async def test_handler_response_after_start_is_an_error(self, asgi, route, caplog):
        """A response cannot take the place of a stream that has begun."""

        @event_stream
        async def view(request, stream):
            await stream.send("begun")
            return HttpResponse("too late")

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY + b"data: begun\n\n"
        assert "return None, or a response before anything is sent" in caplog.text

    async def test_handler_data_where_not_progressive_is_an_error(self, asgi, route, caplog):
        """Data is returned by progressive views only; here the answer is 500 and says so."""

        @event_stream
        async def view(request, stream):
            return {"state": "new"}

        route("s/", view)
        assert (await asgi.get("/s/")).status == 500
        assert "or data where the view is progressive" in caplog.text

    async def test_handler_cancelled_by_a_client_that_does_not_wait(self, asgi, route):
        """A client that leaves before the first event cancels the handler; its cleanup runs."""
        reached, cleaned = asyncio.Event(), asyncio.Event()

        @event_stream
        async def view(request, stream):
            stream.on_close(cleaned.set)
            await stream.subscribe("a")
            reached.set()
            await asyncio.Event().wait()

        route("s/", view)
        exchange = asgi.start("/s/")
        await asyncio.wait_for(reached.wait(), TIMEOUT)
        await exchange.disconnected()
        await asyncio.wait_for(cleaned.wait(), TIMEOUT)
        assert (exchange.status, metrics.streams_open) == (0, 0)


class TestDecoration:
    @pytest.mark.parametrize("with_options", [False, True])
    def test_decorate_sync_function(self, with_options):
        """A sync view is a TypeError where it is decorated, with the fix."""

        def view(request, stream):
            pass

        decorate = event_stream(heartbeat=5) if with_options else event_stream
        with pytest.raises(TypeError, match=r"<function .*view.*>; write it with async def"):
            decorate(view)

    @pytest.mark.parametrize("view", [lambda request: iter("ab"), object, 5, "view"])
    def test_decorate_something_else(self, view):
        """So is anything that is no async function."""
        with pytest.raises(TypeError, match="event_stream needs a coroutine function or an async"):
            event_stream(view)

    def test_decorate_sync_generator(self):
        """A sync generator function is no generator style."""

        def view(request):
            yield 1

        with pytest.raises(TypeError, match="write it with async def"):
            event_stream(view)

    def test_decorate_handler_without_stream(self):
        """A coroutine function that takes no stream was meant to be something else."""

        async def view(request):
            pass

        with pytest.raises(TypeError, match=r"takes no stream: write async def view\(request, st"):
            event_stream(view)

    def test_decorate_unknown_option(self):
        """An option with a typo is named where it is given, with the one that was meant."""
        with pytest.raises(TypeError, match=r"no option 'hearbeat' .* did you mean 'heartbeat'"):
            event_stream(hearbeat=5)

    def test_decorated_view_is_a_coroutine_function(self):
        """Django must see one, and tools must see the view's name and text."""

        @event_stream
        async def ticks(request):
            """Tick."""
            yield 1

        @event_stream()
        async def room(request, stream):
            """Room."""

        for view, name in ((ticks, "ticks"), (room, "room")):
            assert iscoroutinefunction(view)
            assert inspect.iscoroutinefunction(view)
            assert not inspect.isasyncgenfunction(view)
            assert view.__name__ == name
            assert view.__doc__
            assert view.__module__ == __name__

    async def test_decorated_callable_object(self, asgi, route):
        """An object whose call is a coroutine can be a view as a function can."""

        class Handler:
            __name__ = "handler"
            __qualname__ = "handler"

            async def handle(self, request, stream):
                await stream.send("method")

        route("s/", event_stream(Handler().handle))
        assert (await asgi.get("/s/")).body == RETRY + b"data: method\n\n"

    async def test_decorated_partial(self, asgi, route):
        """functools.partial keeps a coroutine function one."""

        async def view(request, stream, word):
            await stream.send(word)

        route("s/", event_stream(partial(view, word="given")))
        assert (await asgi.get("/s/")).body == RETRY + b"data: given\n\n"

    async def test_positional_url_arguments(self, asgi, settings):
        """Unnamed groups of a pattern are positional arguments, behind the stream."""

        @event_stream
        async def view(request, stream, first, second):
            await stream.send([first, second])

        settings.ROOT_URLCONF = (re_path(r"^s/(\w+)/(\w+)/$", view),)
        assert (await asgi.get("/s/a/b/")).body == RETRY + b'data: ["a","b"]\n\n'

    async def test_atomic_requests_leave_the_view_alone(self, asgi, route, monkeypatch):
        """With ATOMIC_REQUESTS Django refuses async views, but for those marked as this one."""
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

        @event_stream
        async def view(request):
            yield "works"

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert (exchange.status, exchange.body) == (200, RETRY + b"data: works\n\n")


@event_stream
async def generator(request):
    yield f"for {(await request.auser()).username}"


@event_stream
async def handler(request, stream):
    await stream.send(f"for {(await request.auser()).username}")


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada")


@pytest.mark.parametrize("view", [generator, handler])
class TestDjangosDecorators:
    FRAMES = RETRY + b"data: for ada\n\n"

    async def test_login_required(self, view, asgi, route, user, log_in, sync):
        """An anonymous request is Django's redirect; a user's is the stream."""
        route("s/", login_required(view))
        exchange = await asgi.get("/s/")
        assert (exchange.status, exchange.headers["location"]) == (302, "/login/?next=/s/")
        await sync(log_in, asgi, user)
        assert (await asgi.get("/s/")).body == self.FRAMES

    async def test_permission_required(self, view, asgi, route, user, log_in, sync):
        """Without the permission the answer is 403, with it the stream."""
        await sync(log_in, asgi, user)
        route("s/", permission_required("auth.add_user", raise_exception=True)(view))
        assert (await asgi.get("/s/")).status == 403
        permission = await Permission.objects.aget(codename="add_user")
        await user.user_permissions.aadd(permission)
        assert (await asgi.get("/s/")).body == self.FRAMES

    async def test_user_passes_test(self, view, asgi, route, user, log_in, sync):
        """A test of one's own decides."""
        await sync(log_in, asgi, user)
        route("s/", user_passes_test(lambda user: user.username == "ada")(view))
        route("t/", user_passes_test(lambda user: user.username == "bob")(view))
        assert (await asgi.get("/s/")).body == self.FRAMES
        assert (await asgi.get("/t/")).status == 302

    async def test_vary_on_headers_and_never_cache(self, view, asgi, route, transactional_db):
        """Decorators that touch the response's headers find a response."""
        route("s/", vary_on_headers("X-Region")(never_cache(view)))
        exchange = await asgi.get("/s/")
        assert "X-Region" in exchange.headers["vary"]
        assert "max-age=0" in exchange.headers["cache-control"]
        assert "no-transform" in exchange.headers["cache-control"]
        assert exchange.body == RETRY + b"data: for \n\n"

    async def test_require_get_and_csrf_exempt(self, view, asgi, route, transactional_db):
        """Method decorators answer before the view does."""
        route("s/", csrf_exempt(require_GET(view)))
        assert (await asgi.get("/s/", method="POST")).status == 405
        assert (await asgi.get("/s/")).status == 200


class TestDjangosDecoratorsBelow:
    async def test_login_required_below_a_handler(self, asgi, route, user, log_in, sync):
        """Under event_stream, a decorator's own response is the answer before the start."""

        @event_stream
        @login_required
        async def view(request, stream):
            await stream.send("in")

        route("s/", view)
        assert (await asgi.get("/s/")).status == 302
        assert metrics.streams_open == 0
        await sync(log_in, asgi, user)
        assert (await asgi.get("/s/")).body == RETRY + b"data: in\n\n"

    async def test_require_get_below_a_handler(self, asgi, route):
        """So is that of require_GET."""

        @event_stream(methods=["GET", "POST"])
        @require_GET
        async def view(request, stream):
            await stream.send("in")

        route("s/", view)
        assert (await asgi.get("/s/", method="POST")).status == 405
        assert (await asgi.get("/s/")).body == RETRY + b"data: in\n\n"

    def test_login_required_below_a_generator(self):
        """A generator function is sync for Django's decorators: a TypeError, not a silent hole."""

        async def view(request):
            yield "in"

        with pytest.raises(TypeError, match="write it with async def"):
            event_stream(login_required(view))


async def test_handler_sees_the_middlewares_request(asgi, route, log_in, user, sync):
    """Session and user are those of Django's middleware, in the stream's own code too."""
    await sync(log_in, asgi, user)

    @event_stream
    async def view(request, stream):
        async def later() -> Any:
            await stream.send({"user": (await request.auser()).username})

        await stream.send({"session": bool(request.session.session_key)})
        stream.create_task(later())

    route("s/", view)
    body = (await asgi.get("/s/")).body
    assert body == RETRY + b'data: {"session":true}\n\ndata: {"user":"ada"}\n\n'
