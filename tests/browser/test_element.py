"""<event-source> in a page of the tag's: where it begins, begins anew and ends."""

from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.hearing import Hearing
from tests.browser.processes import Visitors
from tests.browser.rows import RowsSite, is_state

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers]


@pytest.fixture
async def page(site: RowsSite, visitors: Visitors) -> Page:
    """A tab of the site, before it shows a page with rows."""
    return await visitors.page("about:blank")


#: What an element is asked for, and which file it takes: as it is written, and as it is built.
FILES: dict[str, tuple[dict[str, Any], str, str]] = {
    "native": ({}, "connection.js", ""),
    "shared": ({"shared": 1}, "shared-connection.js", "shared-connection.min.js"),
    "fetch": ({"transport": "fetch"}, "fetch-source.js", "fetch-source.min.js"),
}


@pytest.mark.parametrize("is_debug", [True, False], ids=["written", "built"])
@pytest.mark.parametrize("means", FILES)
async def test_page_is_live_by_the_files_of_its_mode(
    site: RowsSite, page: Page, is_debug: bool, means: str
) -> None:
    """The modules one by one with DEBUG; else what is built, of which all other tests are."""
    query, written, built = FILES[means]
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url.rpartition("/")[2]))
    await page.goto(site.page_url(**query))
    await is_state(page, "open")
    await site.add()
    await site.is_shown(page)
    scripts = {name for name in loaded if name.endswith(".js")}
    if is_debug:
        assert {"event-source.js", written} < scripts
        assert not any(name.endswith(".min.js") for name in scripts)
    else:
        assert scripts == {"event-source.min.js", built} - {""}


async def loading_late(site: RowsSite, page: Page, query: dict[str, Any]) -> None:
    """Open a page of five rows, and publish five more before its script is there."""

    async def publish_before(route: Route) -> None:
        await site.add()
        await route.continue_()

    await site.add()
    await page.route("**/event-source.min.js", publish_before)
    await page.goto(site.page_url(**query))


@pytest.mark.parametrize("query", [{}, {"signed": 1}, {"shared": 1}], ids=str)
async def test_page_shows_what_is_published_while_its_script_loads(
    site: RowsSite, page: Page, query: dict[str, Any]
) -> None:
    """The page's last event id is of its rendering: nothing falls between that and the stream."""
    await loading_late(site, page, query)
    await site.is_shown(page)


async def test_page_without_the_id_of_its_rendering_misses_that(
    site: RowsSite, page: Page
) -> None:
    """What the id is for: without it a stream begins with what is new."""
    await loading_late(site, page, {"forgetful": 1})
    await is_state(page, "open")
    await site.has_streams()
    await site.add(1)
    await expect(page.locator("#rows > li").last).to_have_text("11")
    assert await page.locator("#rows > li").count() == 6


async def forgets(site: RowsSite, page: Page) -> None:
    """Let the site's history begin after what the page has, while the server is away."""
    await is_state(page, "open")
    await site.kill()
    await site.add(600)
    await site.start()


async def test_page_is_loaded_anew_after_a_reset(
    site: RowsSite, page: Page, visitors: Visitors
) -> None:
    """The history does not reach back to where the page is: its target's content is replaced."""
    await site.add()
    await page.goto(site.page_url())
    await forgets(site, page)
    await site.is_shown(page)
    visitors.forgive_network_errors()


async def test_page_that_prevents_the_default_of_a_reset_is_left_alone(
    site: RowsSite, page: Page, visitors: Visitors
) -> None:
    """The page does by itself what is to be done, and sees the reason."""
    await site.add()
    await page.goto(site.page_url())
    await page.evaluate(
        """
        addEventListener("reset", (event) => {
            event.preventDefault();
            document.title = event.detail;
        })
        """
    )
    await forgets(site, page)
    await expect(page).to_have_title("outdated")
    await site.add(1)
    await expect(page.locator("#rows > li").last).to_have_text("606")
    assert await page.locator("#rows > li").count() == 6
    visitors.forgive_network_errors()


async def test_events_that_come_during_a_reload_wait_for_it(
    site: RowsSite, page: Page, visitors: Visitors
) -> None:
    """The reload-url answers with the rows of then; those that come meanwhile go behind them."""
    hearing = await Hearing.of(page)

    async def answer_late(route: Route) -> None:
        response = await route.fetch()
        await site.add(4)
        await hearing.has("row", 2)
        await route.fulfill(response=response)

    await page.route("**/fragment/**", answer_late)
    await page.goto(site.page_url(reload_url=f"/fragment/{site.group}/"))
    await forgets(site, page)
    await site.is_shown(page)
    visitors.forgive_network_errors()


async def test_page_does_not_come_back_after_a_204(
    site: RowsSite, page: Page, visitors: Visitors
) -> None:
    """The stream is over: neither time nor the network brings it back."""
    hearing = Hearing(page)
    await page.clock.install()
    await page.goto(site.page_url())
    await is_state(page, "open")
    await site.server.get(f"/end/{site.group}/")
    await site.kill()
    await site.start()
    await is_state(page, "closed")
    asked = hearing.requests
    await page.clock.run_for(600_000)
    await page.evaluate("dispatchEvent(new Event('online'))")
    await page.clock.run_for(600_000)
    assert hearing.requests == asked
    visitors.forgive_network_errors()


@pytest.mark.parametrize("query", [{}, {"shared": 1}, {"transport": "fetch"}], ids=str)
async def test_page_gives_up_where_its_stream_leads_to_a_page(
    site: RowsSite, page: Page, visitors: Visitors, query: dict[str, Any]
) -> None:
    """As whoever has been logged out is led to log in: the third answer in a row is enough."""
    await page.add_init_script(
        """
        addEventListener("error", ({ target, detail }) => {
            target.title += `${detail.status} ${detail.willRetry}, `;
        }, true);
        """
    )
    await site.server.get(f"/make-private/{site.group}/")
    await page.goto(site.page_url(**query))
    # Of an element that has not begun the state is the same, so that comes second.
    said = "302 true, 302 true, 302 false, "
    await expect(page.locator("event-source")).to_have_attribute("title", said)
    await is_state(page, "closed")
    # Chromium says of its EventSource that it was given no stream.
    assert all("MIME type" in error for error in visitors.errors)
    visitors.errors.clear()


async def test_element_renews_its_token_before_it_expires(
    site: RowsSite, page: Page, visitors: Visitors
) -> None:
    """A page older than its token comes back when its server does."""
    await page.goto(site.page_url(signed=1))
    for _ in range(2):  # At the second one the first token is too old.
        renewal = await page.wait_for_event("response", lambda r: "/token/" in r.url)
        assert renewal.status == 200
    await is_state(page, "open")
    await site.kill()
    await site.add()
    await site.start()
    await site.is_shown(page)
    visitors.forgive_network_errors()
