"""
The servers of the benchmarks, each a process of its own, pinned to one core.

``python -m benchmarks.servers NAME --core N --control FD --directory DIR`` serves event streams
at /events of a free port. benchmarks/process.py starts it and speaks with it.
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
        publish: Publishes one event to all of them.
        headers: What a client has to send, such as the cookie of its session.
        counts: Returns what the server has counted.
    """

    application: Any
    publish: Publish
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    counts: Counts = dict
