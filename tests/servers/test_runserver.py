"""The development server: ``manage.py runserver``, daphne's, with the files it serves beside."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.client import StreamClient
from tests.servers.processes import ROOT, Server
from tests.servers.waiting import eventually

pytestmark = pytest.mark.servers

OpenStream = Callable[..., Awaitable[StreamClient]]
RunServer = Callable[..., Server]

KINDS = ("generator", "handler", "tasked", "grouped")
NOTES = [
    *("closed generator", "finally generator", "closed handler", "on_close handler"),
    *("closed tasked", "finally tasked", "on_close tasked", "closed grouped"),
]


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A module that the project imports, and so the reloader watches."""
    path = tmp_path / "watched_by_the_reloader.py"
    path.write_text("")
    return path


@pytest.fixture
def runserver(tmp_path: Path, watched: Path) -> Iterator[RunServer]:
    """Return a function that starts ``manage.py runserver`` with more arguments."""
    servers: list[Server] = []

    def run(entry: str, *arguments: str) -> Server:
        command = "tests.servers.site.manage runserver 127.0.0.1:{port} " + " ".join(arguments)
        server = Server(
            f"runserver-{entry}",
            command,
            tmp_path,
            settings={"DEBUG": True, "ASGI_APPLICATION": f"tests.servers.site.asgi.{entry}"},
            environment={
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(watched.parent)]),
                "SITE_WATCHED": watched.stem,
                "SITE_EXIT_SECONDS": "20",  # Nothing is cut short because the machine is slow.
            },
        )
        servers.append(server)
        return server

    yield run
    for server in servers:
        server.stop()


async def _open_streams(server: Server, open_stream: OpenStream) -> list[StreamClient]:
    streams = []
    for kind in KINDS:
        stream = await open_stream(server, f"/{kind}/{kind}/")
        assert (await stream.next_frame()).startswith(b"retry: 3000\n")
        if kind != "grouped":
            assert (await stream.next_event())["event"] == "opened"
        streams.append(stream)
    return streams


async def _end_with_retry(streams: list[StreamClient]) -> None:
    for stream in streams:
        # Where another request was in hand daphne hangs up before the end of the response.
        assert re.fullmatch(rb"retry: \d+\n\n", b"".join(await stream.rest(whole=False)))


@pytest.mark.parametrize("entry", ["application", "stock", "routed"])
async def test_runserver_delivers_events_beside_static_files(
    runserver: RunServer, open_stream: OpenStream, entry: str
) -> None:
    """Inside ASGIStaticFilesHandler streams live as elsewhere, and files are served."""
    server = await runserver(entry, "--noreload").ready()
    streams = await _open_streams(server, open_stream)
    assert (await server.get("/static/page.txt")).body == b"served as a file\n"
    await server.get("/publish/?first=5&count=2")
    for stream in streams:
        assert [(await stream.next_event())["data"] for _ in range(2)] == ["5", "6"]
    server.send_signal(signal.SIGTERM)
    await _end_with_retry(streams)
    await server.gone()
    assert server.journal == sorted(NOTES)


@pytest.mark.parametrize("entry", ["application", "stock"])
async def test_runserver_reloads_with_streams_open(
    runserver: RunServer, open_stream: OpenStream, watched: Path, entry: str
) -> None:
    """A changed file ends the streams, with all their cleanup, and the new process serves."""
    server = await runserver(entry).ready()
    pid = (await server.state())["pid"]
    streams = await _open_streams(server, open_stream)
    ends = asyncio.create_task(_end_with_retry(streams))
    while not ends.done():  # The reloader looks once a second, and first at what there is.
        watched.write_text(f"changed = {time.monotonic_ns()}\n")
        await asyncio.wait([ends], timeout=1.2)
    await ends
    await server.noted(*NOTES)
    assert server.journal == sorted(NOTES)

    async def serves_anew() -> bool:
        try:
            return (await server.state())["pid"] != pid
        except ConnectionError:
            return False

    await eventually(serves_anew)
    stream = await open_stream(server, "/handler/handler/")
    assert (await stream.next_event())["data"] == "handler"


@pytest.mark.parametrize("entry", ["application", "stock"])
async def test_runserver_with_reloader_ends_streams_at_ctrl_c(
    runserver: RunServer, open_stream: OpenStream, entry: str
) -> None:
    """Ctrl-C, which the terminal sends to both processes, ends the streams and the server."""
    server = await runserver(entry).ready()
    streams = await _open_streams(server, open_stream)
    server.send_signal_to_all(signal.SIGINT)
    await _end_with_retry(streams)
    await server.gone()
    assert server.journal == sorted(NOTES)
