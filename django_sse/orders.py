"""The order to end streams, on its way to every worker."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, Self

from django_sse.reasons import CloseReason
from django_sse.visitors import Visitor, session_digest

__all__ = ["ORDER_TYPE", "Order", "Ordered", "connection_ids"]

#: The ``type`` of its message in the channel layer.
ORDER_TYPE = "sse.order"


class Ordered(Protocol):
    """A stream, as an order sees it."""

    @property
    def id(self) -> str:
        """The name of the stream."""

    @property
    def visitor(self) -> Visitor:
        """Who has opened it."""

    @property
    def watched(self) -> Collection[str]:
        """Its groups."""

    def obey(self, reason: CloseReason) -> None:
        """End the stream, for *reason*, if that holds for it."""


class _Hub(Protocol):
    @property
    def admitted(self) -> Collection[Ordered]: ...


def connection_ids(connection: Any) -> frozenset[str]:
    """Return the ids that *connection* names: an id, something with an ``id``, or several."""
    is_one = isinstance(connection, str) or hasattr(connection, "id")
    several: Iterable[Any] = (
        connection if not is_one and isinstance(connection, Iterable) else (connection,)
    )
    return frozenset(str(getattr(one, "id", one)) for one in several)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    Which streams to end: those for which all that is given is true.

    Attributes:
        user: The primary key of a user.
        session: The digest of a session's key.
        group: The name of a group.
        connections: The ids of streams.
        reason: Why they end.
    """

    user: str | None = None
    session: str | None = None
    group: str | None = None
    connections: frozenset[str] | None = None
    reason: CloseReason = CloseReason.DISCONNECTED

    @classmethod
    def of(
        cls,
        *,
        user: Any = None,
        session: Any = None,
        group: str | None = None,
        connection: Any = None,
        reason: CloseReason = CloseReason.DISCONNECTED,
    ) -> Self:
        """
        Return the order for what disconnect() is given.

        Raises:
            TypeError: If nothing is given, which would be every stream there is.
        """
        if (user, session, group, connection) == (None, None, None, None):
            raise TypeError(
                "disconnect() was told of no stream; pass user=, session=, group= or connection=."
            )
        if session is not None:
            key = getattr(session, "session_key", session)
            session = session_digest(key or "")  # One that was never saved has no key.
        return cls(
            user=None if user is None else str(getattr(user, "pk", user)),
            session=session,
            group=group,
            connections=None if connection is None else connection_ids(connection),
            reason=reason,
        )

    @classmethod
    def unpack(cls, message: Mapping[str, Any]) -> Self:
        """Return the order that *message* carries; raises KeyError or ValueError if it is none."""
        named = {name: message[name] for name in ("user", "session", "group")}
        ids = message["connections"]
        return cls(
            **named,
            connections=None if ids is None else frozenset(ids),
            reason=CloseReason(message["reason"]),
        )

    def to_message(self) -> dict[str, Any]:
        """Return the order as a message of a channel layer."""
        ids = None if self.connections is None else sorted(self.connections)
        fields = {**dataclasses.asdict(self), "connections": ids, "reason": self.reason.value}
        return {"type": ORDER_TYPE, **fields}

    def concerns(self, stream: Ordered) -> bool:
        """Tell whether *stream* is one of those."""
        visitor = stream.visitor
        return (
            self.user in (None, visitor.user_id)
            and self.session in (None, visitor.session)
            and (self.connections is None or stream.id in self.connections)
            and (self.group is None or self.group in stream.watched)
        )

    def carry_out(self, hub: _Hub) -> None:
        """Do what it says to the streams of *hub* that it concerns."""
        for stream in [stream for stream in hub.admitted if self.concerns(stream)]:
            stream.obey(self.reason)
