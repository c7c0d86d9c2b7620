"""EventStreamResponse from views of any kind, and the middleware around it."""

import asyncio
import contextvars
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory

from django_sse import (
    EventStreamResponse,
    ServerSentEvent,
    apublish,
    event_stream,
    stream_closed,
    subscribe,
)
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from tests.clients import TIMEOUT, until

RETRY = b"retry: 3000\n\n"


async def three():
    yield ServerSentEvent(1, event="one")
    yield "two"
    yield {"three": 3}


THREE = RETRY + b'event: one\ndata: 1\n\ndata: two\n\ndata: {"three":3}\n\n'


async def plain(request):
    return EventStreamResponse(three())


def sync_plain(request):
    return EventStreamResponse(three())


@pytest.fixture
def closed_reasons():
    """The reasons of the streams that have closed."""
    reasons: asyncio.Queue[str] = asyncio.Queue()

    async def receiver(reason, **kwargs):
        reasons.put_nowait(reason)

    stream_closed.connect(receiver)
    yield reasons
    stream_closed.disconnect(receiver)


class TestPlainViews:
    @pytest.mark.parametrize("view", [plain, sync_plain])
    async def test_view_returns_the_response(self, asgi, route, view):
        """A view with nothing of this package but the response, async or sync, can stream."""
        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.status == 200
        assert exchange.headers["content-type"] == "text/event-stream"
        assert exchange.headers["x-accel-buffering"] == "no"
        assert "content-length" not in exchange.headers
        assert exchange.body == THREE
        assert metrics.streams_open == 0

    async def test_events_go_out_one_by_one(self, asgi, route):
        """An event is sent when it comes, not with the next one."""
        ask: asyncio.Queue[str] = asyncio.Queue()

        async def answers():
            while True:
                yield await ask.get()

        async def view(request):
            return EventStreamResponse(answers())

        route("s/", view)
        exchange = await asgi.open("/s/")
        for word in ("first", "second"):
            ask.put_nowait(word)
            assert (await exchange.next_event()).data == word

    async def test_subscription_as_the_iterable(self, asgi, route):
        """A generator over a subscription is fed by its groups."""

        async def events(group):
            async with subscribe(group) as subscription:
                yield "ready"
                async for event in subscription:
                    yield event

        async def view(request, group):
            return EventStreamResponse(events(group))

        route("s/<group>/", view)
        exchange = await asgi.open("/s/a/")
        assert (await exchange.next_event()).data == "ready"
        await apublish("a", "x", event="e")
        assert await exchange.next_event() == ("x", "e", "")

    async def test_iterable_of_any_kind(self, asgi, route):
        """An object with __aiter__ is enough; it need not have aclose()."""

        class Countdown:
            def __init__(self):
                self.left = 3

            def __aiter__(self):
                return self

            async def __anext__(self):
                self.left -= 1
                if self.left < 0:
                    raise StopAsyncIteration
                return str(self.left)

        async def view(request):
            return EventStreamResponse(Countdown())

        route("s/", view)
        body = (await asgi.get("/s/")).body
        assert body == RETRY + b"data: 2\n\ndata: 1\n\ndata: 0\n\n"

    async def test_iterable_is_closed_when_the_client_leaves(self, asgi, route):
        """The generator's finally runs."""
        closed = asyncio.Event()

        async def endless():
            try:
                yield "x"
                await asyncio.Event().wait()
            finally:
                closed.set()

        async def view(request):
            return EventStreamResponse(endless())

        route("s/", view)
        exchange = await asgi.open("/s/")
        await exchange.next_event()
        await exchange.disconnected()
        await asyncio.wait_for(closed.wait(), TIMEOUT)
        assert metrics.streams_open == 0

    async def test_error_of_the_iterable(self, asgi, route, caplog):
        """An error ends the stream, is logged and counted."""

        async def broken():
            yield "x"
            raise LookupError("lost")

        async def view(request):
            return EventStreamResponse(broken())

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY + b"data: x\n\n"
        assert metrics.stream_errors == 1
        assert "lost" in caplog.text

    async def test_iterable_sees_the_views_context(self, asgi, route):
        """Context variables that the view has set hold in its generator."""
        variable = contextvars.ContextVar("variable", default="unset")

        async def values():
            yield variable.get()
            await asyncio.sleep(0)
            yield variable.get()

        async def view(request):
            variable.set("set by the view")
            return EventStreamResponse(values())

        route("s/", view)
        line = b"data: set by the view\n\n"
        assert (await asgi.get("/s/")).body == RETRY + line + line

    async def test_cookies_headers_and_status(self, asgi, route):
        """The response is Django's: what is set on it is sent."""

        async def view(request):
            response = EventStreamResponse(three())
            response.set_cookie("seen", "1")
            response.headers["X-Own"] = "yes"
            response.headers["Cache-Control"] = "private"
            return response

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.cookies["seen"].value == "1"
        assert exchange.headers["x-own"] == "yes"
        assert exchange.headers["cache-control"] == "private"

    async def test_options(self, asgi, route, closed_reasons):
        """Heartbeat, retry and duration are the response's own."""

        async def endless():
            await asyncio.Event().wait()
            yield

        async def view(request):
            return EventStreamResponse(endless(), heartbeat=0.01, retry=9, max_duration=1)

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert await exchange.next_frame() == b"retry: 9\n\n"
        assert await exchange.next_frame() == b":\n\n"
        await exchange.ended()
        assert await closed_reasons.get() == "max_duration reached"

    @pytest.mark.parametrize("view", [plain, sync_plain])
    async def test_head(self, asgi, route, view):
        """HEAD gets the headers; the iterable is not run for a body that nobody reads."""
        route("s/", view)
        exchange = await asgi.get("/s/", method="HEAD")
        assert (exchange.status, exchange.body) == (200, b"")
        assert exchange.headers["content-type"] == "text/event-stream"
        assert metrics.streams_opened == 0

    async def test_log_names_path_and_user(self, asgi, route, caplog):
        """The log says which path was streamed, whatever the entry."""
        caplog.set_level("INFO", "django.sse")
        route("s/", plain)
        await asgi.get("/s/?query=1")
        opened, closed = [record.getMessage() for record in caplog.records]
        assert opened.endswith("opened: /s/, user -")
        assert "closed (finished): /s/, user -, " in closed
        assert closed.endswith(f", 3 events, {len(THREE)} bytes")

    async def test_log_names_user_whom_a_middleware_has_set(self, asgi, route, caplog):
        """As an attribute of the request, as those of tokens set it."""

        async def view(request):
            request.user = User(pk=7, username="ada")
            return await plain(request)

        caplog.set_level("INFO", "django.sse")
        route("s/", view)
        await asgi.get("/s/")
        opened, closed = [record.getMessage() for record in caplog.records]
        assert opened.endswith("opened: /s/, user ada")
        assert "closed (finished): /s/, user ada, " in closed

    async def test_log_names_user_of_the_session_by_key(
        self, asgi, route, caplog, sync, log_in, transactional_db
    ):
        """Nobody has loaded the user, and the log is no cause to: their key is in the session."""
        user = await sync(User.objects.create_user, "ada")
        await sync(log_in, asgi, user)
        caplog.set_level("INFO", "django.sse")

        @event_stream
        async def view(request):
            yield "x"

        route("s/", view)
        await asgi.get("/s/")
        opened, closed = [record.getMessage() for record in caplog.records]
        assert opened.endswith(f"opened: /s/, user #{user.pk}")
        assert f"closed (finished): /s/, user #{user.pk}, " in closed


