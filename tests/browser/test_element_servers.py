"""<event-source> and servers that die, are replaced, and forget."""

import signal
from functools import partial
from typing import Any

import pytest

from tests.browser.processes import Visitors
from tests.browser.relay import Relay
from tests.browser.rows import RowsSite, is_state
from tests.servers.processes import Server
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers, pytest.mark.faults]

#: What an element may be told of how to reach its stream.
MEANS: dict[str, dict[str, Any]] = {
    "native": {},
    "fetch": {"transport": "fetch"},
    "shared": {"shared": 1},
    "signed": {"signed": 1},
}


async def has_a_stream(server: Server) -> bool:
    """Tell whether a stream is open at *server*."""
    return bool((await server.state())["streams_open"])


@pytest.mark.parametrize("server_kind", ["daphne", "uvicorn-uvloop"])
@pytest.mark.parametrize("means", MEANS)
async def test_page_misses_nothing_when_its_server_is_killed(
    site: RowsSite, visitors: Visitors, means: str
) -> None:
    """Killed before the first event and again in the midst, and away while more are published."""
    page = await visitors.page(site.page_url(**MEANS[means]))
    await is_state(page, "open")
    for _ in range(2):
        await site.kill()
        await is_state(page, "reconnecting")
        await site.add()
        await site.start()
        await is_state(page, "open")
        await site.add()
    await site.is_shown(page)
    visitors.forgive_network_errors()


async def test_page_misses_nothing_when_its_worker_is_replaced(
    site: RowsSite,
    relay: Relay,
    visitors: Visitors,
    site_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A new worker takes over from one that is told to go, while a row comes after the other."""
    page = await visitors.page(site.page_url(port=relay.port))
    await is_state(page, "open")
    folder = tmp_path_factory.mktemp("successor")
    successor = Server.of("uvicorn-uvloop", folder, settings=site_settings)
    try:
        await successor.ready()
        async with site.adding():
            relay.upstream = successor.port
            site.server.send_signal(signal.SIGTERM)
            await site.server.gone()
            await eventually(partial(has_a_stream, successor))
        await site.is_shown(page)
    finally:
        successor.stop()
