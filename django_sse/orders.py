"""The order to end streams, on its way to every worker."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Protocol, Self

from django_sse.reasons import CloseReason
from django_sse.visitors import Visitor, session_digest

__all__ = ["ORDER_TYPE", "Order", "Ordered"]

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    Which streams to end: those for which all that is given is true.

    Attributes:
        user: The primary key of a user.
        session: The digest of a session's key.
        group: The name of a group.
        connection: The id of a stream.
        reason: Why they end.
    """

    user: str | None = None
    session: str | None = None
    group: str | None = None
    connection: str | None = None
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
            connection=None if connection is None else str(getattr(connection, "id", connection)),
            reason=reason,
        )

    @classmethod
    def unpack(cls, message: Mapping[str, Any]) -> Self:
        """Return the order that *message* carries; raises KeyError or ValueError if it is none."""
        named = {name: message[name] for name in ("user", "session", "group", "connection")}
        return cls(**named, reason=CloseReason(message["reason"]))

    def to_message(self) -> dict[str, Any]:
        """Return the order as a message of a channel layer."""
        return {"type": ORDER_TYPE, **dataclasses.asdict(self), "reason": self.reason.value}

    def concerns(self, stream: Ordered) -> bool:
        """Tell whether *stream* is one of those."""
        visitor = stream.visitor
        return (
            self.user in (None, visitor.user_id)
            and self.session in (None, visitor.session)
            and self.connection in (None, stream.id)
            and (self.group is None or self.group in stream.watched)
        )
