"""Who is there: the open streams of all workers, as the registry has them."""

import dataclasses
import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

from django_sse.groups import check_names
from django_sse.registry import registry_alias

__all__ = ["Connections", "OpenConnection", "aconnections", "connections"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpenConnection:
    """
    One open stream. Its counts are as of some seconds ago.

    Attributes:
        id: The stream's; disconnect() takes it.
        user_id: The user's primary key as a string; None for one who is not logged in.
        groups: The names of its groups.
        view: The name of its view in the project's URLs.
        path: Of its request.
        address: The client's.
        opened_at: When it was made.
        worker: The worker that serves it: host and process id, with a colon between them.
        events_sent: How many events went to the client.
        bytes_sent: How many bytes.
        queue_bytes: How many wait for the client.
        is_lagging: Whether the client was too slow, and is sent what it has missed.
    """

    id: str
    user_id: str | None
    groups: tuple[str, ...]
    view: str
    path: str
    address: str
    opened_at: datetime.datetime
    worker: str
    events_sent: int
    bytes_sent: int
    queue_bytes: int
    is_lagging: bool


class Connections(tuple[OpenConnection, ...]):
    """Open streams, the oldest first."""

    __slots__ = ()

    @property
    def users(self) -> tuple[str, ...]:
        """The primary keys of the users, each once however many tabs are open."""
        return tuple(dict.fromkeys(one.user_id for one in self if one.user_id is not None))


def connections(group: str | None = None, user: Any = None) -> Connections:
    """
    Return the open streams of every worker that lives.

    What has opened or ended is there about a second later; the streams of a killed worker are
    gone after ``LEASE_SECONDS`` at most.

    Args:
        group: Only those in the group of that name.
        user: Only those of this user, or of the one with this primary key.

    Raises:
        InvalidGroup: If *group* is no name.
        ImproperlyConfigured: If there is no registry.
    """
    alias = registry_alias()
    if alias is None:
        raise ImproperlyConfigured(
            "connections() reads the registry, and there is none: DJANGO_SSE['REGISTRY'] turns it"
            " off, or DATABASES is empty."
        )
    from django_sse.models import Connection, Membership
    from django_sse.stores.database_reading import group_key

    found = Connection.live.using(alias).select_related("worker")
    if group is not None:
        check_names(group)
        members = Membership.objects.filter(group_key=group_key(group))
        found = found.filter(pk__in=members.values("connection"))
    if user is not None:
        found = found.filter(user_id=str(getattr(user, "pk", user)))
    rows = found.order_by("opened_at", "pk").prefetch_related("memberships")
    return Connections(_open_connection(row) for row in rows)


async def aconnections(group: str | None = None, user: Any = None) -> Connections:
    """See connections()."""
    return await sync_to_async(connections)(group, user)


def _open_connection(row: Any) -> OpenConnection:
    return OpenConnection(
        id=row.pk,
        user_id=row.user_id or None,
        groups=tuple(sorted({membership.group for membership in row.memberships.all()})),
        view=row.view,
        path=row.path,
        address=row.address,
        opened_at=row.opened_at,
        worker=str(row.worker),
        events_sent=row.events_sent,
        bytes_sent=row.bytes_sent,
        queue_bytes=row.queue_bytes,
        is_lagging=row.is_lagging,
    )
