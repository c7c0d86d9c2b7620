"""How a stream is kept, and how long."""

import dataclasses
import json
from collections.abc import Awaitable, Callable

from django_sse.conf import get_settings, is_seconds
from django_sse.framing import check_retry, frame

__all__ = ["Beat", "Lifetime", "check_lifetime", "make_lifetime"]


class Beat:
    """
    Heartbeats that are events, since comments never reach the code of a page.

    They come at their interval whatever else is sent: a page knows only of the events whose names
    it listens to, and would take the silence of the others for that of the network.

    Args:
        seconds: The interval, which is the data of each.

    Attributes:
        frame: The event, without an id.
        last: When the last one was sent, by the clock of the loop.
    """

    __slots__ = ("frame", "last")

    def __init__(self, seconds: float) -> None:
        self.frame = frame(json.dumps(seconds), event="heartbeat")
        self.last = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """
    How one stream is kept, and how long.

    Args:
        heartbeat: Seconds without an event until a comment is sent.
        retry: The client's reconnection time in milliseconds.
        max_duration: Seconds until the stream ends, spread by 20 %; None is no limit.
        recheck: Seconds from one call of *guard* to the next; None is never again.
        guard: Called on each recheck; the stream ends when it returns False or fails.
        beat: Set if heartbeats are events, which do not wait for a silence.
    """

    heartbeat: float
    retry: int
    max_duration: float | None
    recheck: float | None = None
    guard: Callable[[], Awaitable[bool]] | None = None
    beat: Beat | None = None

    def with_beat(self) -> "Lifetime":
        """Return the same with heartbeats that are events."""
        return dataclasses.replace(self, beat=Beat(self.heartbeat))


def check_lifetime(
    *,
    heartbeat: float | None = None,
    retry: int | None = None,
    max_duration: float | None = None,
    recheck: float | None = None,
) -> None:
    """Raise ValueError, naming it, if an option that is not None breaks its rule."""
    seconds = {"heartbeat": heartbeat, "max_duration": max_duration, "recheck": recheck}
    for name, value in seconds.items():
        if value is not None and not is_seconds(value):
            raise ValueError(f"{name}={value!r} must be a number of seconds above 0.")
    if retry is not None:
        check_retry(retry)


def make_lifetime(
    *,
    heartbeat: float | None = None,
    retry: int | None = None,
    max_duration: float | None = None,
    recheck: float | None = None,
    guard: Callable[[], Awaitable[bool]] | None = None,
) -> Lifetime:
    """Return a Lifetime with the settings in place of what is None. See check_lifetime()."""
    check_lifetime(heartbeat=heartbeat, retry=retry, max_duration=max_duration, recheck=recheck)
    settings = get_settings()
    return Lifetime(
        heartbeat=settings.heartbeat_seconds if heartbeat is None else heartbeat,
        retry=settings.reconnection_time_ms if retry is None else retry,
        max_duration=settings.max_duration_seconds if max_duration is None else max_duration,
        recheck=(settings.recheck_seconds if recheck is None else recheck) if guard else None,
        guard=guard,
    )
