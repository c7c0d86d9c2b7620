"""<event-source> in tabs that are hidden, left and come back to, in a browser as it is."""

from typing import Any

import pytest

from tests.browser.processes import Visitors
from tests.browser.rows import RowsSite, is_state

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers]

#: What an element is asked for, and what it does.
MEANS: list[dict[str, Any]] = [{}, {"shared": 1}, {"transport": "fetch"}]


@pytest.mark.parametrize("means", MEANS, ids=str)
async def test_page_out_of_the_back_forward_cache_misses_nothing(
    site: RowsSite, owner: Visitors, means: dict[str, Any]
) -> None:
    """While it is in there its stream is closed, which lets it be there at all."""
    page = await owner.page(site.page_url(**means))
    await is_state(page, "open")
    await site.add()
    await site.is_shown(page)
    await page.evaluate("window.isKept = true")
    await page.goto(f"{site.url}/fragment/{site.group}/")
    await site.has_streams(0)
    await site.add()
    await page.go_back(wait_until="commit")
    await site.is_shown(page)
    assert await page.evaluate("window.isKept")


@pytest.mark.parametrize("means", MEANS, ids=str)
async def test_hidden_page_pauses_if_it_is_asked_to(
    site: RowsSite, owner: Visitors, means: dict[str, Any]
) -> None:
    """It closes its stream behind another tab, and misses nothing when it is looked at again."""
    page = await owner.page(site.page_url(pause_hidden=1, **means))
    await is_state(page, "open")
    await site.add()
    other = await owner.page("about:blank")
    await is_state(page, "paused")
    await site.has_streams(0)
    await site.add()
    await page.bring_to_front()
    await site.is_shown(page)
    await other.close()


async def test_hidden_page_goes_on_if_it_is_not_asked_to_pause(
    site: RowsSite, owner: Visitors
) -> None:
    """Somebody may hear it, or read the title of its tab."""
    page = await owner.page(site.page_url())
    await is_state(page, "open")
    await owner.page("about:blank")
    assert await page.evaluate("document.hidden")
    await site.add()
    await site.is_shown(page)


async def test_frozen_page_misses_nothing(site: RowsSite, owner: Visitors) -> None:
    """A browser freezes tabs that nobody looks at: their streams are closed meanwhile."""
    page = await owner.page(site.page_url())
    await is_state(page, "open")
    await site.add()
    await owner.page("about:blank")
    session = await page.context.new_cdp_session(page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    await site.has_streams(0)
    await site.add()
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await site.is_shown(page)
