"""The admin's dashboard in Chromium: two workers, five hundred streams, a strict policy."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.processes import Visitors
from tests.browser.workers import Workers
from tests.npm import require_modules
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers]

HERE = Path(__file__).parent


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


def total(page: Page, name: str) -> Locator:
    return page.locator(f"dd[data-figure={name}]")


def row(page: Page, part: str, text: str) -> Locator:
    return page.locator(f"#sse-{part} tbody tr").filter(has_text=text)


async def is_state(page: Page, state: str) -> None:
    await expect(page.locator("#sse-live")).to_have_attribute("state", state)


async def history(page: Page) -> list[float | None]:
    """Return the open streams of the last hour, as the page has brought them."""
    text = await page.locator("#sse-history-data").text_content()
    series: list[float | None] = json.loads(text or "")["series"]["streams"]
    return series


async def picture(page: Page) -> str:
    """Return what is drawn of the open streams."""
    return await page.locator("[data-series=streams] canvas").evaluate("one => one.toDataURL()")


async def test_figures_are_those_of_all_workers(workers: Workers, visitors: Visitors) -> None:
    """What is open on each, what flows, who is in which group, and who has left."""
    page = await workers.dashboard(visitors)
    await is_state(page, "open")
    await expect(total(page, "streams")).to_have_text("1")  # The dashboard's own.
    await workers.open_streams(0, 200)
    await workers.open_streams(1, 250)
    await workers.open_streams(1, 50, room="side")
    await expect(total(page, "streams")).to_have_text("501")
    await expect(total(page, "workers")).to_have_text("2")
    for worker, count in ((0, "201"), (1, "300")):
        name = f":{workers.processes[worker].pid}"
        await expect(row(page, "workers", name).locator("td").nth(2)).to_have_text(count)
    await expect(row(page, "groups", "room.main").first.locator("td").first).to_have_text("450")
    await expect(row(page, "groups", "room.side").first.locator("td").first).to_have_text("50")

    await workers.publish()
    await expect(row(page, "groups", "room.main")).to_have_count(2)  # By traffic, too.
    await workers.close_streams(50)
    await expect(total(page, "streams")).to_have_text("451")
    await expect(row(page, "closes", "room.side").first).to_contain_text("client left")
    assert visitors.errors == []


async def test_reload_keeps_the_charts(workers: Workers, visitors: Visitors) -> None:
    """The server has kept the hour: they are drawn though no stream comes."""
    await workers.open_streams(0, 30)
    page = await workers.dashboard(visitors)
    stream = "**/dashboard/stream/**"

    async def is_kept() -> bool:
        await page.reload()
        return any((streams or 0) > 25 for streams in await history(page))

    await eventually(is_kept, within=120)
    await page.route(stream, lambda route: route.abort())
    await page.reload()
    await expect(page.locator("[data-value=streams]")).to_have_text(re.compile(r"^\d+$"))
    kept = await picture(page)
    empty = "one => { one.width = one.width; return one.toDataURL(); }"
    assert kept != await page.locator("[data-series=streams] canvas").evaluate(empty)
    visitors.forgive_network_errors()
    await page.unroute(stream)
    await page.reload()
    await is_state(page, "open")


async def test_charts_follow_the_theme_and_the_window(
    workers: Workers, visitors: Visitors
) -> None:
    """The admin's switch, the system's, and a window that becomes narrow."""
    page = await workers.dashboard(visitors)
    await page.route("**/dashboard/stream/**", lambda route: route.abort())
    await page.reload()  # From now on only the theme changes anything.
    await expect(page.locator("[data-series=streams] canvas")).to_be_visible()
    light = await picture(page)
    await page.emulate_media(color_scheme="dark")
    await eventually(lambda: differs(page, light))
    dark = await picture(page)
    await page.evaluate("document.documentElement.dataset.theme = 'light'")
    await eventually(lambda: differs(page, dark))
    await page.set_viewport_size({"width": 390, "height": 800})
    chart = page.locator("[data-series=streams] .sse-plot")
    await expect(chart.locator("canvas")).to_be_visible()
    fits = "one => one.querySelector('.uplot').offsetWidth <= one.clientWidth"
    await eventually(lambda: chart.evaluate(fits))
    await eventually(lambda: page.evaluate("document.documentElement.scrollWidth <= 390"))
    visitors.forgive_network_errors()


async def differs(page: Page, before: str) -> bool:
    return await picture(page) != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
async def test_axe_finds_nothing_serious(
    workers: Workers, visitors: Visitors, scheme: Any, width: int
) -> None:
    """With figures, tables and charts, in both themes."""
    source = (require_modules(HERE) / "axe-core" / "axe.min.js").read_text()
    await workers.open_streams(1, 5)
    page = await workers.dashboard(visitors)
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": 800})
    await is_state(page, "open")
    await expect(row(page, "groups", "room.main").first).to_be_visible()
    await page.evaluate(source)
    found = await page.evaluate("axe.run('#content')")
    assert found["passes"]
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []


async def test_page_says_that_the_permission_is_gone(workers: Workers, visitors: Visitors) -> None:
    """It stops, and does not come back again and again."""
    page = await workers.dashboard(visitors)
    await is_state(page, "open")
    change = "from django.contrib.auth.models import User, Permission\n"
    change += "right = Permission.objects.get(codename='view_connection')\n"
    change += "User.objects.get(username='ada').user_permissions."
    workers.shell(f"{change}remove(right)")
    try:
        await expect(page.get_by_text("Live updates have ended")).to_be_visible()
        await is_state(page, "closed")
    finally:
        workers.shell(f"{change}add(right)")


async def test_values_under_the_cursor(workers: Workers, visitors: Visitors) -> None:
    """All charts tell of the same moment."""
    page = await workers.dashboard(visitors)
    await is_state(page, "open")

    async def shows_times() -> bool:
        await page.locator("[data-series=streams] .u-over").hover(position={"x": 200, "y": 40})
        times = await page.locator("[data-at]").all_text_contents()
        return bool(times[0]) and len(set(times)) == 1

    await eventually(shows_times, within=120)
