"""The end of a real server's process while streams are open."""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import ENTRIES, LEAVES_WITHIN, SERVERS, Server
from tests.servers.waiting import eventually

pytestmark = pytest.mark.servers

OpenStream = Callable[..., Awaitable[StreamClient]]
StartServer = Callable[..., Server]

NOTES = {
    "generator": ["finally", "closed"],
    "handler": ["on_close", "closed"],
    "tasked": ["finally", "on_close", "closed"],
    "grouped": ["closed"],
}
STREAMS = 20
#: Nothing is cut short because the machine is slow.
PATIENT = {"SITE_EXIT_SECONDS": "20"}


def ends_whole(kind: str, entry: str) -> bool:
    """Whether responses end as HTTP says: daphne does not always wait for Django's own handler."""
    return (kind, entry) != ("daphne", "stock")


async def _open_streams(server: Server, open_stream: OpenStream) -> dict[str, StreamClient]:
    kinds = list(NOTES)
    streams = {}
    for n in range(STREAMS):
        kind = kinds[n % len(kinds)]
        stream = streams[f"{kind}-{n}"] = await open_stream(server, f"/{kind}/{kind}-{n}/")
        assert (await stream.next_frame()).startswith(b"retry: ")
        if kind != "grouped":
            assert (await stream.next_event())["event"] == "opened"
    return streams


def _notes_of(names: "list[str] | dict[str, StreamClient]") -> list[str]:
    return sorted(f"{note} {name}" for name in names for note in NOTES[name.partition("-")[0]])


@pytest.mark.parametrize(
    ("entry", "number"),
    [*((entry, signal.SIGTERM) for entry in ENTRIES), (ENTRIES[0], signal.SIGINT)],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
@pytest.mark.parametrize("kind", SERVERS)
async def test_first_signal_ends_streams_and_process(
    start_server: StartServer, open_stream: OpenStream, kind: str, entry: str, number: int
) -> None:
    """Each of 20 streams ends whole, with a retry; all cleanup runs; the process goes."""
    server = await start_server(kind, entry=entry, environment=PATIENT).ready()
    streams = await _open_streams(server, open_stream)
    server.send_signal(number)
    rests = (stream.rest(whole=ends_whole(kind, entry)) for stream in streams.values())
    ends = await asyncio.gather(*rests)
    await server.gone()
    retries = [int(re.fullmatch(rb"retry: (\d+)\n\n", b"".join(end)).group(1)) for end in ends]  # type: ignore[union-attr]
    assert all(3000 <= retry <= 6000 for retry in retries)
    assert len(set(retries)) > STREAMS / 2, "All clients would come back in one moment."
    assert server.journal == _notes_of(streams)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", SERVERS)
async def test_stream_opened_while_going_down_is_sent_away(
    start_server: StartServer, open_stream: OpenStream, kind: str, entry: str
) -> None:
    """A request that the signal overtakes is answered 200 with a long retry, or not at all."""
    server = await start_server(kind, entry=entry).ready()
    await open_stream(server, "/generator/generator-0/")
    opening = asyncio.ensure_future(open_stream(server, "/late/late-1/"))
    await server.noted("waiting late-1")
    server.send_signal(signal.SIGTERM)
    if kind == "daphne":  # It cancels its requests at once.
        with pytest.raises(ConnectionError):
            await opening
    else:
        stream = await opening
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        found = re.fullmatch(rb"retry: (\d+)\n\n", await stream.body())
        assert found is not None
        assert int(found.group(1)) >= 15_000
    await server.gone()


# Under granian's own tasks Django's own handler never ends, and with it now and then the process.
STALLED_COMBINATIONS = [
    (kind, entry)
    for kind in SERVERS
    for entry in ENTRIES
    if (kind, entry) != ("granian-rust", "stock")
]


@pytest.mark.parametrize(("kind", "entry"), STALLED_COMBINATIONS)
async def test_client_that_does_not_read_does_not_hold_the_process(
    start_server: StartServer, open_stream: OpenStream, kind: str, entry: str
) -> None:
    """All cleanup runs, the others' streams end whole, and the process goes."""
    settings = {"DJANGO_SSE": {"QUEUE_MAX_BYTES": 100_000_000, "SEND_TIMEOUT_SECONDS": 3600}}
    server = await start_server(kind, entry=entry, settings=settings).ready()
    names = ["grouped-0", "generator-1", "tasked-2"]
    paths = [f"/{name.partition('-')[0]}/{name}/" for name in names]
    for path in paths:
        await open_stream(server, path, receive_buffer=4096)
    # More than the system's own buffers take. Daphne's own send has no bound, so none waits there.
    await server.get("/publish/?count=80&padding=100000")
    if (kind, entry) != ("daphne", "stock"):
        await eventually(partial(_waiting, server, len(names)))
    await eventually(partial(_has_handed_out, server, 80))
    other = await open_stream(server, "/handler/handler-3/")
    assert (await other.next_event())["event"] == "opened"
    server.send_signal(signal.SIGTERM)
    end = b"".join(await other.rest(whole=ends_whole(kind, entry)))
    # Some of what was published just before it opened may come to it, too.
    assert re.search(rb"(^|\n)retry: \d+\n\n$", end)
    await server.gone(within=2 * LEAVES_WITHIN)  # Granian's worker may have to be killed.
    assert server.journal == _notes_of([*names, "handler-3"])


@pytest.mark.parametrize("kind", SERVERS)
async def test_client_that_does_not_read_is_given_up(
    start_server: StartServer, open_stream: OpenStream, kind: str
) -> None:
    """After SEND_TIMEOUT_SECONDS its stream ends, with all cleanup, and its connection is cut."""
    # Each heartbeat's time is when a stream is looked at.
    seconds = {"SEND_TIMEOUT_SECONDS": 0.5, "HEARTBEAT_SECONDS": 0.5}
    settings = {"DJANGO_SSE": {"QUEUE_MAX_BYTES": 100_000_000, **seconds}}
    server = await start_server(kind, settings=settings).ready()
    stalled = await open_stream(server, "/tasked/tasked-0/", receive_buffer=4096)
    await server.get("/publish/?count=80&padding=100000")
    await server.noted(*_notes_of(["tasked-0"]))
    with pytest.raises(ConnectionResetError):
        await stalled.rest()
    await eventually(partial(_has_no_streams, server))


async def _waiting(server: Server, count: int) -> bool:
    return (await server.state())["waiting"] == count


async def _has_no_streams(server: Server) -> bool:
    return (await server.state())["streams_open"] == 0


async def _has_handed_out(server: Server, count: int) -> bool:
    state = await server.state()
    return state["events_received"] + state["events_healed"] >= count
