"""The admin's pages of connections in Chromium, with two workers, under a strict policy."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.processes import Visitors
from tests.browser.workers import Workers
from tests.npm import require_modules

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers]

LIST = "/admin/django_sse/connection/"
HTML = "<img src=x onerror=\"document.title='hit'\">"


@pytest.fixture(scope="module")
def _workers(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("workers"))
    yield workers
    workers.stop()


@pytest.fixture
async def workers(_workers: Workers) -> AsyncIterator[Workers]:
    """Two workers; the streams that a test has opened are closed at its end."""
    await _workers.ready()
    yield _workers
    await _workers.close_streams(len(_workers._writers))


async def log_in(workers: Workers, visitors: Visitors) -> Page:
    """Return the list of connections, as the first worker shows it to a superuser."""
    page = await visitors.page(f"http://127.0.0.1:{workers.ports[0]}{LIST}", of="root")
    await page.locator("[name=username]").fill("root")
    await page.locator("[name=password]").fill("root")
    await page.locator("[type=submit]").click()
    await page.wait_for_url(f"**{LIST}")
    return page


async def is_listed(page: Page, path: str) -> None:
    """Reload the list until it has *path*, which takes a second."""

    async def reload() -> None:
        while not await page.get_by_role("link", name=path).count():
            await page.reload()

    await reload()


async def show(page: Page, path: str) -> None:
    """Open the page of the stream at *path*, and wait until it is live."""
    await is_listed(page, path)
    await page.get_by_role("link", name=path).first.click()
    await expect(page.locator("#sse-source")).to_have_attribute("state", "open")


def publish(workers: Workers, room: str, data: str, event: str) -> None:
    workers.shell(f"from django_sse import publish; publish({room!r}, {data!r}, event={event!r})")


async def test_disconnect_reaches_the_other_worker(workers: Workers, visitors: Visitors) -> None:
    """By its page: the stream ends, there and then, and the page that shows it says so."""
    await workers.open_streams(1, 1, room="kitchen")
    page = await log_in(workers, visitors)
    await show(page, "/rooms/kitchen/")
    other = await visitors.page(page.url, of="root")
    await expect(other.locator("#sse-source")).to_have_attribute("state", "open")
    await page.get_by_role("link", name="Disconnect").click()
    await page.get_by_role("button", name="Yes, disconnect it").click()
    await expect(page.locator(".messagelist")).to_contain_text("is told to end")
    await expect(other.get_by_role("alert")).to_contain_text("This stream has ended: disconnected")
    await expect(other.locator("#sse-source")).to_have_attribute("state", "closed")
    await expect(other.get_by_role("link", name="Disconnect")).to_be_hidden()
    assert visitors.errors == []


async def test_counters_and_test_event(workers: Workers, visitors: Visitors) -> None:
    """What is sent to a stream of the other worker is seen on its page."""
    await workers.open_streams(1, 1, room="library")
    page = await log_in(workers, visitors)
    await show(page, "/rooms/library/")
    sent = page.locator(".sse-tiles dd").nth(1)
    await expect(sent).to_have_text("0")
    await page.get_by_role("link", name="Send a test event").click()
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".messagelist")).to_contain_text("on its way to 1 stream")
    await expect(sent).to_have_text("1")
    publish(workers, "room.library", "x", "message")
    await expect(sent).to_have_text("2")


async def test_tap_shows_events_as_text(workers: Workers, visitors: Visitors) -> None:
    """HTML in them is not HTML of the page; the tap can be paused."""
    await workers.open_streams(1, 1, room="tap")
    page = await log_in(workers, visitors)
    await show(page, "/rooms/tap/")
    await page.get_by_role("link", name="Tap its events").click()
    await expect(page.get_by_text("Nothing has gone by yet.")).to_be_visible()
    await expect(page.locator("#sse-source")).to_have_attribute("state", "open")
    await expect(page.locator(".sse-tiles dd").first).not_to_have_text("0 s")
    publish(workers, "room.tap", HTML, "dangerous")
    row = page.locator("#sse-tapped tr").first
    await expect(row).to_contain_text(HTML)
    await expect(row).to_contain_text("dangerous")
    assert await page.locator("#sse-tapped img").count() == 0
    assert await page.title() != "hit"
    await page.get_by_role("button", name="Pause").click()
    publish(workers, "room.tap", "while it was paused", "quiet")
    await expect(page.locator(".sse-tiles dd").nth(1)).to_have_text("2")
    await page.get_by_role("button", name="Pause").click()
    publish(workers, "room.tap", "afterwards", "loud")
    await expect(row).to_contain_text("afterwards")
    await expect(page.locator("#sse-tapped")).not_to_contain_text("while it was paused")
    await page.get_by_role("button", name="Clear").click()
    await expect(page.get_by_text("Nothing has gone by yet.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
async def test_axe_finds_nothing_serious(
    workers: Workers, visitors: Visitors, scheme: Any, width: int
) -> None:
    """On the list, the page of a stream with a tap, and the forms."""
    source = (require_modules(Path(__file__).parent) / "axe-core" / "axe.min.js").read_text()
    await workers.open_streams(1, 2, room="axe")
    page = await log_in(workers, visitors)
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": 800})
    await is_listed(page, "/rooms/axe/")
    await is_clean(page, source)
    await show(page, "/rooms/axe/")
    await page.get_by_role("link", name="Tap its events").click()
    await expect(page.locator("#sse-source")).to_have_attribute("state", "open")
    await expect(page.locator(".sse-tiles dd").first).not_to_have_text("0 s")
    publish(workers, "room.axe", "hello", "greeting")
    await expect(page.locator("#sse-tapped")).to_contain_text("greeting")
    await is_clean(page, source)
    url = page.url.partition("change/")[0]
    for address in (
        f"{url}send/",
        f"{url}disconnect/",
        page.url.partition("connection")[0] + "worker/",
    ):
        await page.goto(address)
        await is_clean(page, source)


async def is_clean(page: Page, source: str) -> None:
    """See that axe finds nothing serious in what the page shows, and that nothing sticks out."""
    await page.evaluate(source)
    # The toolbar is all Django's: the label of its box is a picture, its link has no underline.
    found = await page.evaluate("axe.run({include: '#content', exclude: '#toolbar'})")
    assert found["passes"]
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
