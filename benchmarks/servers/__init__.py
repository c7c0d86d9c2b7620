"""
The servers of the benchmarks, each a process of its own, pinned to one core.

``python -m benchmarks.servers NAME --core N --control FD --directory DIR`` serves event streams
at /events?group=NAME of a free port; without a name they are of the group "ticks".
benchmarks/process.py starts it and speaks with it.
"""

import dataclasses
from typing import Any

from benchmarks.publisher import Counts, Publish

__all__ = ["Site"]


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """
    An ASGI application to be measured.

    Attributes:
        application: Serves the streams at /events.
        publish: Publishes one event to one group.
        headers: What a client has to send, such as the cookie of its session.
        counts: Returns what the server has counted.
        at_once: How many publishes run at the same time, where an event goes to many groups and
            each publish waits for another process. As one they would be a measure of round trips.
    """

    application: Any
    publish: Publish
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    counts: Counts = dict
    at_once: int = 1
