"""What is known of a stream: its name, who has opened it, which groups it is in."""

import collections
import datetime
import secrets
from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils import timezone

from django_sse.authorship import Authored
from django_sse.hub import Hub
from django_sse.lifetime import Lifetime
from django_sse.registry import registry_alias
from django_sse.sockets import addresses_of
from django_sse.visitors import username_of, view_of, visitor_of

__all__ = ["Enrolled", "check_presence"]

_NONE: frozenset[str] = frozenset()


def check_presence(presence: bool) -> None:
    """Raise ImproperlyConfigured if *presence* is asked for, and there is no registry."""
    if presence and registry_alias() is None:
        raise ImproperlyConfigured(
            "presence=True needs the registry, and there is none: DJANGO_SSE['REGISTRY'] turns it"
            " off, or DATABASES is empty."
        )


class Enrolled(Authored):
    """A stream as the log, the registry and disconnect() know it."""

    __slots__ = (
        "_opened_at",
        "_present_in",
        "_read",
        "addresses",
        "id",
        "path",
        "user",
        "view",
        "visitor",
    )

    def __init__(self, hub: Hub, lifetime: Lifetime, request: HttpRequest | None) -> None:
        super().__init__(hub, lifetime, request)
        self.id = secrets.token_hex(8)
        self.path = request.path if request is not None else ""
        self.view = view_of(request)
        self.addresses = addresses_of(getattr(request, "scope", None))
        self.user = username_of(request)
        self.visitor = visitor_of(request)
        self._opened_at = hub.loop.time()
        self._read: collections.Counter[str] | None = None
        self._present_in = _NONE

    def know_user(self) -> None:
        """Know the user, if the view's code has loaded them, or others, meanwhile."""
        self.user = self.user or username_of(self.request)
        if self.request is not None and (visitor := visitor_of(self.request)) != self.visitor:
            self.visitor = visitor

    @property
    def user_label(self) -> str:
        """The user as the log has them: by name, or by the key in the session; "-" for nobody."""
        key = self.visitor.user_id
        return self.user or (f"#{key}" if key else "-")

    @property
    def opened_at(self) -> datetime.datetime:
        """When the stream was made."""
        return timezone.now() - datetime.timedelta(seconds=self.seconds_open)

    @property
    def seconds_open(self) -> float:
        """How long ago that was."""
        return self._hub.loop.time() - self._opened_at

    @property
    def watched(self) -> frozenset[str]:
        """Its groups, and those that its view reads by subscribe()."""
        groups = self.audience.groups if self.audience is not None else _NONE
        return groups.union(self._read) if self._read else groups

    @property
    def present_in(self) -> frozenset[str]:
        """Those of them that are told who is there."""
        if not self._present_in or not self.visitor.user_id:
            return _NONE
        return self._present_in & self.watched

    @property
    def queued_bytes(self) -> int:
        """How much waits for the client."""
        return 0 if self._queue is None else self._queued_bytes + self._in_flight

    @property
    def is_lagging(self) -> bool:
        """Whether it is on its way through the store."""
        return False

    def tell_presence(self, groups: Iterable[str]) -> None:
        """Let *groups* be told that the user has joined, and when they leave."""
        self._present_in = self._present_in.union(groups)

    def begin_reading(self, groups: Iterable[str]) -> None:
        """Take it that the view reads *groups*."""
        if self._read is None:
            self._read = collections.Counter()
        self._read.update(groups)
        self._hub.changed(self)

    def end_reading(self, groups: Iterable[str]) -> None:
        """Undo begin_reading()."""
        if self._read is not None:
            self._read -= collections.Counter(groups)
        self._hub.changed(self)
