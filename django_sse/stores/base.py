"""What a store is: the histories of groups, which give events their order and replay them."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from django_sse.history import Entry, Slice
from django_sse.positions import Position

__all__ = ["BaseStore", "Entry", "PartlyAppended", "Slice"]


class PartlyAppended(Exception):
    """
    A store of several servers has added an event to the histories of some groups only.

    Raise it from the error of the others.

    Attributes:
        entries: What was added.
        groups: The other groups.
    """

    def __init__(self, entries: Sequence[Entry], groups: Sequence[str]) -> None:
        super().__init__(f"Not added to {', '.join(map(repr, groups))}")
        self.entries = entries
        self.groups = groups


class BaseStore:
    """
    The base of all stores. ``DJANGO_SSE["STORE"]`` names one, in the shape of Django's backends.

    A store keeps for each group a history: entries with contiguous numbers, each of which also
    names the mark of the one before. A reader goes on from a Position by read(), and knows by
    Slice.continues() whether that very history still reaches back to it. All else, the order of
    events, replay, and healing what a channel layer has dropped, is built on this.

    Every method has a sync and an async form. A subclass writes the sync ones, and the async ones
    where it can wait without a thread; those of this class use threads. Both may be called from
    any thread and any event loop, also in a forked child. What the server of the store refuses or
    does not answer is raised, as whatever exception: the callers log, count and try again.

    Args:
        max_events: How many events a group's history keeps at least; some hundred more may stay.
        max_age_seconds: Events older than this may be forgotten, and are not read.
    """

    #: Whether other processes see what is appended here. If not, a channel layer that reaches
    #: other processes is a system-check error.
    is_shared = False
    #: Whether enlist() makes an event a part of the caller's database transaction.
    is_transactional = False
    #: The database whose transactions those are.
    alias: str | None = None

    def __init__(self, *, max_events: int = 10_000, max_age_seconds: float = 3600) -> None:
        for name, value in (("max_events", max_events), ("max_age_seconds", max_age_seconds)):
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ImproperlyConfigured(
                    f"{type(self).__name__}: {name} is {value!r}; it must be a number above 0."
                )
        self.max_events = int(max_events)
        self.max_age_seconds = float(max_age_seconds)

    def append(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """
        Add *message* to the history of each of *groups*, at once; return the entries, in order.

        An entry can be read as soon as its number is given, so that no reader passes over a hole.

        Args:
            groups: Names of groups, without repetitions.
            message: The event; its key ``mark`` holds its mark.
            again: Whether an attempt before this one has failed, perhaps after it was done:
                then entries that have the message's mark already are returned, not added.

        Raises:
            PartlyAppended: If the servers of some groups have failed, and not those of others.
        """
        raise NotImplementedError

    def server_of(self, group: str) -> Hashable:
        """
        Return what fails together with *group*: the server of it, where there are several.

        Where one does not answer, what is published to groups of the others does not wait for it.
        """
        return None

    def read(self, group: str, after: Position, limit: int) -> Slice:
        """
        Return the next entries after *after*, at most *limit*, in order.

        If the entry that follows *after* is gone, the slice begins with the oldest one there is;
        Slice.continues() tells. A position beyond the head, or of a group that is unknown, gives
        no entries.
        """
        raise NotImplementedError

    def positions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """
        Return for each of *groups* the position after which *back* more entries follow.

        0 is the head; None the position before the oldest entry. Where there are fewer entries
        than *back*, it is that, too. A group that is unknown is at START.
        """
        raise NotImplementedError

    def trim(self, group: str) -> None:
        """Forget what is over ``max_events`` or ``max_age_seconds``. The head stays."""
        raise NotImplementedError

    async def aappend(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """See append()."""
        return await sync_to_async(self.append)(groups, message, again=again)

    async def aread(self, group: str, after: Position, limit: int) -> Slice:
        """See read()."""
        return await sync_to_async(self.read)(group, after, limit)

    async def apositions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """See positions()."""
        return await sync_to_async(self.positions)(groups, back)

    async def atrim(self, group: str) -> None:
        """See trim()."""
        await sync_to_async(self.trim)(group)

    def enlist(self, groups: Sequence[str], message: dict[str, Any]) -> None:
        """
        Make *message* part of the transaction that is open on the database ``alias``.

        Only where ``is_transactional``. It has no number until relay() gives it one, after the
        commit; a rollback leaves nothing.
        """
        raise NotImplementedError

    def relay(self, groups: Iterable[str] | None = None) -> list[Entry]:
        """
        Give numbers to the enlisted events that have been committed; return them as entries.

        Args:
            groups: Only those of these groups; None is all.
        """
        raise NotImplementedError

    async def arelay(self, groups: Iterable[str] | None = None) -> list[Entry]:
        """See relay()."""
        return await sync_to_async(self.relay)(groups)

    def forget_old(self) -> int:
        """
        Forget what nobody publishes to and so nobody trims; return how many entries that were.

        A relay calls it now and then. A store that forgets by itself does nothing.
        """
        return 0

    async def aforget_old(self) -> int:
        """See forget_old()."""
        return await sync_to_async(self.forget_old)()

    def check(self) -> list[CheckMessage]:
        """Return what is wrong with the configuration, for ``manage.py check``."""
        return []
