"""<event-source shared>: many tabs on one connection, whichever of them comes and goes."""

import contextlib
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Error, Page

from tests.browser.chromium import Chromium
from tests.browser.processes import Visitors
from tests.browser.rows import RowsSite, is_state
from tests.browser.tabs import hang, leader_of

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers]

#: By it a leader that is silent is given up within eight seconds, not forty.
QUICK = "const { setInterval: set } = window; window.setInterval = (run, ms) => set(run, ms / 5);"


async def tabs(site: RowsSite, visitors: Visitors, count: int) -> list[Page]:
    """Open tabs of one visitor, and wait until one connection serves them all."""
    pages = [await visitors.page(site.page_url(shared=1)) for _ in range(count)]
    for page in pages:
        await is_state(page, "open")
    await site.has_streams()
    return pages


async def test_eight_tabs_share_one_connection(site: RowsSite, visitors: Visitors) -> None:
    """HTTP/1.1 allows a browser six: all tabs are live, and the site still answers."""
    pages = await tabs(site, visitors, 8)
    await site.add()
    await site.is_shown(*pages)
    await site.has_streams()
    assert await pages[-1].evaluate("fetch('/ready/').then((answer) => answer.status)") == 200


async def test_eight_tabs_miss_nothing_when_their_server_is_killed(
    site: RowsSite, visitors: Visitors
) -> None:
    """The one that leads comes back; the others have what it has."""
    pages = await tabs(site, visitors, 8)
    await site.kill()
    for page in pages:
        await is_state(page, "reconnecting")
    await site.add()
    await site.start()
    await site.is_shown(*pages)
    await site.has_streams()
    visitors.forgive_network_errors()


async def close(page: Page) -> None:
    """Close the tab."""
    await page.close()


async def crash(page: Page) -> None:
    """Let the tab's process die."""
    async with page.expect_event("crash"):
        with contextlib.suppress(Error):
            await page.goto("chrome://crash")


async def leave(page: Page) -> None:
    """Go to another page in the tab."""
    await page.goto("about:blank")


@pytest.mark.parametrize("go", [close, crash, leave])
async def test_tabs_miss_nothing_when_the_one_that_leads_goes(
    site: RowsSite, visitors: Visitors, go: Callable[[Page], Awaitable[None]]
) -> None:
    """Another takes over while a row comes after the other: none is lost, none is twice."""
    pages = await tabs(site, visitors, 4)
    async with site.adding():
        for _ in range(2):
            leader = await leader_of(pages)
            pages.remove(leader)
            await go(leader)
            await leader_of(pages)
    await site.is_shown(*pages)
    await site.has_streams()


async def test_tab_that_hangs_loses_the_lead_and_misses_nothing(
    site: RowsSite, visitors: Visitors
) -> None:
    """What does not answer is passed over; when it answers again, it follows."""
    pages = [await visitors.page("about:blank") for _ in range(3)]
    for page in pages:
        await page.add_init_script(QUICK)
        await page.goto(site.page_url(shared=1))
        await is_state(page, "open")
    leader = await leader_of(pages)
    others = [page for page in pages if page is not leader]
    dialog = await hang(leader)
    await site.add()
    await leader_of(others)
    await site.is_shown(*others)
    await dialog.accept()
    await site.is_shown(*pages)
    await site.has_streams()


async def test_tab_that_is_frozen_gives_the_lead_away(
    site: RowsSite, own_chromium: Chromium, owner: Visitors
) -> None:
    """A browser freezes tabs that nobody looks at; one that wakes has all rows too."""
    pages = await tabs(site, owner, 3)
    leader = await leader_of(pages)
    others = [page for page in pages if page is not leader]
    await others[0].bring_to_front()
    session = await leader.context.new_cdp_session(leader)
    async with site.adding():
        await session.send("Page.setWebLifecycleState", {"state": "frozen"})
        await leader_of(others)
    await site.is_shown(*others)
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await site.is_shown(*pages)
    await site.has_streams()
