"""What a worker tells of itself: to the registry, and to whoever watches."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeVar

from django_sse.reasons import CloseReason

__all__ = ["ERRORS", "FLOWS", "Close", "GroupFigures", "Report", "shortened"]

#: What is told by the second, and the counts of Metrics that it is made of.
FLOWS: dict[str, tuple[str, ...]] = {
    "events": ("events_sent",),
    "bytes": ("bytes_sent",),
    "opened": ("streams_opened",),
    "drops": ("events_dropped", "queue_drops"),
    "resets": ("resets_sent",),
}
#: The counts of Metrics that are of errors.
ERRORS = ("stream_errors", "publish_errors", "layer_errors", "store_errors", "registry_errors")

_TROUBLE = {CloseReason.SLOW, CloseReason.SEND_TIMEOUT, CloseReason.ERROR}
_MAX_TEXT = 200

_Row = TypeVar("_Row", bound=tuple[Any, ...])


def shortened(text: str) -> str:
    """Return *text*, cut if it is very long: it may be anything that a client sends."""
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


class GroupFigures(NamedTuple):
    """
    One group, as one worker has it.

    Attributes:
        name: Its name, cut if it is very long.
        readers: How many streams and subscriptions are in it.
        events: How many of its events come, per second.
    """

    name: str
    readers: int
    events: float


class Close(NamedTuple):
    """
    A stream that has ended.

    Attributes:
        at: When, in seconds of Unix time by the clock of the worker.
        reason: A CloseReason.
        view: The name of its view.
        path: Of its request.
        user_id: The primary key of its user; empty if nobody was logged in.
        groups: The names of some of its groups.
        group_count: Of how many.
        seconds: How long it was open.
    """

    at: float
    reason: str
    view: str
    path: str
    user_id: str
    groups: tuple[str, ...]
    group_count: int
    seconds: float

    @property
    def is_trouble(self) -> bool:
        """Whether something went wrong on the way to the client, or in the view."""
        return self.reason in _TROUBLE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    The figures of one worker at one moment.

    Attributes:
        worker: The id of its row in the registry.
        taken_at: When, in seconds of Unix time by the clock of the worker.
        counters: What Metrics counts, with the events and bytes of the streams that are open.
        rates: Each of FLOWS per second, over the last two seconds or since the report before.
        lagging: How many streams read from the store what they were too slow for.
        queue_bytes: How much waits for clients.
        cpu: The share of one core that the process uses, all of its threads together.
        loop_lag: How late, at most, the event loop has lately been to do something, in seconds.
        groups: Those with the most readers, and with the most traffic.
        closes: The latest, the newest first.
    """

    worker: str = ""
    taken_at: float = 0.0
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    lagging: int = 0
    queue_bytes: int = 0
    cpu: float = 0.0
    loop_lag: float = 0.0
    groups: tuple[GroupFigures, ...] = ()
    closes: tuple[Close, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the report that to_dict() has made *given* of, maybe in another version."""
        known = {
            field.name: given[field.name]
            for field in dataclasses.fields(cls)
            if field.name in given
        }
        known["groups"] = _rows(GroupFigures, known.get("groups", ()))
        known["closes"] = _rows(Close, known.get("closes", ()))
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON, and every channel layer, can carry."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **plain,
            "counters": dict(self.counters),
            "rates": dict(self.rates),
            "groups": [list(group) for group in self.groups],
            "closes": [[*close[:5], list(close.groups), *close[6:]] for close in self.closes],
        }

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self.counters.get("streams_open", 0)

    @property
    def errors(self) -> int:
        """How many errors the process has counted."""
        return sum(self.counters.get(name, 0) for name in ERRORS)

    def flow(self, name: str) -> int:
        """Return how much of one of FLOWS there has been since the process began."""
        return sum(self.counters.get(counter, 0) for counter in FLOWS[name])


def _rows(kind: type[_Row], rows: Iterable[Any]) -> tuple[_Row, ...]:
    # One of another version may have other columns: better without them than without the worker.
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return tuple(kind(*map(_frozen, row)) for row in rows if len(row) == len(fields))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
