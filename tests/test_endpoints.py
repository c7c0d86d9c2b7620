"""What every event-stream view does before its own code."""

import asyncio
import datetime
from typing import Any

import pytest
from channels.layers import channel_layers
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import RequestFactory

from django_sse import ServerSentEvent, apublish, event_stream
from django_sse.hub import get_hub
from django_sse.metrics import metrics

RETRY = b"retry: 3000\n\n"
JSON = {"accept": "application/json"}


async def last_word(request, stream, **kwargs):
    """A handler of one event."""
    await stream.send("done")


class TestHeaders:
    async def test_stream_headers(self, asgi, route):
        """Nothing between here and the page may hold an event up, store or compress it."""
        route("s/", event_stream(last_word))
        headers = (await asgi.get("/s/")).headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert headers["content-encoding"] == "identity"
        assert "content-length" not in headers

    async def test_gzip_middleware_leaves_the_stream_alone(self, asgi, route):
        """A client that takes gzip gets each event at once, as it is."""

        @event_stream(groups="a")
        async def view(request, stream):
            await stream.send("x" * 500)

        route("s/", view)
        exchange = await asgi.open("/s/", headers={"accept-encoding": "gzip, br"})
        assert (await exchange.next_event()).data == "x" * 500
        assert exchange.headers["content-encoding"] == "identity"

    async def test_middlewares_headers_and_cookies_pass_through(self, asgi, route, settings):
        """What middleware and view put on a response is on the stream's too."""
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.add_headers"]
        route("s/", event_stream(last_word))
        exchange = await asgi.get("/s/")
        assert exchange.headers["x-added"] == "café"
        assert exchange.headers["x-content-type-options"] == "nosniff"
        assert exchange.cookies["first"].value == "1"
        assert exchange.cookies["second"].value == "2"
        assert exchange.body == RETRY + b"data: done\n\n"

    async def test_common_middleware_redirects(self, asgi, route):
        """APPEND_SLASH goes before the view, as ever."""
        route("s/", event_stream(last_word))
        exchange = await asgi.get("/s")
        assert (exchange.status, exchange.headers["location"]) == (301, "/s/")


class TestMethods:
    async def test_head_answers_headers_only(self, asgi, route):
        """HEAD runs none of the view's code and opens nothing."""

        @event_stream
        async def view(request, stream):
            raise AssertionError("not to be run")

        route("s/", view)
        exchange = await asgi.get("/s/", method="HEAD")
        assert (exchange.status, exchange.body) == (200, b"")
        assert exchange.headers["content-type"] == "text/event-stream"
        assert (metrics.streams_opened, metrics.streams_open) == (0, 0)

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_other_methods_are_refused(self, asgi, route, method):
        """By default a stream is got; anything else is 405 and says what is allowed."""
        route("s/", event_stream(last_word))
        exchange = await asgi.get("/s/", method=method)
        assert (exchange.status, exchange.headers["allow"]) == (405, "GET, HEAD")

    async def test_post_where_it_is_allowed(self, asgi, route):
        """With methods= a stream can be asked for with a body."""

        @event_stream(methods=["POST"])
        async def view(request):
            yield request.body.decode()

        route("s/", view)
        exchange = await asgi.get("/s/", method="POST", body=b"question")
        assert exchange.body == RETRY + b"data: question\n\n"
        for method in ("GET", "HEAD"):
            refused = await asgi.get("/s/", method=method)
            assert (refused.status, refused.headers["allow"]) == (405, "POST")


