"""Open streams as a hub sees them, and who is told of them."""

from typing import Any, Protocol

from django_sse.audiences import Member
from django_sse.reasons import CloseReason
from django_sse.sockets import Addresses
from django_sse.timers import Timed
from django_sse.watching import Watched

__all__ = ["HubStream", "Observer"]


class HubStream(Member, Timed, Watched, Protocol):
    """An open stream."""

    addresses: Addresses | None

    def end(self, reason: CloseReason) -> None:
        """End the stream, for *reason*."""

    def hurry(self) -> None:
        """Cut short a cleanup that has begun."""


class Observer(Protocol):
    """Who is told what becomes of open streams."""

    def changed(self, stream: Any) -> None:
        """Take note that *stream* has opened, has ended, or is in other groups."""

    def ending(self, stream: Any) -> None:
        """Take note that *stream* ends; it is in its groups still."""

    async def close(self) -> None:
        """Do what is to be done as the process ends."""
