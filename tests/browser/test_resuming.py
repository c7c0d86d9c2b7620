"""Chromium's own EventSource, and workers that die: what a page gets."""

import secrets
import signal
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.processes import Visitors
from tests.servers.processes import Server
from tests.services import require_redis

pytestmark = [pytest.mark.browser, pytest.mark.redis]

LISTEN = """
path => {
    window.data = []
    window.resets = []
    window.source = new EventSource(path)
    window.source.onmessage = event => window.data.push(event.data)
    window.source.addEventListener("reset", event => window.resets.push(event.data))
    return new Promise(resolve => { window.source.onopen = () => resolve(true) })
}
"""


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that starts a worker of one site, on a new port or on the one given."""
    layer = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [require_redis()], "prefix": f"browser-{secrets.token_hex(4)}"},
    }
    settings = {"CHANNEL_LAYERS": {"default": layer}, "DJANGO_SSE": {"RECONNECTION_TIME_MS": 200}}
    servers: list[Server] = []

    def start_one(port: int | None = None) -> Server:
        folder = tmp_path_factory.mktemp("worker")
        servers.append(Server.of("uvicorn-uvloop", folder, port=port, settings=settings))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


async def has(page: Page, count: int) -> None:
    """Wait until the page has had *count* events."""
    await page.wait_for_function("count => window.data.length >= count", arg=count)


async def test_page_misses_nothing_while_its_worker_is_dead(
    start: Any, visitors: Visitors
) -> None:
    """Killed before the first event, and again in the midst: each event once, in order."""
    first, other = start(), start()
    await first.ready()
    await other.ready()
    page = await visitors.page(f"http://127.0.0.1:{first.port}/ready/")
    await page.evaluate(LISTEN, "/grouped/page/")
    # The headers are there. Behind another answer the first id has been written too: a client that
    # has got none cannot say what it misses.
    await first.state()
    for begin in (0, 10):
        first.send_signal(signal.SIGKILL)
        await first.gone()
        await other.get(f"/publish/?first={begin}&count=10")
        first = await start(first.port).ready()
        await has(page, begin + 10)
    await other.get("/publish/?first=20&count=1")
    await has(page, 21)
    assert await page.evaluate("window.data") == [str(number) for number in range(21)]
    assert await page.evaluate("window.resets") == []
    visitors.errors.clear()  # Chromium tells of each refused connection.


async def test_page_with_an_id_from_elsewhere_is_told(start: Any, visitors: Visitors) -> None:
    """A reset, once, and then what is new."""
    server = await start().ready()
    page = await visitors.page(f"http://127.0.0.1:{server.port}/ready/")
    await page.evaluate(LISTEN, "/grouped/page/?last_event_id=17")
    await page.wait_for_function("window.resets.length > 0")
    await server.get("/publish/?count=1")
    await has(page, 1)
    assert await page.evaluate("window.resets") == ["malformed"]
    visitors.errors.clear()  # The site has no icon.