class TestProgressive:
    @pytest.fixture(params=["handler", "generator"])
    def view(self, request, route):
        """The same view in both styles: JSON, or a first event and then those of a group."""
        if request.param == "handler":

            @event_stream(progressive=True)
            async def status(request, stream, pk):
                if stream:
                    await stream.subscribe(f"build.{pk}")
                return {"state": "running", "pk": pk}
        else:

            @event_stream(progressive=True, groups=lambda request, pk: f"build.{pk}")
            async def status(request, pk):
                yield {"state": "running", "pk": pk}
                await asyncio.Event().wait()

        route("status/<int:pk>/", status)

    @pytest.mark.parametrize(
        "accept", ["*/*", "application/json", "text/html,*/*;q=0.8", "text/*", ""]
    )
    async def test_plain_client_gets_json(self, asgi, view, accept):
        """A client that does not name text/event-stream, curl among them, gets the data."""
        exchange = await asgi.get("/status/5/", headers={"accept": accept})
        assert exchange.headers["content-type"] == "application/json"
        assert exchange.body == b'{"state": "running", "pk": 5}'
        assert exchange.headers["vary"].split(", ").count("Accept") == 1
        assert (metrics.streams_opened, metrics.streams_open) == (0, 0)

    @pytest.mark.parametrize(
        "accept", ["text/event-stream", "application/json, text/event-stream;q=0.5, */*"]
    )
    async def test_event_source_gets_the_stream(self, asgi, view, accept):
        """One that names it gets the data as the first event, then the updates."""
        exchange = await asgi.open("/status/5/", headers={"accept": accept})
        assert exchange.headers["content-type"] == "text/event-stream"
        assert "Accept" in exchange.headers["vary"]
        assert await exchange.next_frame() == RETRY
        assert await exchange.next_frame() == b'data: {"state":"running","pk":5}\n\n'
        await apublish("build.5", {"state": "passed"})
        assert (await exchange.next_event()).json() == {"state": "passed"}

    async def test_head_of_a_plain_client(self, asgi, view):
        """HEAD without the media type is that of the JSON."""
        exchange = await asgi.get("/status/5/", method="HEAD", headers=JSON)
        assert exchange.headers["content-type"] == "application/json"

    async def test_plain_generator_is_closed(self, asgi, route):
        """After its first value the generator of a plain client is closed at once."""
        closed = asyncio.Event()

        @event_stream(progressive=True)
        async def view(request):
            try:
                yield ServerSentEvent({"n": 1}, event="named")
                yield {"n": 2}
            finally:
                closed.set()

        route("s/", view)
        exchange = await asgi.get("/s/", headers=JSON)
        assert exchange.body == b'{"n": 1}'
        assert closed.is_set()

    async def test_plain_generator_that_yields_nothing(self, asgi, route, caplog):
        """No value is no body: an error, not an empty page."""

        @event_stream(progressive=True)
        async def view(request):
            return
            yield

        route("s/", view)
        assert (await asgi.get("/s/", headers=JSON)).status == 500
        assert "yielded nothing that could be the body of a response" in caplog.text

    async def test_plain_handler_may_return_a_response(self, asgi, route):
        """A handler may answer a plain client with a page of its own."""

        @event_stream(progressive=True)
        async def view(request, stream):
            if stream is None:
                return HttpResponse("<p>a page</p>")
            await stream.send("x")

        route("s/", view)
        exchange = await asgi.get("/s/", headers={"accept": "text/html"})
        assert exchange.body == b"<p>a page</p>"
        assert exchange.headers["vary"].split(", ").count("Accept") == 1
        assert (await asgi.get("/s/")).body == RETRY + b"data: x\n\n"

    async def test_plain_data_of_any_type(self, asgi, route):
        """The JSON is written by the encoder of the events: a list and a date are fine."""

        @event_stream(progressive=True)
        async def view(request, stream):
            return [datetime.date(2026, 1, 2), None]

        route("s/", view)
        assert (await asgi.get("/s/", headers=JSON)).body == b'["2026-01-02", null]'
        assert (await asgi.get("/s/")).body == RETRY + b'data: ["2026-01-02",null]\n\n'

    async def test_progressive_returning_after_an_event(self, asgi, route):
        """What is returned is sent even where events went before."""

        @event_stream(progressive=True)
        async def view(request, stream):
            if stream:
                await stream.send("before")
            return "after"

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY + b"data: before\n\ndata: after\n\n"

    async def test_error_is_the_same_for_both(self, asgi, route):
        """An exception before the first event is a response for either client."""

        @event_stream(progressive=True)
        async def view(request, stream):
            raise PermissionError if stream is None else ValueError

        route("s/", view)
        assert (await asgi.get("/s/")).status == 500
        assert (await asgi.get("/s/", headers=JSON)).status == 500