class TestMakingIt:
    @pytest.mark.parametrize("value", [[1, 2], iter("ab"), three, None, "text"])
    def test_no_async_iterable(self, value):
        """What cannot be iterated asynchronously is an error of the view, with the fix."""
        with pytest.raises(TypeError, match=r"takes an async iterable, not .*; write the"):
            EventStreamResponse(value)

    @pytest.mark.parametrize(
        "options", [{"heartbeat": 0}, {"max_duration": -1}, {"retry": 2.5}, {"retry": -1}]
    )
    def test_option_that_breaks_a_rule(self, options):
        """So is an option."""
        [(name, value)] = options.items()
        with pytest.raises(ValueError, match=f"{name}={value} must be"):
            EventStreamResponse(three(), **options)

    def test_unknown_option(self):
        """And one that there is not."""
        with pytest.raises(TypeError, match="hearbeat"):
            EventStreamResponse(three(), hearbeat=5)  # type: ignore[call-arg]

    async def test_what_is_to_be_closed_is_closed(self, asgi, route):
        """The response closes what is added to it in Django's way, beside its request."""
        closed: list[str] = []

        async def view(request):
            response = EventStreamResponse(three())
            response._resource_closers.append(lambda: closed.append("own"))
            return response

        route("s/", view)
        assert (await asgi.get("/s/")).body == THREE
        assert closed == ["own"]

    def test_content_is_not_there(self):
        """As for every streaming response, there is no content to read."""
        with pytest.raises(AttributeError, match="no `content` attribute"):
            EventStreamResponse(three()).content  # noqa: B018


