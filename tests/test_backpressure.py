"""Making daphne's send wait: with stand-ins for Twisted's parts, and with a real daphne."""

import asyncio
import contextlib
import contextvars
import datetime
import gc
import logging
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import tcp

from django_sse import backpressure
from django_sse.backpressure import waiting
from django_sse.driver import Driver
from django_sse.types import Message, Send
from tests.clients import TIMEOUT
from tests.servers import processes
from tests.servers.client import connect
from tests.servers.waiting import eventually
from tests.services import free_port


class Deferred:
    """One that calls what was added, as Twisted's does."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[object], object]] = []

    def addBoth(self, callback: Callable[[object], object]) -> None:
        self.callbacks.append(callback)


class Channel:
    """A connection, which has one producer and a mark; over it each write pauses."""

    def __init__(self, mark: int = 10) -> None:
        self.mark = mark
        self.unwritten = 0
        self.producer: Any = None
        self._waitingForTransport = False
        self.transport: Any = None

    def write(self, data: bytes) -> None:
        self.unwritten += len(data)
        if self.unwritten > self.mark:
            self._waitingForTransport = True
            if self.producer is not None:
                self.producer.pauseProducing()

    def drain(self) -> None:
        """Write everything out, as when the client reads on."""
        self.unwritten, self._waitingForTransport = 0, False
        if self.producer is not None:
            self.producer.resumeProducing()


class Request:
    """Daphne's protocol: a request of Twisted's."""

    def __init__(self, channel: Channel) -> None:
        self.channel: Channel | None = channel
        self.finished = False
        self.errors: list[str] = []
        self.producer: Any = None
        self.notifications: list[Deferred] = []
        self.messages: list[Message] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.channel is not None
        assert streaming
        if self.channel.producer is not None:
            raise RuntimeError("never unregistered")
        self.producer = self.channel.producer = producer

    def unregisterProducer(self) -> None:
        assert self.channel is not None
        self.producer = self.channel.producer = None

    def notifyFinish(self) -> Deferred:
        self.notifications.append(Deferred())
        return self.notifications[-1]

    def handle_reply(self, message: Message) -> None:
        if self.finished or self.channel is None:
            return
        self.messages.append(message)
        self.channel.write(message.get("body", b""))
        if not message.get("more_body", False):
            self.finish()

    def finish(self) -> None:
        if self.producer is not None:
            self.errors.append("Producer was not unregistered")
            self.unregisterProducer()
        self.finished = True
        self.channel = None
        self._notify(None)

    def lose(self) -> None:
        """Be told that the client has gone."""
        channel, self.channel = self.channel, None
        if channel is not None and channel.producer is not None:
            channel.producer.stopProducing()
        self._notify(ConnectionResetError())

    def _notify(self, result: object) -> None:
        notifications, self.notifications = self.notifications, []
        for deferred in notifications:
            for callback in deferred.callbacks:
                assert callback(result) is None, "A failure that is passed on is logged."


class Server:
    """Daphne's server, as far as a send knows it."""

    async def handle_reply(self, request: Request, message: Message) -> None:
        request.handle_reply(message)


Server.handle_reply.__module__ = "daphne.server"


def opened(channel: Channel | None = None) -> tuple[Request, Send]:
    """Return a request, and daphne's send for it."""
    request = Request(channel or Channel())
    return request, partial(Server().handle_reply, request)


