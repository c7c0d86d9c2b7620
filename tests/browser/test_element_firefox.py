"""<event-source> in Firefox."""

from typing import Any

import pytest

from tests.browser.firefox import firefox_tab
from tests.browser.rows import RowsSite

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.redis, pytest.mark.faults]


@pytest.mark.parametrize("query", [{}, {"shared": 1}], ids=str)
async def test_page_in_firefox_misses_nothing(site: RowsSite, query: dict[str, Any]) -> None:
    """Its server is killed before the first event, which Firefox cannot come back from alone."""
    async with firefox_tab() as firefox:
        await firefox.goto(site.page_url(**query))
        await site.has_streams()
        for _ in range(2):
            await site.kill()
            await site.add()
            await site.start()
            await site.is_shown(firefox)
