"""What a tab's native EventSources are sent, heartbeats included, told by Chromium itself."""

from typing import Any, Self

from playwright.async_api import Page, Request

from tests.servers.waiting import eventually

__all__ = ["Hearing"]


class Hearing:
    """
    One tab's, from when it is listened to.

    Attributes:
        requests: How many streams were asked for.
        names: The names of the events that have come.
    """

    def __init__(self, page: Page) -> None:
        self.requests = 0
        self.names: list[str] = []
        page.on("request", self._note_request)

    @classmethod
    async def of(cls, page: Page) -> Self:
        """Listen to the tab of *page*, whatever it shows."""
        hearing = cls(page)
        session = await page.context.new_cdp_session(page)
        session.on("Network.eventSourceMessageReceived", hearing._note)
        await session.send("Network.enable")
        return hearing

    def _note_request(self, request: Request) -> None:
        self.requests += request.resource_type == "eventsource"

    def _note(self, message: dict[str, Any]) -> None:
        self.names.append(message["eventName"])

    async def has(self, name: str, count: int, *, within: float = 60) -> None:
        """Wait until *count* events named *name* have come."""
        await eventually(lambda: self.names.count(name) >= count, within=within)
