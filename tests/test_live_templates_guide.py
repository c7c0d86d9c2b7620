"""The guide to live pages from templates, as a reader follows it to its end."""

import html
import re
from pathlib import Path

import httpx
import pytest

from tests.test_docs import DOCS, EVENT_SECONDS, Project, stream

GUIDE = DOCS / "how-to" / "live-templates.md"


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
        for path, group in (("/board/", "announcements"), ("/order/7/", "order.7")):
            text = page.get(path).text
            assert (
                text.count('<script type="module" src="/static/django_sse/event-source.js"') == 1
            )
            element = attributes_of(text)
            page.get(f"/publish/{group}/")
            url = httpx.URL(element["src"]).copy_add_param(
                "last_event_id", element["last-event-id"]
            )
            with stream(page, str(url)) as events:
                assert next(events) == ("status", "<b>shipped</b>")
        with stream(page, "/sse/?groups=announcements"):
            pass
        assert page.get("/sse/?groups=announcements,orders").status_code == 403
        assert page.get("/static/django_sse/event-source.js").status_code == 200
    assert "no issues" in project.run("manage.py", "check")