class TestGuard:
    @pytest.mark.parametrize("kind", ["sync", "async", "lambda"])
    async def test_guard_decides(self, asgi, route, kind):
        """False is 403 before anything is opened; the guard gets the URL arguments it names."""

        def sync_guard(request, room):
            return room == "open" and request.method == "GET"

        async def async_guard(request, *, room):
            return sync_guard(request, room)

        guards: dict[str, Any] = {
            "sync": sync_guard,
            "async": async_guard,
            "lambda": lambda request, **kwargs: async_guard(request, room=kwargs["room"]),
        }
        route("s/<room>/<other>/", event_stream(guard=guards[kind])(last_word))
        assert (await asgi.get("/s/open/x/")).body == RETRY + b"data: done\n\n"
        refused = await asgi.get("/s/closed/x/")
        assert refused.status == 403
        assert metrics.streams_opened == 1

    async def test_guard_by_request_alone(self, asgi, route, transactional_db):
        """A guard that names no argument is given none; a sync one may use the ORM."""

        def guard(request):
            return not request.user.is_authenticated and request.user == AnonymousUser()

        route("s/<room>/", event_stream(guard=guard)(last_word))
        assert (await asgi.get("/s/x/")).status == 200

    async def test_guard_of_a_plain_client(self, asgi, route):
        """The guard is before both answers of a progressive view."""

        @event_stream(progressive=True, guard=lambda request: False)
        async def view(request, stream):
            return "secret"

        route("s/", view)
        assert (await asgi.get("/s/", headers=JSON)).status == 403
        assert (await asgi.get("/s/")).status == 403

    async def test_guard_that_fails(self, asgi, route):
        """An error in the guard is no permission."""

        def guard(request):
            raise LookupError

        route("s/", event_stream(guard=guard)(last_word))
        assert (await asgi.get("/s/")).status == 500


class TestOrigins:
    FOREIGN = {"sec-fetch-site": "cross-site", "origin": "https://other.example"}

    @pytest.fixture
    def views(self, route):
        route("closed/", event_stream(last_word))
        route("open/", event_stream(allowed_origins=["https://other.example"])(last_word))

    @pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
    async def test_same_site_is_allowed(self, asgi, views, site):
        """A page of this site, and an address typed by hand, may read; no CORS header is set."""
        exchange = await asgi.get("/closed/", headers={"sec-fetch-site": site})
        assert exchange.status == 200
        assert not [name for name in exchange.headers if name.startswith("access-control")]

    async def test_cross_site_is_refused(self, asgi, views):
        """A page of another site may not read, since the user's cookies come with it."""
        assert (await asgi.get("/closed/", headers=self.FOREIGN)).status == 403
        assert metrics.streams_opened == 0

    async def test_cross_site_without_origin_is_refused(self, asgi, views):
        """Without an Origin there is nothing that could be allowed."""
        headers = {"sec-fetch-site": "cross-site"}
        assert (await asgi.get("/closed/", headers=headers)).status == 403
        assert (await asgi.get("/open/", headers=headers)).status == 403

    async def test_allowed_origin(self, asgi, views):
        """The exact origin may read, by the headers that a browser asks for."""
        exchange = await asgi.get("/open/", headers=self.FOREIGN)
        assert exchange.status == 200
        assert exchange.headers["access-control-allow-origin"] == "https://other.example"
        assert exchange.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in exchange.headers["vary"]

    @pytest.mark.parametrize(
        "origin", ["http://other.example", "https://other.example:8000", "null"]
    )
    async def test_other_origin_is_refused(self, asgi, views, origin):
        """Another scheme, port or host is another origin."""
        headers = {"sec-fetch-site": "cross-site", "origin": origin}
        assert (await asgi.get("/open/", headers=headers)).status == 403

    async def test_allowed_origins_of_the_settings(self, asgi, views, settings):
        """The setting is the default for every view; a view's own list is instead of it."""
        settings.DJANGO_SSE = {"ALLOWED_ORIGINS": ["https://third.example"]}
        headers = {"sec-fetch-site": "cross-site", "origin": "https://third.example"}
        assert (await asgi.get("/closed/", headers=headers)).status == 200
        assert (await asgi.get("/open/", headers=headers)).status == 403

    async def test_allowed_view_varies_by_origin_for_everyone(self, asgi, views):
        """Vary is set without an Origin too, for caches."""
        exchange = await asgi.get("/open/")
        assert "Origin" in exchange.headers["vary"]
        assert "access-control-allow-origin" not in exchange.headers


async def names(request, room):
    return [f"room.{room}", "news"]


