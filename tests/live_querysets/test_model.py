"""Random changes, readers that come and go, slow ones: each page shows exactly what matches."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_sse import subscribe_queryset
from tests.clients import TIMEOUT
from tests.live_querysets.conftest import Publisher
from tests.live_querysets.reading import Page, named
from tests.models import Room

slugs = st.sampled_from("abcde")
names = st.sampled_from(["open", "closed"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("save"), slugs, names),
        st.tuples(st.just("delete"), slugs, names),
        st.tuples(st.just("move all"), names, names),
        st.tuples(st.just("join"), st.booleans(), names),
        st.tuples(st.just("leave"), st.integers(0, 5), names),
        st.tuples(st.just("pause"), names, names),
    ),
    max_size=20,
)


def change(kind: str, what: str, name: str) -> None:
    """Do one step in the database."""
    if kind == "save":
        room, _ = Room.objects.get_or_create(slug=what)
        room.name = name
        room.save()
    elif kind == "delete":
        Room.objects.filter(slug=what).delete()
    elif kind == "move all":
        keys = list(Room.objects.filter(name=what).values_list("pk", flat=True))
        Room.objects.filter(pk__in=keys).update(name=name)
        Publisher.publish(Room.objects.filter(pk__in=keys))


class Reader:
    """A page, and the subscription that feeds it; a slow one is read in the end only."""

    def __init__(self, is_slow: bool) -> None:
        self.page, self.is_slow = Page(), is_slow
        self.events = subscribe_queryset(named("open"))
        self._block = contextlib.AsyncExitStack()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Reader":
        await self._block.enter_async_context(self.events)
        if not self.is_slow:
            self.read()
        return self

    def read(self) -> None:
        """Read until the last row has come."""
        self._reading = self._reading or asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.events:
            self.page.apply(event)
            if event.event == "enter" and event.data["slug"] == "last":
                return

    async def done(self) -> Page:
        """Wait for the last row."""
        self.read()
        assert self._reading is not None
        await self._reading
        return self.page

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._block.aclose()


@pytest.mark.history
@given(steps=steps)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_pages_show_what_matches(sync: Any, steps: list[tuple[str, Any, str]]) -> None:
    """Whoever applies the events has, in the end, the rows of the queryset as they are."""
    await sync(Room.objects.all().delete)
    async with asyncio.timeout(4 * TIMEOUT), contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(Reader(is_slow)) for is_slow in (False, True)]
        for kind, what, name in steps:
            if kind == "join":
                readers.append(await stack.enter_async_context(Reader(what)))
            elif kind == "leave":
                if what < len(readers):
                    await readers.pop(what).__aexit__()
            elif kind == "pause":
                await asyncio.sleep(0)
            else:
                await sync(change, kind, what, name)
        await sync(Room.objects.create, slug="last", name="open")
        expected = await sync(lambda: {room.pk: room.slug for room in named("open")})
        for reader in readers:
            rows = (await reader.done()).rows
            assert {pk: data["slug"] for pk, data in rows.items()} == expected
