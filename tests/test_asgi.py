"""The ASGI entries: the package's own, the stock one, and both inside a router."""

import asyncio
import threading
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application as get_stock_application
from django.core.signals import request_finished, request_started
from django.db import connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse

from django_sse import EventStream, EventStreamResponse, apublish, event_stream
from django_sse.asgi import EventStreamHandler, _Exchange, get_asgi_application
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.testing import StreamClient
from tests.clients import TIMEOUT, until

RETRY = b"retry: 3000\n\n"


def own_threads() -> set[threading.Thread]:
    """The threads that are not the package's few and not the test's."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("django_sse")}


@event_stream(groups="a")
async def grouped(request, stream):
    pass


class TestOtherResponses:
    """What is no event stream goes Django's own way."""

    async def test_page(self, asgi):
        """A page is a page."""
        exchange = await asgi.get("/hello/", headers={"accept": "text/html"})
        assert (exchange.status, exchange.body) == (200, b"hello")
        assert exchange.headers["content-length"] == "5"

    async def test_missing_page(self, asgi):
        """A URL that there is not is 404."""
        assert (await asgi.get("/nothing/")).status == 404

    async def test_streaming_response(self, asgi, route):
        """Another streaming response is streamed by Django."""

        async def parts():
            yield b"one "
            yield "two"

        async def view(request):
            return StreamingHttpResponse(parts())

        route("s/", view)
        assert (await asgi.get("/s/")).body == b"one two"

    # Django's own way with files.
    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
    async def test_file(self, asgi, route, tmp_path):
        """A file is sent as a file."""
        path = tmp_path / "file.txt"
        path.write_bytes(b"content")
        route("s/", lambda request: FileResponse(path.open("rb")))
        exchange = await asgi.get("/s/")
        assert exchange.body == b"content"

    async def test_body_of_a_request(self, asgi, route):
        """A request's body is read before the view, in however many pieces."""
        route("s/", lambda request: HttpResponse(request.body))
        assert (await asgi.get("/s/", method="POST", body=b"x" * 100)).body == b"x" * 100

    async def test_client_that_leaves_before_its_request_is_complete(self, app):
        """Nothing is answered then."""
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(StreamClient(app).scope("/hello/"), receive, send)
        assert sent == []

    @pytest.mark.parametrize("kind", ["websocket", "lifespan"])
    async def test_other_protocols(self, app, kind):
        """Django serves HTTP only, and says so."""
        with pytest.raises(ValueError, match=f"only handle ASGI/HTTP connections, not {kind}"):
            await app({"type": kind}, None, None)


class TestRouter:
    @pytest.mark.parametrize("make", [get_asgi_application, get_stock_application])
    async def test_inside_a_protocol_type_router(self, make, route):
        """Beside WebSocket consumers everything works as it does alone."""
        route("s/", grouped)
        client = StreamClient(ProtocolTypeRouter({"http": make()}), timeout=TIMEOUT)
        exchange = await client.open("/s/")
        assert await exchange.next_frame() == RETRY
        await apublish("a", "x")
        assert (await exchange.next_event()).data == "x"
        await client.close()
        assert metrics.streams_open == 0

    def test_application_is_djangos(self):
        """The entry is a handler of Django's, for whatever looks for one."""
        assert isinstance(get_asgi_application(), type(get_stock_application()))
        assert isinstance(get_asgi_application(), EventStreamHandler)


class TestRequestIsOver:
    @pytest.fixture
    def client(self):
        return StreamClient(get_asgi_application(), timeout=TIMEOUT)

    @pytest.fixture
    def finished(self):
        """Counts request_started and request_finished."""
        counts = {"started": 0, "finished": 0}

        def on_started(**kwargs: Any) -> None:
            counts["started"] += 1

        def on_finished(**kwargs: Any) -> None:
            counts["finished"] += 1

        request_started.connect(on_started)
        request_finished.connect(on_finished)
        yield counts
        request_started.disconnect(on_started)
        request_finished.disconnect(on_finished)

    async def test_request_finished_while_the_stream_is_open(self, client, route, finished):
        """Django is done with the request before the first byte of its stream."""
        route("s/", grouped)
        exchange = await client.open("/s/")
        assert finished == {"started": 1, "finished": 1}
        await exchange.next_frame()
        await exchange.disconnected()
        assert finished == {"started": 1, "finished": 1}

    async def test_request_finished_once_for_a_page(self, client, finished):
        """A page's request ends as ever."""
        await client.get("/hello/")
        assert finished == {"started": 1, "finished": 1}

    async def test_cancelled_request(self, client, route, finished):
        """A client that leaves while the view prepares ends the request; the view is cancelled."""
        reached, cancelled = asyncio.Event(), asyncio.Event()

        async def view(request):
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        route("s/", view)
        exchange = client.start("/s/")
        await reached.wait()
        await exchange.disconnected()
        assert cancelled.is_set()
        assert finished == {"started": 1, "finished": 1}


