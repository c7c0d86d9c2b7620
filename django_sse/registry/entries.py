"""What the registry is told of streams: values, which pass from the loop to a thread."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from django.utils.encoding import iri_to_uri

from django_sse.models import Connection, Membership
from django_sse.orders import Ordered
from django_sse.stores.database_reading import group_key

__all__ = ["Batch", "Entry", "Outcome", "PresenceChange", "Registered", "State", "state_of"]


class Registered(Ordered, Protocol):
    """A stream, as the registry sees it."""

    view: str
    path: str
    opened_at: datetime.datetime

    @property
    def events_sent(self) -> int:
        """How many events went to the client."""

    @property
    def bytes_sent(self) -> int:
        """How many bytes."""

    @property
    def present_in(self) -> frozenset[str]:
        """Those of its groups that are told who is there."""

    @property
    def watched(self) -> frozenset[str]:
        """Its groups."""

    @property
    def queued_bytes(self) -> int:
        """How much waits for the client."""

    @property
    def is_lagging(self) -> bool:
        """Whether it is on its way through the store."""


class State(NamedTuple):
    """What may change of a stream. It is written again when it differs from what was written."""

    groups: frozenset[str]
    present_in: frozenset[str]
    events_sent: int
    queue_bytes: int
    is_lagging: bool

    def is_outdated(self, stream: Registered) -> bool:
        """
        Tell whether *stream* has other figures now.

        Of its groups it tells by itself, so that these need not be compared for all streams.
        """
        return (
            stream.events_sent != self.events_sent
            or stream.queued_bytes != self.queue_bytes
            or stream.is_lagging != self.is_lagging
        )


def state_of(stream: Registered) -> State:
    """Return the state of *stream* now."""
    return State(
        stream.watched,
        stream.present_in,
        stream.events_sent,
        stream.queued_bytes,
        stream.is_lagging,
    )


class Entry(NamedTuple):
    """
    One stream to be written.

    Attributes:
        stream: It.
        state: What is to be written.
        before: What has been; None if it is new.
    """

    stream: Registered
    state: State
    before: State | None

    @property
    def is_written(self) -> bool:
        """Whether it has rows already."""
        return self.before is not None

    @property
    def has_new_groups(self) -> bool:
        """Whether its groups are to be written."""
        return self.before is None or self.state[:2] != self.before[:2]

    def to_row(self, worker_id: str) -> Connection:
        """Return the row, of text that every database takes."""
        stream, visitor = self.stream, self.stream.visitor
        return Connection(
            id=stream.id,
            worker_id=worker_id,
            user_id=_plain(visitor.user_id, 255),
            session=visitor.session,
            view=_plain(stream.view, 255),
            path=iri_to_uri(stream.path),
            address=_plain(visitor.address, 64),
            opened_at=stream.opened_at,
            events_sent=self.state.events_sent,
            bytes_sent=stream.bytes_sent,
            queue_bytes=self.state.queue_bytes,
            is_lagging=self.state.is_lagging,
        )

    def to_memberships(self, worker_id: str) -> Iterator[Membership]:
        """Yield the rows of its groups."""
        user_id = _plain(self.stream.visitor.user_id, 255)
        for group in self.state.groups:
            yield Membership(
                connection_id=self.stream.id,
                worker_id=worker_id,
                group_key=group_key(group),
                group_json=json.dumps(group),
                present_user_id=user_id if group in self.state.present_in else "",
            )


def _plain(text: str, length: int) -> str:
    # A header may have brought it: one odd character must not keep all rows from being written.
    return re.sub(r"[^\x20-\x7e]", "?", text)[:length]


@dataclasses.dataclass(slots=True)
class Batch:
    """
    What is to be written in one go.

    Attributes:
        entries: Streams that have opened, or changed.
        closed: Those that have ended.
        is_anew: Whether these are all open streams, and what is there of others is to go: after
            a failure, when nobody knows what has been written.
        is_renewal: Whether it is time to renew the lease, and to look after the others'.
        has_presence: Whether groups may have to be told who has come or gone.
        report: That of the worker, where the lease is written.
        sample: What the worker has done since the last one, where it is time for one.
    """

    entries: Sequence[Entry]
    closed: Sequence[Registered]
    is_anew: bool
    is_renewal: bool
    has_presence: bool
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sample: Mapping[str, float] | None = None

    @property
    def has_rows(self) -> bool:
        """Whether there are streams to be written, or deleted."""
        return bool(self.entries or self.closed or self.is_anew)


class PresenceChange(NamedTuple):
    """A user who has joined a group, or left it."""

    group: str
    user_id: str
    has_joined: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """
    What the writing has brought to light.

    Attributes:
        closing: The ids of own streams that somebody wants to end, each with the reason.
        has_lapsed: Whether the lease had run out, so that other workers have deleted the rows.
        presence: What groups are to be told.
    """

    closing: Sequence[tuple[str, str]]
    has_lapsed: bool
    presence: Sequence[PresenceChange]
