"""htmx's extension and reconnecting-eventsource, unchanged, in Chromium."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.browser.processes import Visitors
from tests.interop.gateway import bad_gateway
from tests.interop.readers import PageReader
from tests.interop.sites import Site, misses_nothing
from tests.servers.waiting import eventually
from tests.test_docs import DOCS, blocks_of

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.faults]

#: What the console says of a server that is away: Chromium, and htmx, which logs two objects.
EXPECTED_ERRORS = ("Failed to load resource: ", "htmx:sseError", "[object Event]")


Open = Callable[..., Awaitable[PageReader]]


@pytest.fixture
async def read(npm: Path, site: Site, visitors: Visitors) -> AsyncIterator[Open]:
    """Return a function that opens a page with a client of the site's stream."""

    async def open_page(name: str, *, last_event_id: str = "", script: str = "") -> PageReader:
        stream = site.path + (last_event_id and f"?last_event_id={quote(last_event_id)}")
        page = await visitors.page(f"{site.url}/page/{name}/?{urlencode({'stream': stream})}")
        if script:
            await page.add_script_tag(content=script)
        await site.has_streams()
        return PageReader(page)

    yield open_page
    visitors.errors[:] = [e for e in visitors.errors if not e.startswith(EXPECTED_ERRORS)]


async def after_a_bad_gateway(site: Site, reader: PageReader) -> list[int]:
    """
    Kill the server behind a proxy, which answers with 502 for it, and start it again.

    A browser's own EventSource is closed for good by that; the library opens a new one.

    Returns:
        The numbers of the events that the page shows: of 0 to 4 from before, 5 to 9 from
        meanwhile, and 10 to 14 from when the page is back.
    """

    async def shows(number: int) -> None:
        async def is_last() -> bool:
            return (await reader.numbers())[-1:] == [number]

        await eventually(is_last, within=60)

    await site.publish(0)
    await shows(4)
    await site.kill()
    async with bad_gateway(site.port) as asked, asyncio.timeout(60):
        await asked.wait()
        await site.publish(5)
    await site.start()
    await site.has_streams()
    await site.publish(10)
    await shows(14)
    return await reader.numbers()


@pytest.mark.parametrize("name", ["htmx", "reconnecting"])
async def test_library_misses_nothing(site: Site, read: Open, name: str) -> None:
    """It has every event once, in order, over two killed servers: the browser reconnects."""
    reader = await read(name)
    await misses_nothing(site, reader.received)


async def test_reconnecting_eventsource_misses_nothing_after_a_502(site: Site, read: Open) -> None:
    """It adds its last event id to the URL by a name of its own, behind one from the page."""
    reader = await read("reconnecting", last_event_id=await site.id_now())
    assert await after_a_bad_gateway(site, reader) == [*range(15)]


async def test_htmx_loses_events_after_a_502_if_its_url_has_no_id(site: Site, read: Open) -> None:
    """It opens the URL of its attribute again, and begins with what is new."""
    reader = await read("htmx")
    assert await after_a_bad_gateway(site, reader) == [*range(5), *range(10, 15)]


async def test_htmx_repeats_events_after_a_502_if_its_url_has_the_pages_id(
    site: Site, read: Open
) -> None:
    """It begins again where the page was rendered: nothing is lost."""
    reader = await read("htmx", last_event_id=await site.id_now())
    assert await after_a_bad_gateway(site, reader) == [*range(5), *range(15)]


async def test_htmx_misses_nothing_after_a_502_by_the_guides_script(
    site: Site, read: Open
) -> None:
    """The script keeps the last event id in the attribute."""
    [script] = [b.text for b in blocks_of(DOCS / "how-to/htmx.md") if b.language == "js"]
    reader = await read("htmx", last_event_id=await site.id_now(), script=script)
    assert await after_a_bad_gateway(site, reader) == [*range(15)]
