"""curl, as people and scripts use it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_sse.testing.frames import fields_of
from tests.interop.events import Event, events
from tests.interop.sites import Site, gets
from tests.servers.processes import Process
from tests.services import require_program

pytestmark = [pytest.mark.redis, pytest.mark.faults]


class Curl(Process):
    """``curl --no-buffer``; what it prints goes to a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        curl = require_program("curl")
        super().__init__("curl", [curl, "--silent", "--no-buffer", *arguments], folder)

    def frames(self) -> list[dict[str, str]]:
        """Return the fields of each frame that has come whole."""
        frames = self.output_path.read_bytes().split(b"\n\n")[:-1]
        return [dict(fields_of(frame)) for frame in frames]

    def received(self) -> list[Event]:
        """Return the events."""
        return [(f.get("event", "message"), f["data"]) for f in self.frames() if "data" in f]

    @property
    def last_event_id(self) -> str:
        """The last id that it has printed."""
        return [fields["id"] for fields in self.frames() if "id" in fields][-1]


@pytest.fixture
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Curl]]:
    """Return a function that runs curl."""
    started: list[Curl] = []

    def run(*arguments: str) -> Curl:
        started.append(Curl(tmp_path_factory.mktemp("curl"), *arguments))
        return started[-1]

    yield run
    for process in started:
        process.stop()


async def test_curl_goes_on_by_the_header(site: Site, curl: Callable[..., Curl]) -> None:
    """The last id that it has printed, given to the next as Last-Event-ID, misses nothing."""
    received: list[Event] = []
    url, header = site.url + site.path, ["--header", "Accept: text/event-stream"]
    for first in (0, 5, 10):
        reader = curl(*header, url)
        await site.has_streams()
        await site.publish(first, 2)
        await gets(reader.received, 5 if first else 2)
        await site.kill()
        await reader.gone()
        received += reader.received()
        header = ["--header", f"Last-Event-ID: {reader.last_event_id}"]
        await site.publish(first + 2, 3)
        await site.start()
    # The id of the opening counts as well: that of a stream which has had no event.
    reader = curl(*header, url)
    await gets(reader.received, 3)
    received += reader.received()
    assert received == events(*range(15))


async def test_curl_head_gets_the_headers_alone(site: Site) -> None:
    """``curl --head`` ends at once: no stream is opened for it."""
    command = [require_program("curl"), "--silent", "--head", site.url + site.path]
    head = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    status, *fields = head.strip().splitlines()
    assert status.split()[1] == "200"
    assert "content-type: text/event-stream" in [field.lower() for field in fields]
    assert (await site.server.state())["streams_opened"] == 0