def body(data: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


MUCH = b"more than the mark"


async def begin(awaitable: Awaitable[None]) -> "asyncio.Task[None]":
    """Return a task that has gone as far as it gets by itself."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def ends_in_its_first_step(awaitable: Awaitable[None]) -> bool:
    try:
        next(awaitable.__await__())
    except StopIteration:
        return True
    return False


@pytest.fixture(autouse=True)
def _nothing_warned_of() -> Iterator[None]:
    backpressure._warn_once.cache_clear()
    yield
    backpressure._warn_once.cache_clear()


class Reactor:
    """Twisted's loop, as far as a transport that writes knows it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def addWriter(self, writer: object) -> None:
        self.calls.append("watch")

    def removeWriter(self, writer: object) -> None:
        pass


class Wire(Channel):
    """A connection over a real transport of Twisted's; the client's end is *client*."""

    def __init__(self, **options: int) -> None:
        super().__init__(mark=10**9)
        ours, self.client = socket.socketpair()
        self.client.settimeout(TIMEOUT)
        self.reactor = cast(Any, Reactor())
        protocol: Any = None
        for name, value in options.items():
            ours.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self.transport = tcp.Connection(ours, protocol, self.reactor)
        self.transport.connected = True

    def write(self, data: bytes) -> None:
        self.transport.writeSequence([data])

    def close(self) -> None:
        self.client.close()
        self.transport.socket.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A connection whose system takes no more than some kilobytes before they are read."""
    wire = Wire(SO_SNDBUF=4096)
    yield wire
    wire.close()


async def test_event_is_written_at_once(wire: Wire) -> None:
    """The system is asked to watch nothing."""
    _, raw = opened(wire)
    send = waiting(raw)
    for number in range(3):
        await send(body(b"event %d;" % number))
    assert wire.client.recv(100) == b"event 0;event 1;event 2;"
    assert wire.reactor.calls == []
    assert "startWriting" not in vars(wire.transport)


async def test_what_the_system_does_not_take_is_left_to_twisted(wire: Wire) -> None:
    """It goes on when there is room, and what comes meanwhile is behind it."""
    _, raw = opened(wire)
    send = waiting(raw)
    await send(body(b"a" * 1_000_000))
    assert wire.reactor.calls == ["watch"]
    await send(body(b"b"))
    received = b""
    while len(received) < 1_000_001:
        received += wire.client.recv(65_536)
        wire.transport.doWrite()  # As the reactor does when there is room.
    assert received == b"a" * 1_000_000 + b"b"
    wire.reactor.calls.clear()
    await send(body(b"c"))
    assert wire.client.recv(10) == b"c"
    assert wire.reactor.calls == []


async def test_broken_connection_is_left_to_twisted(wire: Wire) -> None:
    """It finds out for itself what has happened, and tells everybody."""
    _, raw = opened(wire)
    send = waiting(raw)
    wire.client.close()
    await send(body(b"x"))
    assert wire.reactor.calls == ["watch"]


async def test_end_of_a_response_is_twisteds(wire: Wire) -> None:
    """It may close the connection, or take the next request from it."""
    request, raw = opened(wire)
    send = waiting(raw)
    await send(body(b"the last", more=False))
    assert wire.reactor.calls == ["watch"]
    assert request.finished


async def test_send_of_other_servers_is_returned_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Theirs wait already: a function, a partial, or an object without a module to its name."""

    async def send(message: Message) -> None: ...

    class Nameless:
        __module__ = None  # type: ignore[assignment]

        async def __call__(self, message: Message) -> None: ...

    sends: list[Send] = [send, partial(send), Nameless()]
    assert [waiting(each) for each in sends] == sends
    assert not caplog.records


async def test_send_with_room_ends_in_its_first_step() -> None:
    """The driver needs no task for it, and the bytes are with the transport."""
    request, raw = opened()
    send = waiting(raw)
    assert send is not raw
    assert ends_in_its_first_step(send(body(b"1")))
    assert ends_in_its_first_step(send(body(b"2")))
    assert [message["body"] for message in request.messages] == [b"1", b"2"]


async def test_send_waits_until_the_client_has_read() -> None:
    """What goes over the mark is written, and its send is done when there is room again."""
    channel = Channel()
    request, raw = opened(channel)
    task = await begin(waiting(raw)(body(MUCH)))
    assert request.messages == [body(MUCH)]
    assert not task.done()
    channel.drain()
    await asyncio.wait_for(task, TIMEOUT)


async def test_send_that_the_driver_began_waits_and_goes_on() -> None:
    """The first step by hand, the rest in the carrier's task."""
    channel = Channel()
    _, raw = opened(channel)
    send, driver = waiting(raw), Driver(asyncio.get_running_loop(), contextvars.Context())
    tasks: list[asyncio.Task[None] | None] = []

    class Owner:
        async def go_on(self, rest: Awaitable[None]) -> None:
            await rest

    driver.run(lambda: tasks.append(driver.start(send(body(b"1")), Owner())))
    driver.run(lambda: tasks.append(driver.start(send(body(MUCH)), Owner())))
    driver.close()
    none, task = tasks
    assert none is None
    assert task is not None
    channel.drain()
    await asyncio.wait_for(task, TIMEOUT)


async def test_send_after_a_cancelled_one_waits_before_it_writes() -> None:
    """A caller that gives up waiting, again and again, does not fill the memory that way."""
    channel = Channel()
    request, raw = opened(channel)
    send = waiting(raw)
    for _ in range(3):
        task = await begin(send(body(MUCH)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(request.messages) == 1
    later = await begin(send(body(b"later")))
    assert len(request.messages) == 1
    channel.drain()
    await asyncio.wait_for(later, TIMEOUT)
    assert request.messages[-1] == body(b"later")


async def test_cancelling_one_of_two_sends_leaves_the_other_waiting() -> None:
    """They do not wait for the same future."""
    channel = Channel()
    _, raw = opened(channel)
    send = waiting(raw)
    first, second = await begin(send(body(MUCH))), await begin(send(body(b"2")))
    first.cancel()
    await asyncio.wait([first])
    assert not second.done()
    channel.drain()
    await asyncio.wait_for(second, TIMEOUT)


async def test_final_body_is_sent_with_no_producer_registered() -> None:
    """Twisted logs an error otherwise; it need not be read before the send is done."""
    channel = Channel()
    request, raw = opened(channel)
    assert ends_in_its_first_step(waiting(raw)(body(MUCH, more=False)))
    assert request.finished
    assert request.errors == []
    assert channel.producer is None


async def test_final_body_waits_for_room() -> None:
    """It comes behind what is unwritten, so it is bounded too."""
    channel = Channel()
    request, raw = opened(channel)
    send = waiting(raw)
    sends = [await begin(send(body(MUCH))), await begin(send(body(MUCH, more=False)))]
    assert not request.finished
    channel.drain()
    await asyncio.wait_for(asyncio.gather(*sends), TIMEOUT)
    assert request.finished
    assert request.errors == []


async def test_start_of_a_response_does_not_end_it() -> None:
    """Only a body without more_body does."""
    request, raw = opened()
    assert ends_in_its_first_step(waiting(raw)({"type": "http.response.start", "more_body": True}))
    assert request.producer is not None


@pytest.mark.parametrize("end", [Request.lose, Request.finish], ids=["client", "daphne"])
async def test_waiting_send_is_let_go_at_the_end(end: Callable[[Request], None]) -> None:
    """The client has left, or daphne ends the response by its --http-timeout."""
    request, raw = opened()
    send = waiting(raw)
    task = await begin(send(body(MUCH)))
    assert not task.done()
    end(request)
    await asyncio.wait_for(task, TIMEOUT)
    # What comes then is daphne's to drop; the request has no connection to unregister from.
    assert ends_in_its_first_step(send(body(MUCH)))
    assert ends_in_its_first_step(send(body(more=False)))


async def test_pause_after_the_end_holds_nothing() -> None:
    """Twisted may be late to say so."""
    request, raw = opened()
    send = waiting(raw)
    producer = request.producer
    request.lose()
    producer.pauseProducing()
    assert ends_in_its_first_step(send(body()))


@pytest.mark.parametrize("end", [Request.lose, Request.finish], ids=["client", "daphne"])
async def test_send_of_a_response_that_has_ended_is_left_as_it_is(
    end: Callable[[Request], None], caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to wait for, and nothing to tell."""
    request, send = opened()
    end(request)
    assert waiting(send) is send
    assert not caplog.records


async def test_responses_of_one_connection_wait_one_after_the_other() -> None:
    """Each unregisters before the next registers; one that begins on a full one waits at once."""
    channel = Channel()
    first, raw = opened(channel)
    send = waiting(raw)
    assert ends_in_its_first_step(send(body(b"1")))
    assert ends_in_its_first_step(send(body(MUCH, more=False)))
    second, raw = opened(channel)
    send = waiting(raw)
    task = await begin(send(body(b"2")))
    assert second.messages == []
    channel.drain()
    await asyncio.wait_for(task, TIMEOUT)
    assert second.messages == [body(b"2")]
    assert first.errors == second.errors == []


async def test_request_is_freed_without_the_garbage_collector() -> None:
    """Neither the room nor the send is part of a circle."""
    request, raw = opened()
    send = waiting(raw)
    room = request.producer
    request.lose()
    gone = weakref.ref(request)
    gc.disable()
    try:
        del request, raw, send
        assert gone() is None
        assert room.is_over
    finally:
        gc.enable()


class _Changed(Request):
    """A request of a Twisted or a daphne to come."""

    registerProducer = None  # type: ignore[assignment]


async def _other_send(message: Message) -> None: ...


_other_send.__module__ = "daphne.server"


@pytest.mark.parametrize(
    "send",
    [
        _other_send,
        partial(Server().handle_reply),
        partial(Server().handle_reply, object()),  # type: ignore[arg-type]
        partial(Server().handle_reply, _Changed(Channel())),
    ],
    ids=["a function", "no request", "no twisted request", "no producers"],
)
async def test_changed_daphne_is_left_alone_with_one_warning(
    send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    """Streams work as before, and the log says once that they are not held back."""
    with caplog.at_level(logging.WARNING, "django.sse"):
        assert waiting(send) is send
        assert waiting(send) is send
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("django.sse", logging.WARNING)
    assert "Daphne's insides are not as expected" in record.getMessage()


async def test_request_that_has_a_producer_already_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another one's registration stays, and daphne's send with it."""
    request, raw = opened()
    other = object()
    request.registerProducer(other, True)
    assert waiting(raw) is raw
    assert request.producer is other
    assert len(caplog.records) == 1


EVENTS = 80  # Of 100 kB each: more than the system's own buffers take.


@pytest.fixture(scope="module")
def daphne(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[processes.Server, int]]:
    """Start a daphne that tells what Twisted logs; return it, and its port for TLS."""
    folder, tls_port = tmp_path_factory.mktemp("daphne"), free_port()
    certificate = _certificate(folder)
    server = processes.Server(
        "daphne",
        f"daphne -v 2 -b 127.0.0.1 -p {{port}} -e ssl:{tls_port}:interface=127.0.0.1"
        f":privateKey={certificate}:certKey={certificate} tests.servers.site.asgi:application",
        folder,
        settings={"DJANGO_SSE": {"QUEUE_MAX_BYTES": 100_000_000, "SEND_TIMEOUT_SECONDS": 3600}},
    )
    yield server, tls_port
    server.stop()


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(pem, form, none) + signed.public_bytes(pem))
    return path


@contextlib.asynccontextmanager
async def _asked(
    port: int, *paths: str, context: ssl.SSLContext | None = None
) -> AsyncIterator[asyncio.StreamReader]:
    """Ask for *paths* on one connection, one behind the other; it holds little unread."""
    reader, writer = await asyncio.open_connection(
        sock=await connect(port, receive_buffer=4096),
        ssl=context,
        server_hostname="127.0.0.1" if context else None,
        limit=200_000,
    )
    try:
        for path in paths:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        yield reader
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read_events(reader: asyncio.StreamReader, count: int) -> None:
    """Read the beginnings of *count* events, with all that is between them."""
    async with asyncio.timeout(4 * TIMEOUT):
        for number in range(count):
            await reader.readuntil(b"data: ")
            expected = f"{number % EVENTS}.".encode()
            assert await reader.readexactly(len(expected)) == expected


async def _waits(server: processes.Server, count: int) -> bool:
    return bool((await server.state())["waiting"] == count)


@pytest.mark.servers
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
async def test_real_daphne_holds_a_stream_back_and_goes_on(
    daphne: tuple[processes.Server, int], is_secure: bool
) -> None:
    """A stream waits for a client that does not read, and sends all of it when it does."""
    server, port = daphne[0], daphne[0].port
    await server.ready()
    context = None
    if is_secure:
        port = daphne[1]
        context = ssl.create_default_context(cafile=server.output_path.parent / "certificate.pem")
        context.check_hostname = False
    async with _asked(port, "/grouped/slow/", context=context) as reader:
        await reader.readuntil(b"retry: ")
        await server.get(f"/publish/?count={EVENTS}&padding=100000")
        await eventually(partial(_waits, server, 1))
        await _read_events(reader, EVENTS)
        await eventually(partial(_waits, server, 0))
    assert "Producer" not in server.output


@pytest.mark.servers
async def test_real_daphne_holds_back_pipelined_streams_one_after_the_other(
    daphne: tuple[processes.Server, int],
) -> None:
    """Two streams that end, and a page, come whole and in order, and Twisted logs no error."""
    server = await daphne[0].ready()
    async with _asked(server.port, "/long/first/", "/long/second/", "/ready/") as reader:
        await eventually(partial(_waits, server, 1))
        await _read_events(reader, 2 * EVENTS)
        async with asyncio.timeout(TIMEOUT):
            await reader.readuntil(b"\r\n\r\nready")
    await server.noted("closed first", "closed second")
    assert "Producer" not in server.output


@pytest.mark.servers
async def test_client_that_leaves_a_real_daphne_while_its_stream_waits_is_noticed(
    daphne: tuple[processes.Server, int],
) -> None:
    """The waiting send is let go, and the view's code ends."""
    server = await daphne[0].ready()
    async with _asked(server.port, "/tasked/leaving/") as reader:
        await reader.readuntil(b"data: leaving")
        await server.get(f"/publish/?count={EVENTS}&padding=100000")
        await eventually(partial(_waits, server, 1))
    await server.noted("finally leaving", "closed leaving")
    assert "Producer" not in server.output