class TestThreads:
    @pytest.mark.parametrize("count", [5])
    async def test_open_streams_hold_no_thread_and_no_connection(
        self, asgi, route, count, log_in, sync, transactional_db
    ):
        """However many logged-in streams are open, their requests' threads are gone."""
        user = await sync(User.objects.create_user, "ada")
        await sync(log_in, asgi, user)

        @event_stream(groups="a")
        async def view(request, stream):
            await stream.send((await request.auser()).username)

        route("s/", view)
        before = own_threads()
        exchanges = [await asgi.open("/s/") for _ in range(count)]
        for exchange in exchanges:
            assert (await exchange.next_event()).data == "ada"
        await until(lambda: own_threads() <= before)

    async def test_orm_in_an_open_stream(self, asgi, route, sync, transactional_db):
        """The ORM works for as long as the stream is open, and lets go each time."""
        ask: asyncio.Queue[str] = asyncio.Queue()

        @event_stream
        async def view(request):
            while True:
                name = await ask.get()
                yield {"exists": await User.objects.filter(username=name).aexists()}

        route("s/", view)
        before = own_threads()
        exchange = await asgi.open("/s/")
        ask.put_nowait("ada")
        assert (await exchange.next_event()).json() == {"exists": False}
        await sync(User.objects.create_user, "ada")
        ask.put_nowait("ada")
        assert (await exchange.next_event()).json() == {"exists": True}
        await until(lambda: own_threads() <= before)
        assert connection.vendor == "sqlite"


class TestDisconnect:
    async def test_exchange_remembers_the_disconnect(self):
        """A server may tell of the disconnect once: whoever asks again hears the same."""
        messages = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            raise AssertionError

        exchange = _Exchange(receive, send)
        types = [(await exchange.receive())["type"] for _ in range(4)]
        assert types == ["http.request", *["http.disconnect"] * 3]

    async def test_disconnect_that_django_hears(self, route, settings, monkeypatch):
        """A disconnect that comes as the response is made ends the stream at once."""
        monkeypatch.setattr("django_sse.lifecycle._UNSERVED_SECONDS", 0)
        streams: list[EventStream] = []
        gone = asyncio.Event()

        @event_stream(groups="a")
        async def view(request, stream):
            streams.append(stream)
            gone.set()

        route("s/", view)
        messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b""}]

        async def receive() -> Any:
            # Each message once, as some servers do; the disconnect when the view has run.
            if len(messages) == 1:
                await gone.wait()
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            pass

        app = get_asgi_application()
        await asyncio.wait_for(app(StreamClient(app).scope("/s/"), receive, send), TIMEOUT)
        await until(lambda: streams[0].reason is not None)
        await until(lambda: get_hub().size == 0)


class TestForeignTasks:
    async def test_task_that_cannot_be_cancelled(self, route):
        """A server with tasks of its own kind, as granian's, is served by one of asyncio's."""

        class OwnTask(asyncio.Task[Any]):
            def cancel(self, msg: Any = None) -> bool:
                raise AssertionError("not to be called")

        route("s/", grouped)
        route("t/", event_stream(short))
        app = get_asgi_application()

        async def run(*args: Any) -> None:
            await OwnTask(app(*args), loop=asyncio.get_running_loop())

        client = StreamClient(run, timeout=TIMEOUT)
        exchange = await client.open("/s/")
        await exchange.next_frame()
        await apublish("a", "x")
        assert (await exchange.next_event()).data == "x"
        assert (await client.get("/t/")).body == RETRY + b"data: 1\n\n"
        await exchange.disconnected()
        await client.close()


async def short(request):
    yield 1


async def test_headers_are_bytes_and_lower_case(route):
    """Headers go out as ASGI wants them, each cookie by itself."""

    async def view(request):
        response = EventStreamResponse(short(request))
        response.headers["X-Mixed-Case"] = "é"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2", httponly=True)
        return response

    route("s/", view)
    client = StreamClient(get_asgi_application(), timeout=TIMEOUT)
    exchange = await client.get("/s/")
    assert (b"x-mixed-case", b"\xe9") in exchange.raw_headers
    cookies = [value for name, value in exchange.raw_headers if name == b"set-cookie"]
    assert cookies == [b"a=1; Path=/", b"b=2; HttpOnly; Path=/"]
    assert all(name == name.lower() for name, _ in exchange.raw_headers)