class TestMiddleware:
    async def test_content_that_is_wrapped(self, asgi, route, settings, closed_reasons):
        """A middleware that wraps streaming_content gets the events one by one."""
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.wrap_content"]

        @event_stream(groups="a")
        async def view(request, stream):
            await stream.send("a secret")

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert (await exchange.next_event()).data == "a ******"
        await apublish("a", "live")
        assert (await exchange.next_event()).data == "live"
        await exchange.disconnected()
        assert await asyncio.wait_for(closed_reasons.get(), TIMEOUT) == "client left"
        assert metrics.streams_open == 0

    async def test_content_of_a_plain_view_that_is_wrapped(self, asgi, route, settings):
        """So does one around the response of a plain view."""
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.wrap_content"]
        route("s/", plain)
        assert (await asgi.get("/s/")).body == THREE

    async def test_sync_middleware(self, asgi, route, settings):
        """Middleware that runs in a thread adds its header to the stream's."""
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.add_header_sync"]
        route("s/", event_stream(groups="a")(handler_of_one))
        exchange = await asgi.open("/s/")
        assert exchange.headers["x-sync"] == "yes"
        assert (await exchange.next_event()).data == "one"
        await apublish("a", "live")
        assert (await exchange.next_event()).data == "live"

    async def test_no_middleware(self, asgi, route, settings):
        """A project without middleware streams as well."""
        settings.MIDDLEWARE = []
        route("s/", plain)
        assert (await asgi.get("/s/")).body == THREE

    async def test_response_that_is_replaced(self, asgi, route, settings, monkeypatch):
        """A stream whose response a middleware throws away is ended, its cleanup run."""
        monkeypatch.setattr("django_sse.lifecycle._UNSERVED_SECONDS", 0)
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.replace_response"]
        cleaned = asyncio.Event()

        @event_stream(groups="a")
        async def view(request, stream):
            stream.on_close(cleaned.set)

        route("s/", view)
        exchange = await asgi.get("/s/")
        assert exchange.body == b"replaced"
        await asyncio.wait_for(cleaned.wait(), TIMEOUT)
        assert (metrics.streams_open, metrics.streams_opened) == (0, 0)
        await until(lambda: get_hub().size == 0)

    async def test_generator_that_is_replaced(self, asgi, route, settings, monkeypatch):
        """So is a generator, where it waits."""
        monkeypatch.setattr("django_sse.lifecycle._UNSERVED_SECONDS", 0)
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.replace_response"]
        closed = asyncio.Event()

        @event_stream
        async def view(request):
            try:
                yield "x"
                await asyncio.Event().wait()
            finally:
                closed.set()

        route("s/", view)
        assert (await asgi.get("/s/")).body == b"replaced"
        await asyncio.wait_for(closed.wait(), TIMEOUT)


