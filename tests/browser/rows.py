"""A site whose pages show a row for each event, and the judgement of what they show."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import Page, expect

from tests.browser.firefox import Firefox
from tests.interop.sites import Site
from tests.servers.waiting import eventually

__all__ = ["RowsSite", "is_state"]

_ROWS = "[...document.querySelectorAll('#rows > li')].map((row) => Number(row.textContent))"


class RowsSite(Site):
    """
    One port and one group, whose events are the rows 1, 2, 3 and so on.

    Attributes:
        published: How many rows there are.
    """

    published = 0

    def page_url(self, kind: str = "page", *, port: int | None = None, **query: Any) -> str:
        """Return the address of a page whose element has the attributes of *query*."""
        host = f"http://127.0.0.1:{port or self.port}"
        return f"{host}/{kind}/{self.group}/?{urlencode(query)}"

    async def add(self, count: int = 5) -> None:
        """Publish *count* rows more, from another process."""
        first = self.published + 1
        self.published += count
        await self.publish(first, count)

    @contextlib.asynccontextmanager
    async def adding(self) -> AsyncIterator[None]:
        """Publish one row after the other for as long as the block takes."""

        async def add_on() -> None:
            while not done.is_set():
                await self.add(1)

        done = asyncio.Event()
        task = asyncio.create_task(add_on())
        try:
            yield
        finally:
            done.set()
            await task

    async def is_shown(self, *pages: Page | Firefox) -> None:
        """
        Wait until *pages* show all rows: from 1 to the last in order, none twice.

        A last row is published for it, behind which nothing can be under way that comes late.
        """
        await self.add(1)
        for page in pages:

            async def shows_the_last(page: Page | Firefox = page) -> bool:
                return self.published in await _rows(page)

            await eventually(shows_the_last, within=60)
        for page in pages:
            assert await _rows(page) == [*range(1, self.published + 1)]


async def _rows(page: Page | Firefox) -> list[int]:
    rows: list[int] = await page.evaluate(_ROWS)
    return rows


async def is_state(page: Page, state: str) -> None:
    """Wait until the element says that it is in *state*."""
    await expect(page.locator("event-source")).to_have_attribute("state", state)