class TestGroups:
    @pytest.mark.parametrize(
        ("groups", "expected"),
        [
            ("news", {"news"}),
            (["news", "room.7"], {"news", "room.7"}),
            (lambda request, room: f"room.{room}", {"room.7"}),
            (lambda request: (name for name in ("a", "b")), {"a", "b"}),
            (names, {"room.7", "news"}),
            ((), set()),
            (lambda request: [], set()),
        ],
    )
    async def test_groups_option(self, asgi, route, groups, expected):
        """Groups are names, or a function of the request and of the URL arguments it names."""
        seen = []

        @event_stream(groups=groups)
        async def view(request, stream, room):
            seen.append(stream.groups)
            await stream.send("done")
            await stream.close()

        route("s/<int:room>/", view)
        await asgi.get("/s/7/")
        assert seen == [expected]

    async def test_groups_are_joined_before_the_view(self, asgi, route):
        """What the view itself publishes to a group of its stream arrives on it."""

        @event_stream(groups="a")
        async def view(request, stream):
            await apublish("a", "mine")

        route("s/", view)
        exchange = await asgi.open("/s/")
        assert (await exchange.next_event()).data == "mine"

    @pytest.mark.parametrize("groups", [5, [5], "", [""], ["a", None], b"a"])
    def test_static_groups_of_the_wrong_type(self, groups):
        """A static group that is no name is an error where the view is decorated."""
        with pytest.raises(ValueError, match=r"Group .* string"):
            event_stream(groups=groups)

    async def test_computed_group_of_the_wrong_type(self, asgi, route, caplog):
        """A function that returns no name is an error of the request, which says so."""
        route("s/", event_stream(groups=lambda request: [5])(last_word))
        assert (await asgi.get("/s/")).status == 500
        assert "Group 5 must be a string" in caplog.text

    @pytest.mark.parametrize("groups", [5, None, b"a"])
    async def test_computed_groups_that_are_no_names(self, asgi, route, caplog, groups):
        """So is one that returns something else than names."""
        route("s/", event_stream(groups=lambda request: groups)(last_word))
        assert (await asgi.get("/s/")).status == 500
        assert f"Group {groups!r} is a" in caplog.text


class TestBusy:
    async def test_max_connections(self, asgi, route, settings):
        """Past the limit a client is sent away with 200 and a long reconnection time."""
        settings.DJANGO_SSE = {"MAX_CONNECTIONS": 2, "RECONNECTION_TIME_MS": 1000}

        @event_stream(groups="a")
        async def view(request, stream):
            pass

        route("s/", view)
        first, second = await asgi.open("/s/"), await asgi.open("/s/")
        await first.next_frame()
        busy = await asgi.get("/s/")
        assert busy.status == 200
        assert busy.headers["content-type"] == "text/event-stream"
        frame = busy.body.decode()
        assert frame.startswith("retry: ")
        assert frame.endswith("\n\n")
        assert 5_000 <= int(frame.removeprefix("retry: ")) <= 15_000
        assert metrics.streams_refused == 1
        await second.disconnected()
        again = await asgi.open("/s/")
        assert await again.next_frame() == b"retry: 1000\n\n"

    async def test_view_code_does_not_run_when_busy(self, asgi, route, settings):
        """A refused client costs neither a query of the view nor a subscription."""
        settings.DJANGO_SSE = {"MAX_CONNECTIONS": 1}

        @event_stream(groups="a")
        async def open_view(request, stream):
            pass

        @event_stream
        async def view(request):
            raise AssertionError("not to be run")
            yield

        route("open/", open_view)
        route("s/", view)
        await asgi.open("/open/")
        assert (await asgi.get("/s/")).body.startswith(b"retry: ")

    async def test_layer_that_fails(self, asgi, route, settings, caplog):
        """Where the channel layer is down the client is asked to come later, not sent away."""
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.layers.broken.BrokenLayer"}}
        route("s/", event_stream(groups="a")(last_word))
        exchange = await asgi.get("/s/")
        assert exchange.status == 200
        assert exchange.body.startswith(b"retry: ")
        assert (metrics.streams_refused, metrics.layer_errors) == (1, 1)
        assert metrics.streams_open == 0

    async def test_no_layer_at_all(self, asgi, route, settings, caplog):
        """A project without a channel layer is told so where a group is asked for."""
        settings.CHANNEL_LAYERS = {}
        channel_layers.backends.clear()
        route("s/", event_stream(groups="a")(last_word))
        route("t/", event_stream(last_word))
        assert (await asgi.get("/s/")).status == 500
        assert "There is no channel layer 'default': groups need one" in caplog.text
        # A stream without groups needs none.
        assert (await asgi.get("/t/")).body == RETRY + b"data: done\n\n"

    @pytest.mark.parametrize("handler_waits", [True, False])
    async def test_process_that_ends_while_a_handler_prepares(self, asgi, route, handler_waits):
        """A handler that has not sent anything when the process ends is a busy answer, no 500."""
        reached, go_on = asyncio.Event(), asyncio.Event()

        @event_stream
        async def view(request, stream):
            reached.set()
            await go_on.wait()
            await stream.subscribe("a")

        route("s/", view)
        exchange = asgi.start("/s/")
        await reached.wait()
        if not handler_waits:
            go_on.set()
        get_hub().shut_down()
        await exchange.ended()
        assert exchange.status == 200
        assert int(exchange.body.removeprefix(b"retry: ")) > 3000

    async def test_view_that_uses_what_it_has_closed(self, asgi, route):
        """A view that sends to the stream it closed has a bug: 500."""

        @event_stream
        async def view(request, stream):
            await stream.close()
            await stream.send("x")

        route("s/", view)
        assert (await asgi.get("/s/")).status == 500
        assert metrics.streams_refused == 0


