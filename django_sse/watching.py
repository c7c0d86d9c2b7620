"""Telling how single streams do, about each second, as long as somebody watches them."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Protocol, Self

from django_sse.envelope import address, pack
from django_sse.events import ServerSentEvent
from django_sse.orders import Ordered
from django_sse.reasons import CloseReason
from django_sse.sending import send

__all__ = [
    "WATCH_TYPE",
    "StreamReport",
    "Watch",
    "Watched",
    "Watching",
    "is_report_group",
    "report_group",
]

logger = logging.getLogger("django.sse")

#: The ``type`` of its message in the channel layer.
WATCH_TYPE = "sse.watch"

_REPORT_GROUPS = "django_sse.report."
_REPORT_SECONDS = 1.0
# Who watches asks again well within this time.
_WATCH_SECONDS = 12.0
# Of what an event in the group of a report has to be.
_KINDS: dict[str, Any] = {
    "events": int,
    "bytes": int,
    "queue_bytes": int,
    "is_lagging": bool,
    "seconds": int | float,
    "groups": list | tuple,
    "ended": str,
}


def report_group(connection: str) -> str:
    """Return the group in which the stream with the id *connection* is reported of."""
    return f"{_REPORT_GROUPS}{connection}"


def is_report_group(group: str) -> bool:
    """Tell whether *group* is such a one, in which nobody but the admin looks."""
    return group.startswith(_REPORT_GROUPS)


class Watched(Ordered, Protocol):
    """A stream that can be reported of."""

    reason: CloseReason | None

    @property
    def events_sent(self) -> int:
        """How many events went to the client."""

    @property
    def bytes_sent(self) -> int:
        """How many bytes."""

    @property
    def seconds_open(self) -> float:
        """How long ago it was made."""

    @property
    def queued_bytes(self) -> int:
        """How much waits for the client."""

    @property
    def is_lagging(self) -> bool:
        """Whether it is on its way through the store."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """
    How one stream does.

    Attributes:
        events: How many events it was sent.
        bytes: How many bytes.
        queue_bytes: How many wait for the client.
        is_lagging: Whether it reads from the store what it was too slow for.
        seconds: How long it has been open.
        groups: Its groups.
        ended: Why it has ended; empty while it is open.
    """

    events: int
    bytes: int
    queue_bytes: int
    is_lagging: bool
    seconds: float
    groups: tuple[str, ...]
    ended: str = ""

    @classmethod
    def of(cls, stream: Watched) -> Self:
        """Return how *stream* does now."""
        return cls(
            events=stream.events_sent,
            bytes=stream.bytes_sent,
            queue_bytes=stream.queued_bytes,
            is_lagging=stream.is_lagging,
            seconds=stream.seconds_open,
            groups=tuple(sorted(stream.watched)),
            ended=stream.reason or "",
        )

    @classmethod
    def read(cls, data: Any) -> Self:
        """Return what an event of the report's group says; raises TypeError if it is none."""
        is_report = isinstance(data, Mapping) and data.keys() == _KINDS.keys()
        if not is_report or not all(isinstance(data[name], _KINDS[name]) for name in _KINDS):
            raise TypeError(f"{data!r} is no report of a stream.")
        return cls(**{**data, "groups": tuple(map(str, data["groups"]))})


class _Hub(Protocol):
    @property
    def streams(self) -> Collection[Watched]: ...
    @property
    def watching(self) -> "Watching": ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """
    The wish to be told how a stream does, for some seconds.

    Attributes:
        connection: The id of the stream.
    """

    connection: str

    @classmethod
    def unpack(cls, message: Mapping[str, Any]) -> Self:
        """Return the wish that *message* carries; raises KeyError if it is none."""
        return cls(connection=str(message["connection"]))

    def to_message(self) -> dict[str, Any]:
        """Return it as a message of a channel layer."""
        return {"type": WATCH_TYPE, "connection": self.connection}

    def carry_out(self, hub: _Hub) -> None:
        """Let *hub* tell of the stream, if it has it."""
        for stream in hub.streams:
            if stream.id == self.connection:
                hub.watching.watch(stream)
                return


class Watching:
    """
    The streams of a hub that are watched now. Each is reported of in a group of its own.

    The last report of a stream that ends says so. Where nobody watches nothing runs.
    """

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]) -> None:
        self._spawn = spawn
        self._until: dict[Watched, float] = {}
        self._task: asyncio.Task[None] | None = None

    def watch(self, stream: Watched) -> None:
        """Report of *stream* for some seconds more."""
        self._until[stream] = asyncio.get_running_loop().time() + _WATCH_SECONDS
        if self._task is None or self._task.done():
            self._task = self._spawn(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._until:
            for stream in tuple(self._until):
                is_last = stream.reason is not None  # It may end while this is told.
                await self._tell(stream)
                if is_last or loop.time() > self._until[stream]:
                    del self._until[stream]
            await asyncio.sleep(_REPORT_SECONDS)

    async def _tell(self, stream: Watched) -> None:
        try:
            packed = pack(ServerSentEvent(dataclasses.asdict(StreamReport.of(stream))))
            await send([address(packed.message, report_group(stream.id))])
        except Exception:  # The others are watched, too.
            logger.exception("Nobody was told how %r does.", stream)
