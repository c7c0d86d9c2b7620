"""Pages that show what their streams bring."""

from playwright.async_api import Page

from tests.interop.events import Event, events

__all__ = ["PageReader"]


class PageReader:
    """A page that swaps in what its stream brings, in a place of the page's."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def numbers(self) -> list[int]:
        """Return the number of each event that the page shows; its text must be the event's."""
        texts: list[str] = await self.page.locator("#events > p").all_text_contents()
        numbers = [int(text.partition("\n")[0]) for text in texts]
        assert [f"<p>{text}</p>" for text in texts] == [data for _, data in events(*numbers)]
        return numbers

    async def received(self) -> list[Event]:
        """Return the same as events: of a type that it has no listener for, none is shown."""
        return events(*await self.numbers())