async def handler_of_one(request, stream):
    await stream.send("one")


class TestBusy:
    async def test_plain_view_past_max_connections(self, asgi, route, settings):
        """The limit holds for streams of plain views too."""
        settings.DJANGO_SSE = {"MAX_CONNECTIONS": 1, "RECONNECTION_TIME_MS": 1000}
        route("s/", event_stream(groups="a")(handler_of_one))
        route("t/", plain)
        first = await asgi.open("/s/")
        await first.next_event()
        busy = await asgi.get("/t/")
        assert busy.status == 200
        assert 5_000 <= int(busy.body.removeprefix(b"retry: ")) <= 15_000
        assert metrics.streams_refused == 1
        await first.disconnected()
        assert (await asgi.get("/t/")).body.endswith(b'data: {"three":3}\n\n')

    async def test_process_that_ends(self, asgi, route):
        """While the process shuts down new streams are turned away, to the next process."""
        route("s/", event_stream(groups="a")(handler_of_one))
        route("t/", plain)
        get_hub().shut_down()
        for path in ("/s/", "/t/"):
            exchange = await asgi.get(path)
            assert exchange.status == 200
            assert exchange.body.startswith(b"retry: ")
            assert b"data" not in exchange.body


class TestWsgi:
    @pytest.mark.parametrize("view", [plain, sync_plain])
    def test_test_client(self, client, route, view):
        """Under the sync test client the answer is 501 and the fix, not a hang."""
        route("s/", view)
        response = client.get("/s/")
        assert response.status_code == 501
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert b"Event streams need ASGI" in b"".join(response)

    @pytest.mark.parametrize("view", [plain, sync_plain])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_wsgi_handler(self, route, view, method):
        """Nor is it under a WSGI server; middleware of Django's own is in between."""
        route("s/", view)
        answer: dict[str, Any] = {}

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            answer.update(status=status, headers=dict(headers))

        environ = RequestFactory().generic(method, "/s/", headers={"accept-encoding": "gzip"})
        response = WSGIHandler()(environ.environ, start_response)
        body = b"".join(response)
        response.close()
        assert answer["status"] == "501 Not Implemented"
        assert answer["headers"]["Content-Type"] == "text/plain; charset=utf-8"
        assert b"Event streams need ASGI" in body

    def test_wrapped_content_under_wsgi(self, route, settings):
        """A middleware that goes over the content gets the same text."""

        def view(request):
            response = EventStreamResponse(three())
            return HttpResponse(b"".join(response), status=501)

        route("s/", view)
        response = WSGIHandler()(RequestFactory().get("/s/").environ, lambda *args: None)  # type: ignore[arg-type]
        assert b"Event streams need ASGI" in b"".join(response)
        response.close()


class TestAsyncClient:
    @pytest.mark.parametrize("view", [plain, event_stream(handler_of_one)])
    async def test_async_test_client(self, route, view, transactional_db):
        """Django's async test client reads the stream chunk by chunk."""
        route("s/", view)
        response = await AsyncClient().get("/s/", headers={"accept": "text/event-stream"})
        assert response.status_code == 200
        body = b"".join([chunk async for chunk in response.streaming_content])  # type: ignore[attr-defined]
        assert body.startswith(RETRY)
        assert body.endswith((b'data: {"three":3}\n\n', b"data: one\n\n"))
        assert metrics.streams_open == 0

    async def test_async_request_factory(self, rf):
        """A view can be called without a handler, and its response iterated over."""
        response = await plain(rf.get("/s/"))
        assert b"".join([chunk async for chunk in response]) == THREE
