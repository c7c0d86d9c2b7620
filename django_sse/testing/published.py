"""What was published in a block of a test."""

import asyncio
import dataclasses
from types import TracebackType
from typing import Any

from django_sse import loops
from django_sse.events import ServerSentEvent
from django_sse.signals import event_published
from django_sse.testing.hints import ahints, hints

__all__ = ["PublishedEvent", "assert_not_published", "assert_published", "capture_events"]

_SETTLE_SECONDS = 5.0
# What live querysets are told of changed rows by, in groups that are the package's own.
_ROWS = "django_sse.rows."


@dataclasses.dataclass(frozen=True, slots=True)
class PublishedEvent:
    """
    One event that was published.

    Attributes:
        groups: The groups that it went to; ``("",)`` for a broadcast.
        sent: The event, without an id: the store numbers it for each group.
    """

    groups: tuple[str, ...]
    sent: ServerSentEvent

    @property
    def event(self) -> str | None:
        """The type; None if it has none."""
        return self.sent.event

    @property
    def data(self) -> Any:
        """The data, as publish() was given it."""
        return self.sent.data

    def __str__(self) -> str:
        return f"to {', '.join(map(repr, self.groups))}: event={self.event!r}, data={self.data!r}"


class capture_events:
    """
    Give a list of what is published in this block, in any thread of the process.

    ``publish()``, ``apublish()``, ``broadcast()`` and models are seen when their event has been
    taken: inside a transaction, after its commit. As an async context manager it also waits for
    what sync code on the thread of the event loop has published, and cannot wait for itself.
    """

    def __init__(self) -> None:
        self._events: list[PublishedEvent] = []

    def __enter__(self) -> list[PublishedEvent]:
        self._events = []
        event_published.connect(self._receive, weak=False)
        return self._events

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        event_published.disconnect(self._receive)

    async def __aenter__(self) -> list[PublishedEvent]:
        await _settle()
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await _settle()
        finally:
            event_published.disconnect(self._receive)

    def _receive(self, groups: tuple[str, ...], event: ServerSentEvent, **kwargs: Any) -> None:
        if not all(group.startswith(_ROWS) for group in groups):
            self._events.append(PublishedEvent(groups, event))


class _Expected(capture_events):
    """The block of an assertion. What it gives is what was published, whatever is expected."""

    #: Whether an event is wanted, which may be late.
    _wants = True

    def __init__(self, group: str | None, event: str | None, data: object) -> None:
        super().__init__()
        self._group, self._event, self._data = group, event, data

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is None and (failure := self._failure()):
            raise AssertionError("\n".join([*failure, *(hints() if self._wants else ())]))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        if error is None and (failure := self._failure()):
            raise AssertionError("\n".join([*failure, *(await ahints() if self._wants else ())]))

    def _failure(self) -> list[str]:
        """Return the lines that say what is wrong; none if nothing is."""
        raise NotImplementedError

    def _found(self) -> list[PublishedEvent]:
        return [event for event in self._events if self._matches(event)]

    def _matches(self, published: PublishedEvent) -> bool:
        return (
            (self._group is None or self._group in published.groups)
            # A browser dispatches an event without a type as a message.
            and (self._event is None or self._event == (published.event or "message"))
            and (self._data is None or self._data == published.data)
        )

    def _described(self) -> str:
        wanted = {"event": self._event, "data": self._data}
        fields = [f"{name}={value!r}" for name, value in wanted.items() if value is not None]
        where = "any group" if self._group is None else repr(self._group)
        return f"to {where}" + (f" with {', '.join(fields)}" if fields else "")

    def _published(self) -> list[str]:
        if not self._events:
            return ["Nothing was published."]
        return ["Published:", *(f"    {event}" for event in self._events)]


class assert_published(_Expected):
    """
    Fail unless the block publishes such an event. It gives a list of all that was published.

    Args:
        group: One of its groups; None for any.
        event: Its type, ``"message"`` for one that has none; None for any.
        data: What it is equal to; None for any.
        count: How many such events there must be; None for one or more.

    Raises:
        AssertionError: At the end of the block; it shows what was published instead.
    """

    def __init__(
        self,
        group: str | None = None,
        *,
        event: str | None = None,
        data: object = None,
        count: int | None = None,
    ) -> None:
        super().__init__(group, event, data)
        self._count = count

    def _failure(self) -> list[str]:
        found = len(self._found())
        if self._count is None and not found:
            message = f"No event was published {self._described()}."
        elif self._count is not None and found != self._count:
            message = f"{self._count} published {self._described()} were expected, not {found}."
        else:
            return []
        return [message, *self._published()]


class assert_not_published(_Expected):
    """
    Fail if the block publishes such an event. It gives a list of all that was published.

    Args:
        group: See assert_published().
        event: See there.
        data: See there.

    Raises:
        AssertionError: At the end of the block; it shows what was published.
    """

    _wants = False

    def __init__(
        self, group: str | None = None, *, event: str | None = None, data: object = None
    ) -> None:
        super().__init__(group, event, data)

    def _failure(self) -> list[str]:
        if not (found := self._found()):
            return []
        return [
            f"{len(found)} published {self._described()}, none was expected.",
            *self._published(),
        ]


async def _settle() -> None:
    """Wait until what is queued on this loop, and on the one that publishes, has gone out."""
    try:
        async with asyncio.timeout(_SETTLE_SECONDS):
            await loops._drained()
            if loops.is_serving() or loops._background is not None:
                await loops.hand_over(loops._drained())
    except TimeoutError:
        raise AssertionError(
            f"What was published has not gone out within {_SETTLE_SECONDS:g} s."
        ) from None
