"""Reading the events of a queryset, and what a page would show of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from django_sse import subscribe_queryset
from tests.clients import TIMEOUT
from tests.models import Room

__all__ = ["Page", "followers", "named", "read", "rooms", "told"]


def named(name: str) -> Any:
    """Return the rooms of that name, in order."""
    return Room.objects.filter(name=name).order_by("slug")


def rooms(*slugs: str, name: str = "open") -> list[Room]:
    """Make rooms, of which signals tell."""
    return [Room.objects.create(slug=slug, name=name) for slug in slugs]


def told(event: Any) -> tuple[str, Any]:
    """Return the kind, and of the row its slug or, when it has left, its key."""
    data = event.data
    return event.event, data.get("slug", data.get("id", data.get("count")))


async def read(events: Any, count: int) -> list[tuple[str, Any]]:
    """Return what the next events tell."""
    async with asyncio.timeout(TIMEOUT):
        return [told(await anext(events)) for _ in range(count)]


@contextlib.asynccontextmanager
async def followers(name: str, count: int) -> AsyncIterator[list[Any]]:
    """Follow the rooms of that name, several times."""
    async with contextlib.AsyncExitStack() as stack:
        subscriptions = [subscribe_queryset(named(name)) for _ in range(count)]
        yield [await stack.enter_async_context(events) for events in subscriptions]


class Page:
    """A list as a page keeps it: by the events alone."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}

    def apply(self, event: Any) -> None:
        """Do what the event says; one that does not fit what is shown is a mistake."""
        match event.event:
            case "snapshot":
                self.rows.clear()
            case "enter":
                assert event.data["id"] not in self.rows
                self.rows[event.data["id"]] = event.data
            case "change":
                assert event.data["id"] in self.rows
                self.rows[event.data["id"]] = event.data
            case "leave":
                del self.rows[event.data["id"]]