class TestLastEventId:
    @pytest.mark.parametrize(
        ("query", "header", "expected"),
        [
            ("", None, None),
            ("?last_event_id=q", None, "q"),
            ("", "h", "h"),
            ("?last_event_id=q", "h", "h"),
            ("?last_event_id=q&lastEventId=l", None, "l"),
            ("?last_event_id=q&lastEventId=", None, "q"),
            ("?lastEventId=l", "h", "h"),
            ("?last_event_id=caf%C3%A9", None, "café"),
            ("", "café ☃", "café ☃"),
        ],
    )
    async def test_last_event_id(self, asgi, route, query, header, expected):
        """The header wins over the query; a browser sends it as UTF-8."""

        @event_stream
        async def view(request, stream):
            await stream.send([stream.last_event_id])

        route("s/", view)
        headers = {} if header is None else {"last-event-id": header}
        exchange = await asgi.open(f"/s/{query}", headers=headers)
        assert (await exchange.next_event()).json() == [expected]

    async def test_last_event_id_that_is_no_utf8(self, app, asgi, route):
        """A header that is no UTF-8 is taken as it is, never an error."""

        @event_stream
        async def view(request, stream):
            await stream.send([stream.last_event_id])

        route("s/", view)
        exchange = asgi.start("/s/", headers={"last-event-id": "x"})
        exchange.scope["headers"] = [(b"host", b"h"), (b"last-event-id", b"caf\xe9")]
        await exchange.started()
        assert (await exchange.next_event()).json() == ["café"]


class TestWsgi:
    """A stream under WSGI would hold a worker for as long as it is open."""

    @pytest.fixture
    def views(self, route):
        @event_stream
        async def generator(request):
            raise AssertionError("not to be run")
            yield

        @event_stream(progressive=True, guard=lambda request: request.GET.get("key") == "1")
        async def progressive(request, stream):
            assert stream is None
            return {"state": "new"}

        route("generator/", generator)
        route("handler/", event_stream(last_word))
        route("progressive/", progressive)

    def check(self, status, content_type, body):
        assert status == 501
        assert content_type == "text/plain; charset=utf-8"
        assert "Event streams need ASGI" in body
        assert "django_sse.asgi.get_asgi_application()" in body

    @pytest.mark.parametrize("path", ["generator", "handler", "progressive"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_test_client(self, client, views, path, method):
        """Django's sync test client, which is WSGI, gets 501 and the fix."""
        response = client.generic(method, f"/{path}/", headers={"accept": "text/event-stream"})
        if method == "HEAD":
            assert (response.status_code, response.content) == (501, b"")
        else:
            content_type = response.headers["content-type"]
            self.check(response.status_code, content_type, response.text)

    @pytest.mark.parametrize("path", ["generator", "handler", "progressive"])
    def test_wsgi_handler(self, views, path):
        """So does a WSGI server."""
        answer: dict[str, Any] = {}

        def start_response(status, headers, exc_info=None):
            answer.update(status=int(status.split()[0]), headers=dict(headers))

        environ = RequestFactory().get(f"/{path}/", headers={"accept": "text/event-stream"})
        response = WSGIHandler()(environ.environ, start_response)
        body = b"".join(response).decode()
        response.close()
        self.check(answer["status"], answer["headers"]["Content-Type"], body)

    def test_plain_client_of_a_progressive_view(self, client, views):
        """Who asks for JSON gets it under WSGI too, behind the guard."""
        assert client.get("/progressive/").status_code == 403
        response = client.get("/progressive/?key=1")
        assert response.headers["content-type"] == "application/json"
        assert response.content == b'{"state": "new"}'

    def test_method_goes_before(self, client, views):
        """A wrong method is 405 there as well."""
        assert client.post("/generator/").status_code == 405
