"""The testing kit: a client of streams, what was published, and a process that forgets."""

from django_sse.testing.cases import StreamTestMixin
from django_sse.testing.client import StreamClient
from django_sse.testing.frames import ReceivedEvent
from django_sse.testing.published import (
    PublishedEvent,
    assert_not_published,
    assert_published,
    capture_events,
)
from django_sse.testing.received import ReceivedStream
from django_sse.testing.resetting import areset, reset

__all__ = [
    "PublishedEvent",
    "ReceivedEvent",
    "ReceivedStream",
    "StreamClient",
    "StreamTestMixin",
    "areset",
    "assert_not_published",
    "assert_published",
    "capture_events",
    "reset",
]
