"""npm's eventsource, on Node.js."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.interop.events import NAMES, Event, events
from tests.interop.sites import Site, gets, misses_nothing
from tests.servers.processes import Process
from tests.services import require_node

pytestmark = [pytest.mark.node, pytest.mark.redis, pytest.mark.faults]

SCRIPT = Path(__file__).parent / "eventsource.mjs"


class NodeReader(Process):
    """A process that reads one stream."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__("eventsource", [require_node(), str(SCRIPT), url, *NAMES], folder)

    def received(self) -> list[Event]:
        """Return what it has got."""
        return [tuple(json.loads(line)) for line in self.output.split("\n")[:-1]]


@pytest.fixture
def read(npm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a reader of a URL."""
    readers: list[NodeReader] = []

    def start(url: str) -> NodeReader:
        readers.append(NodeReader(url, tmp_path_factory.mktemp("reader")))
        return readers[-1]

    yield start
    for reader in readers:
        reader.stop()


async def test_eventsource_misses_nothing(site: Site, read: Callable[..., NodeReader]) -> None:
    """It has every event once, in order, over two killed servers."""
    reader = read(site.url + site.path)
    await site.has_streams()
    await misses_nothing(site, reader.received)


async def test_eventsource_misses_nothing_before_its_first_event(
    site: Site, read: Callable[..., NodeReader]
) -> None:
    """
    It reads ids of events only: one in the URL says where it stands until it has got one.

    From then on its own id counts and not the URL's, so that nothing comes again.
    """
    reader = read(f"{site.url}{site.path}?last_event_id={quote(await site.id_now())}")
    await site.has_streams()
    for first in (0, 5):
        await site.kill()
        await site.publish(first)
        await site.start()
        await gets(reader.received, first + 5)
    await site.publish(10, 1)
    await gets(reader.received, 11)
    assert reader.received() == events(*range(11))
