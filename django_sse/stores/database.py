"""The store in the project's own database: a transactional outbox, and the histories of groups."""

import datetime
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections, router
from django.db.models import Exists, OuterRef, Q, QuerySet

from django_sse.models import GroupHead, StoredEvent
from django_sse.positions import START, Position
from django_sse.stores.base import BaseStore, Entry, Slice
from django_sse.stores.database_calls import DatabaseCalls
from django_sse.stores.database_numbering import Addition, Numbering
from django_sse.stores.database_outbox import Outbox
from django_sse.stores.database_reading import Reading, group_key

__all__ = ["DatabaseStore"]

logger = logging.getLogger("django.sse")

_T = TypeVar("_T")

# How many rows a transaction of a relay or one DELETE has at most, and how many groups a query.
_ROWS_AT_ONCE = 500
_GROUPS_AT_ONCE = 500
# A relay has their heads locked at the same time.
_HEADS_AT_ONCE = 50
# Longer than any event, so that a reader of a quiet group can go on from where it is.
_HEADS_STAY = datetime.timedelta(days=7)


class DatabaseStore(BaseStore):
    """
    Keeps the histories in tables of ``django_sse``, in the database *alias*.

    An event can be part of the caller's transaction, see enlist(). Numbers are given in short
    transactions of the store's own, which lock the heads of their groups before all else: an
    event can be read as soon as its number is given, and nobody waits for the transaction of a
    publisher.

    Args:
        alias: The database, as ``DATABASES`` names it.
        max_events: See BaseStore.
        max_age_seconds: See BaseStore.
    """

    is_shared = True
    is_transactional = True
    alias: str

    def __init__(
        self, *, alias: str = "default", max_events: int = 10_000, max_age_seconds: float = 3600
    ) -> None:
        super().__init__(max_events=max_events, max_age_seconds=max_age_seconds)
        self.alias = alias
        self._calls = DatabaseCalls(alias)
        self._numbering = Numbering(alias)
        self._outbox = Outbox(alias)
        self._reading = Reading(alias, max_age_seconds)

    def append(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """
        See BaseStore.append().

        If a transaction is open on the database, this is no part of it and does not wait for its
        end. It then takes a second connection for a moment; SQLite refuses that as long as the
        transaction has written.
        """
        additions = _additions(groups, message)
        if not additions:
            return []
        entries = self._calls.write(
            lambda anew: self._numbering.append(additions, again=again or anew)
        )
        by_group = {entry.group: entry for entry in entries}
        return [by_group[group] for group in groups]

    def enlist(self, groups: Sequence[str], message: dict[str, Any]) -> None:
        """
        See BaseStore.enlist().

        Nothing is locked: however long the transaction stays open, others go on publishing to
        the same groups.
        """
        self._outbox.add(_additions(groups, message))

    def relay(self, groups: Iterable[str] | None = None) -> list[Entry]:
        """
        See BaseStore.relay().

        Any number of processes may do this at once: each event gets one number. If the database
        fails midway, that is logged, and the events that have their numbers are returned.
        """
        entries: list[Entry] = []
        try:
            for heads in _batches(self._waiting(groups), _HEADS_AT_ONCE):
                number = partial(self._number, dict(heads))
                while done := self._calls.write(number):
                    entries += done
                    if len(done) < _ROWS_AT_ONCE:
                        break
        except Exception:
            if not entries:
                raise
            logger.exception("Some events that were committed still wait for their numbers.")
        return entries

    def _waiting(self, groups: Iterable[str] | None) -> list[tuple[str, str]]:
        """Return the keys and names of the groups that have committed events without a number."""
        batches: Iterable[Sequence[str] | None] = [None]
        if groups is not None:
            batches = _batches([group_key(group) for group in groups], _GROUPS_AT_ONCE)
        look = self._outbox.groups
        found = [row for keys in batches for row in self._calls.read(partial(look, keys))]
        return sorted(found)

    def _number(self, groups: Mapping[str, str], again: bool) -> list[Entry]:
        with self._numbering.locked(groups):
            # Who has the heads is alone with what is committed for their groups.
            taken = self._outbox.take(groups, _ROWS_AT_ONCE)
            by_group: dict[str, list[Addition]] = {}
            for addition in taken:
                by_group.setdefault(addition.group, []).append(addition)
            added = {group: iter(self._numbering.add(some)) for group, some in by_group.items()}
            return [next(added[addition.group]) for addition in taken]

    def read(self, group: str, after: Position, limit: int) -> Slice:
        """See BaseStore.read()."""
        return self._calls.read(partial(self._reading.slice, group, after, limit))

    def positions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """See BaseStore.positions()."""
        found = dict.fromkeys(groups, START)
        for batch in _batches(groups, _GROUPS_AT_ONCE):
            found |= self._calls.read(partial(self._reading.positions, batch, back))
        return found

    def trim(self, group: str) -> None:
        """See BaseStore.trim()."""
        last = self.positions([group])[group].number - self.max_events
        events = StoredEvent.objects.using(self.alias).filter(
            Q(number__lte=last) | Q(created_at__lt=self._reading.oldest()),
            group_key=group_key(group),
        )
        self._delete(events.order_by("number"))

    def forget_old(self) -> int:
        """
        Forget the events of all groups that are over ``max_age_seconds``; return how many.

        A group of which nothing is left is forgotten as a whole after another week. What waits
        for its number is never forgotten.
        """
        oldest = self._reading.oldest()
        events = StoredEvent.objects.using(self.alias).filter(created_at__lt=oldest)
        forgotten = self._delete(events.order_by("created_at", "number"))
        self._delete(
            GroupHead.objects.using(self.alias).filter(
                ~Exists(StoredEvent.objects.filter(group_key=OuterRef("group_key"))),
                updated_at__lt=oldest - _HEADS_STAY,
            )
        )
        return forgotten

    def _delete(self, rows: QuerySet[Any]) -> int:
        """Delete *rows* in their order, so that a history never has a hole; return how many."""
        ids, total = rows.values_list("id", flat=True)[:_ROWS_AT_ONCE], 0
        while chosen := self._calls.read(partial(_fetch, ids)):
            # Its conditions once more: a head may have come back to life since.
            deleted = self._calls.write(partial(_delete, rows.order_by().filter(id__in=chosen)))
            total += deleted
            if not deleted or len(chosen) < _ROWS_AT_ONCE:
                break
        return total

    def check(self) -> list[CheckMessage]:
        """See BaseStore.check()."""
        if self.alias not in connections.settings:
            return [
                Error(
                    f"The store's database {self.alias!r} is not one of DATABASES.",
                    hint="Name one of them as OPTIONS['alias'], or leave it out for 'default'.",
                    id="django_sse.E020",
                )
            ]
        connection = connections[self.alias]
        if connection.vendor not in ("postgresql", "mysql", "sqlite"):
            return [
                CheckWarning(
                    f"The database store is not tested with {connection.display_name}.",
                    hint="Use PostgreSQL, MySQL, MariaDB or SQLite, or another store.",
                    id="django_sse.W020",
                )
            ]
        if not router.allow_migrate_model(self.alias, StoredEvent):
            return [
                CheckWarning(
                    f"The store's tables are not made in its database {self.alias!r}:"
                    " DATABASE_ROUTERS keeps them out.",
                    hint="Let allow_migrate() be true for 'django_sse' there.",
                    id="django_sse.W021",
                )
            ]
        return []


def _additions(groups: Sequence[str], message: dict[str, Any]) -> list[Addition]:
    # ASCII: it can be stored whatever the character set of the database is.
    text = json.dumps(message, separators=(",", ":"))
    return [Addition(group, group_key(group), message["mark"], text) for group in groups]


def _batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _fetch(rows: QuerySet[Any, _T]) -> list[_T]:
    return list(rows.all())  # all(): without the results of a call before.


def _delete(rows: QuerySet[Any], again: bool) -> int:
    return rows.all().delete()[0]
