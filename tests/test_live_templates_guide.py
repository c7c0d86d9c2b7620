"""The guide to live pages from templates, as a reader follows it to its end."""

import html
import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import async_playwright

from tests.browser.flags import FLAGS
from tests.browser.processes import Visitors
from tests.services import require_chromium
from tests.test_docs import DOCS, EVENT_SECONDS, Project, stream

GUIDE = DOCS / "how-to" / "live-templates.md"
#: What is on a page once it was published.
SHOWN = {
    "/board/": "#board li:text('We close at five.')",
    "/order/7/": "#status b:text('shipped')",
}


def attributes_of(page: str) -> dict[str, str]:
    """Return the attributes of the page's one element."""
    [found] = re.findall(r"<event-source([^>]*)></event-source>", page)
    pairs = re.findall(r' ([\w-]+)="([^"]*)"', found)
    return {name: html.unescape(value) for name, value in pairs}


@pytest.mark.slow
def test_the_guide_runs(tmp_path: Path) -> None:
    """Both of its pages get what is published after they were rendered, and strangers nothing."""
    project = Project(tmp_path, GUIDE, "live")
    with project.serve() as address, httpx.Client(base_url=address, timeout=EVENT_SECONDS) as page:
        for path, publishing, event in (
            ("/board/", "/publish/", ("message", "<li>We close at five.</li>")),
            ("/order/7/", "/order/7/ship/", ("status", "<b>shipped</b>")),
        ):
            text = page.get(path).text
            assert (
                text.count('<script type="module" src="/static/django_sse/event-source.js"') == 1
            )
            element = attributes_of(text)
            assert page.get(publishing).status_code == 200
            url = httpx.URL(element["src"]).copy_add_param(
                "last_event_id", element["last-event-id"]
            )
            with stream(page, str(url)) as events:
                assert next(events) == event
        with stream(page, "/sse/?groups=announcements"):
            pass
        assert page.get("/sse/?groups=announcements,orders").status_code == 403
        assert page.get("/static/django_sse/event-source.js").status_code == 200
    assert "no issues" in project.run("manage.py", "check")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("until", ["## With a view of its own", "(rights)="])
async def test_a_reader_sees_what_the_guide_says(tmp_path: Path, until: str) -> None:
    """Whoever stops at the end of a step has pages that run, and show what is published."""
    steps, end, _ = GUIDE.read_text().partition(until)
    assert end
    page = tmp_path / "guide.md"
    page.write_text(steps)
    addresses = re.findall(r"<http://127\.0\.0\.1:8000(/[^>]*)>", steps)
    with Project(tmp_path, page, "live").serve() as address:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=require_chromium(), args=FLAGS
            )
            visitors = Visitors(browser)
            for path, publishing in zip(addresses[::2], addresses[1::2], strict=True):
                shown = await visitors.page(address + path)
                await shown.locator("event-source[state=open]").wait_for(state="attached")
                await visitors.page(address + publishing)
                await shown.locator(SHOWN[path]).wait_for()
            await browser.close()
    assert len(addresses) == (2 if until.startswith("##") else 4)
    # Neither page has an icon, which a browser asks for.
    assert [error for error in visitors.errors if "404 (Not Found)" not in error] == []
