"""How the database store gives numbers: a group's head is locked while its history grows."""

import contextlib
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.utils import timezone

from django_sse.models import GroupHead, StoredEvent
from django_sse.positions import START, Position
from django_sse.stores.base import Entry

__all__ = ["Addition", "Numbering", "entry", "now"]

# How far back an event is looked for that may have been added by an attempt that failed.
_LOOK_BACK = 500

# By an UPDATE, and as a transaction's first statement: so SQLite takes its lock where it can still
# wait for it, and elsewhere what follows sees all that was committed before.
_LOCK = "UPDATE {heads} SET number = number WHERE group_key = %(group_key)s"
# Where all numbers come from. It locks as well, and counts from what is newest by then, also if
# that was committed after the statement began.
#
# Ages follow the numbers, whatever the clocks of several machines say: what is too old is the
# beginning of a history, never a hole in it. So a head never becomes older.
#
# MySQL assigns from left to right: a mark is kept before it is overwritten.
_MOVE_HEAD = """
    UPDATE {heads}
    SET number = number + %(count)s, previous = mark, mark = %(mark)s,
        updated_at = {latest}(updated_at, %(now)s)
    WHERE group_key = %(group_key)s
"""
_HEAD = "SELECT number, previous, updated_at FROM {heads} WHERE group_key = %(group_key)s"
_COLUMNS = "group_key, number, mark, previous, message_json, created_at"
_ADD = f"INSERT INTO {{events}} ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)"
# All three for one event, on PostgreSQL, where this is a transaction by itself.
_MOVE_HEAD_AND_ADD = f"""
    WITH head AS ({_MOVE_HEAD} RETURNING *)
    INSERT INTO {{events}} ({_COLUMNS})
    SELECT group_key, number, mark, previous, %(message_json)s, updated_at FROM head
    RETURNING number, previous, created_at
"""


class Addition(NamedTuple):
    """What is to be added to the history of one group."""

    group: str
    group_key: str
    mark: str
    message_json: str


def now() -> datetime.datetime:
    """Return the time for a DateTimeField, in UTC also where ``USE_TZ`` is off."""
    found = timezone.now()
    # Local time jumps twice a year, and with it the age of everything.
    return found if found.tzinfo else datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def entry(group: str, row: StoredEvent) -> Entry:
    """Return what a *row* of the history of *group* holds."""
    message: dict[str, Any] = json.loads(row.message_json)
    return Entry(group, row.number, row.mark, row.previous, message)


class _Sql(NamedTuple):
    """The statements, with the names of the tables."""

    lock: str
    move_head: str
    head: str
    add: str
    move_head_and_add: str


class _NoHead(Exception):
    """A group has no head yet."""


class Numbering:
    """Adds to the histories in the database *alias*."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def append(self, additions: Sequence[Addition], *, again: bool) -> list[Entry]:
        """
        Add to the histories of different groups, at once; return the entries, in any order.

        Args:
            additions: At most one for each group.
            again: Whether an attempt before this may have added them: then they are looked for.
        """
        groups = {addition.group_key: addition.group for addition in additions}
        if again:
            with self.locked(groups):
                there = [found for addition in additions for found in self._find(addition)]
                known = {entry.group for entry in there}
                return there + [self.add([a])[0] for a in additions if a.group not in known]
        additions = sorted(additions, key=_key)  # So that no two wait for each other.
        while True:
            with contextlib.suppress(_NoHead), self._transaction(len(additions)):
                return [self.add([addition])[0] for addition in additions]
            self._create(groups)

    def _transaction(self, count: int) -> contextlib.AbstractContextManager[object]:
        """Return what *count* events of different groups are added in."""
        if _is_one_statement(connections[self._alias], count):
            return contextlib.nullcontext()
        return transaction.atomic(using=self._alias)

    @contextlib.contextmanager
    def locked(self, groups: Mapping[str, str]) -> Iterator[None]:
        """
        Open a transaction that has the heads of *groups* locked, and commit it at the end.

        Args:
            groups: The name of each group by its key.
        """
        while True:
            with transaction.atomic(using=self._alias):
                if all(map(self._lock, sorted(groups))):
                    yield
                    return
            self._create(groups)

    def _lock(self, key: str) -> bool:
        """Lock the head of a group; return whether it has one."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute(self._sql.lock, {"group_key": key})
            return bool(cursor.rowcount)

    def _create(self, groups: Mapping[str, str]) -> None:
        # Not in the transaction: on MySQL the search for a row that is not there may keep others
        # from adding it.
        self._heads().bulk_create(
            [
                GroupHead(
                    group_key=key,
                    group_json=json.dumps(group),
                    number=START.number,
                    mark=START.mark,
                    updated_at=now(),
                )
                for key, group in sorted(groups.items())
            ],
            ignore_conflicts=True,
        )

    def add(self, additions: Sequence[Addition]) -> list[Entry]:
        """
        Add to the history of one group, in order; return the entries.

        It needs a transaction around it, but for one event on PostgreSQL.
        """
        connection, sql, last = connections[self._alias], self._sql, additions[-1]
        values = {
            **last._asdict(),
            "count": len(additions),
            "now": connection.ops.adapt_datetimefield_value(now()),
        }
        with connection.cursor() as cursor:
            if is_one := _is_one_statement(connection, len(additions)):
                cursor.execute(sql.move_head_and_add, values)
            else:
                cursor.execute(sql.move_head, values)
                if not cursor.rowcount:  # Not by its absence: it may be made in this moment.
                    raise _NoHead
                cursor.execute(sql.head, values)
            head = cursor.fetchone()
            if head is None:
                raise _NoHead
            number, previous, created_at = head
            entries = _entries(additions, Position(number - len(additions), previous))
            if not is_one:
                cursor.executemany(
                    sql.add,
                    [
                        (a.group_key, e.number, e.mark, e.previous, a.message_json, created_at)
                        for a, e in zip(additions, entries, strict=True)
                    ],
                )
            return entries

    @cached_property
    def _sql(self) -> _Sql:
        connection = connections[self._alias]
        names = {
            "events": connection.ops.quote_name(StoredEvent._meta.db_table),
            "heads": connection.ops.quote_name(GroupHead._meta.db_table),
            "latest": "MAX" if connection.vendor == "sqlite" else "GREATEST",
        }
        statements = (_LOCK, _MOVE_HEAD, _HEAD, _ADD, _MOVE_HEAD_AND_ADD)
        return _Sql(*(statement.format(**names) for statement in statements))

    def _find(self, addition: Addition) -> list[Entry]:
        """Return the entry of *addition* if an attempt before has added it already."""
        group, key, mark, _ = addition
        [last] = self._heads().filter(group_key=key).values_list("number", flat=True)
        rows = StoredEvent.objects.using(self._alias).filter(
            group_key=key, number__gt=last - _LOOK_BACK, mark=mark
        )
        # Where the collation ignores case there may be another one's mark among them.
        return [entry(group, row) for row in rows if row.mark == mark][:1]

    def _heads(self) -> QuerySet[GroupHead]:
        return GroupHead.objects.using(self._alias)


def _is_one_statement(connection: BaseDatabaseWrapper, count: int) -> bool:
    return count == 1 and connection.vendor == "postgresql"


def _key(addition: Addition) -> str:
    return addition.group_key


def _entries(additions: Iterable[Addition], place: Position) -> list[Entry]:
    """Return the entries of *additions* to a history that ends at *place*."""
    entries = []
    for group, _, mark, message_json in additions:
        number = place.number + 1
        entries.append(Entry(group, number, mark, place.mark, json.loads(message_json)))
        place = Position(number, mark)
    return entries
