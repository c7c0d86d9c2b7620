"""A model that can be followed, and means to look into, and to hold up, what is read of it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from django_sse import ModelPublisher
from django_sse.live_querysets.live_query import _queries
from django_sse.model_publishing.publishers import Change
from django_sse.model_publishing.registry import register, unregister
from tests.clients import TIMEOUT
from tests.models import Room

__all__ = ["Gate", "Publisher", "Reads"]


class Gate:
    """
    A place in a thread at which it waits when a test wants it to.

    ``async with gate.held(doing):`` awaits *doing*, and goes on when a thread has arrived there;
    at the end of the block it is let through.
    """

    def __init__(self) -> None:
        self._hold: tuple[Callable[[], object], threading.Event] | None = None

    def __call__(self) -> None:
        """Be that place."""
        hold, self._hold = self._hold, None
        if hold is not None:
            arrive, is_open = hold
            arrive()
            assert is_open.wait(TIMEOUT)

    @contextlib.asynccontextmanager
    async def held(self, doing: Awaitable[Any] | None = None) -> AsyncIterator[None]:
        loop, arrived, is_open = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        self._hold = (lambda: loop.call_soon_threadsafe(arrived.set)), is_open
        try:
            async with asyncio.timeout(TIMEOUT):
                if doing is not None:
                    await doing
                await arrived.wait()
            yield
        finally:
            self._hold = None
            is_open.set()


class Reads(list[str]):
    """
    The queries of the shared threads, as they are made.

    Attributes:
        gate: Where each one begins.
        errors: What the next ones raise instead.
    """

    def __init__(self) -> None:
        self.gate = Gate()
        self.errors: list[Exception] = []

    def note(self, sql: str) -> None:
        self.append(sql)
        self.gate()
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    found = Reads()
    execute = CursorWrapper.execute

    def noting(self: Any, sql: Any, params: Any = None) -> Any:
        if threading.current_thread().name == "django_sse" and "tests_room" in sql:
            found.note(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", noting)
    return found


class Publisher(ModelPublisher):
    """Tells of rooms, and of each that is told."""

    live = True
    fields = ["id", "slug", "name"]

    #: After the rows were read.
    gate = Gate()
    told: list[tuple[str, str]] = []

    def get_data(self, instance: Any, change: Change) -> Any:
        self.told.append((instance.slug, change))
        self.gate()
        return super().get_data(instance, change)


@pytest.fixture(autouse=True)
def publisher(transactional_db: None) -> Iterator[type[Publisher]]:
    Publisher.told.clear()
    register(Room, Publisher)
    yield Publisher
    unregister(Room, publisher=Publisher)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Keep no queryset that nobody follows."""
    yield
    assert _queries == {}
