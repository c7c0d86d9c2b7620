"""<event-source> and networks: gone, silent, asleep, buffering; and nginx."""

import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.chromium import Chromium
from tests.browser.hearing import Hearing
from tests.browser.processes import Visitors
from tests.browser.relay import Relay
from tests.browser.rows import RowsSite, is_state
from tests.interop.test_nginx import LOCATIONS, Nginx
from tests.servers.client import StreamClient
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers, pytest.mark.faults]

#: How long a page is left idle behind nginx, which gives up after three.
IDLE_SECONDS = int(os.environ.get("TEST_IDLE_SECONDS", "10"))


@pytest.mark.parametrize("query", [{}, {"shared": 1}, {"transport": "fetch"}], ids=str)
async def test_page_misses_nothing_while_it_is_offline(
    site: RowsSite, relay: Relay, visitors: Visitors, query: dict[str, Any]
) -> None:
    """The network's return is enough: no time goes by in which a heartbeat could be missed."""
    page = await visitors.page("about:blank")
    await page.clock.install()
    await page.goto(site.page_url(port=relay.port, **query))
    await is_state(page, "open")
    await site.add()
    await site.is_shown(page)
    await page.clock.pause_at(await page.evaluate("Date.now() + 500"))
    await page.context.set_offline(True)
    relay.silence_streams()
    await site.add()
    await page.context.set_offline(False)
    await is_state(page, "reconnecting")
    await page.clock.run_for(1_000)
    await is_state(page, "open")
    await page.clock.resume()
    await site.is_shown(page)
    visitors.forgive_network_errors()


@pytest.mark.parametrize("query", [{}, {"shared": 1}, {"transport": "fetch"}], ids=str)
async def test_page_notices_that_its_stream_is_silent(
    site: RowsSite, relay: Relay, visitors: Visitors, query: dict[str, Any]
) -> None:
    """A connection that is dead and tells nobody is given up, by its heartbeats."""
    page = await visitors.page(site.page_url(port=relay.port, **query))
    await is_state(page, "open")
    await site.add()
    await site.is_shown(page)
    relay.silence_streams()
    await site.add()
    await site.is_shown(page)


async def test_page_misses_nothing_while_the_computer_sleeps(
    site: RowsSite, relay: Relay, own_chromium: Chromium, owner: Visitors
) -> None:
    """It wakes with a connection that is dead and a token that has expired."""
    page = await owner.page(site.page_url(port=relay.port, signed=1))
    await is_state(page, "open")
    await site.add()
    await site.is_shown(page)
    source = await page.locator("event-source").evaluate("element => element.src")
    own_chromium.send_signal_to_all(signal.SIGSTOP)
    try:
        relay.silence_streams()
        await site.add()
        await eventually(partial(is_refused, site, source.partition(str(relay.port))[2]))
    finally:
        own_chromium.send_signal_to_all(signal.SIGCONT)
    await site.is_shown(page)
    owner.forgive_network_errors()


async def is_refused(site: RowsSite, path: str) -> bool:
    """Tell whether the stream is not to be had."""
    client = await StreamClient.open(site.port, path)
    client.close()
    return client.status == 403


async def test_page_polls_where_a_proxy_holds_streams_back(
    site: RowsSite, relay: Relay, visitors: Visitors
) -> None:
    """The URL's other answer says how far things are, until the stream comes through."""
    relay.holds_back = True
    page = await visitors.page("about:blank")
    await page.clock.install()
    await page.goto(site.page_url("progress-page", port=relay.port, poll=1))
    await is_state(page, "connecting")
    await page.clock.fast_forward(30_000)
    await is_state(page, "polling")
    for _ in range(2):
        await site.add()
        await expect(page.locator("#last")).to_have_text(f'{{"last": {site.published}}}')
    relay.holds_back = False
    await is_state(page, "open")
    await site.add(1)
    await expect(page.locator("#last")).to_have_text(str(site.published))


@pytest.fixture(params=LOCATIONS)
async def nginx(
    request: pytest.FixtureRequest, site: RowsSite, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Nginx]:
    """An nginx in front of the site."""
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), site.port, LOCATIONS[request.param])
    yield await nginx.ready()
    nginx.stop()


@pytest.mark.parametrize("server_kind", ["daphne"])
async def test_idle_page_keeps_its_connection_behind_nginx(
    site: RowsSite, nginx: Nginx, visitors: Visitors
) -> None:
    """Idle for several times proxy_read_timeout, and then a row: all by one connection."""
    page = await visitors.page("about:blank")
    hearing = await Hearing.of(page)
    await page.goto(site.page_url(port=nginx.port))
    await hearing.has("heartbeat", IDLE_SECONDS, within=60 + 2 * IDLE_SECONDS)
    await site.is_shown(page)
    assert hearing.requests == 1
