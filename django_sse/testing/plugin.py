"""
Fixtures for pytest, for a project that asks for them.

In the conftest.py of its root: ``pytest_plugins = ["django_sse.testing.plugin"]``. They need
pytest-django, and for async tests a plugin such as pytest-asyncio.
"""

from collections.abc import Iterator

import pytest

from django_sse.testing.client import StreamClient, close_connections
from django_sse.testing.published import PublishedEvent, capture_events
from django_sse.testing.resetting import reset

__all__ = ["sse_client", "sse_events", "sse_reset"]


@pytest.fixture
def sse_reset() -> Iterator[None]:
    """Forget hub, channel layer and store of the process, before the test and after it."""
    reset()
    yield
    reset()


@pytest.fixture
def sse_client(sse_reset: None) -> Iterator[StreamClient]:
    """A StreamClient of the project. What it leaves open is ended."""
    client = StreamClient()
    yield client
    client.disconnect()
    close_connections()


@pytest.fixture
def sse_events(sse_reset: None) -> Iterator[list[PublishedEvent]]:
    """A list of what is published during the test, see capture_events()."""
    with capture_events() as events:
        yield events
