"""How the database store gives numbers: a group's head is locked while its history grows."""

import contextlib
import datetime
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from django_sse.models import GroupHead, StoredEvent
from django_sse.positions import START
from django_sse.stores.base import Entry

__all__ = ["Addition", "Numbering", "entry", "now"]

# How far back an event is looked for that may have been added by an attempt that failed.
_LOOK_BACK = 500


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


class Numbering:
    """Adds to the histories in the database *alias*."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @contextlib.contextmanager
    def locked(self, groups: Mapping[str, str]) -> Iterator[dict[str, GroupHead]]:
        """
        Open a transaction that has the heads of *groups* locked, and commit it at the end.

        Args:
            groups: The name of each group by its key.

        Yields:
            The heads, by their groups' keys.
        """
        while True:
            with transaction.atomic(using=self._alias):
                missing = self._lock(groups)
                if not missing:
                    yield {head.group_key: head for head in self._heads(groups)}
                    return
            # Not in the transaction: on MySQL the search for a row that is not there may keep
            # others from adding it.
            self._create({key: groups[key] for key in missing})

    def _lock(self, keys: Collection[str]) -> list[str]:
        """Lock the heads of groups; return the keys of those that have none."""
        # All in the same order, so that no two wait for each other. By an UPDATE, and as the
        # first statement: so SQLite takes its lock where it can still wait for it, and
        # elsewhere what follows sees all that was committed before.
        return [key for key in sorted(keys) if not self._heads([key]).update(number=F("number"))]

    def _create(self, groups: Mapping[str, str]) -> None:
        GroupHead.objects.using(self._alias).bulk_create(
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

    def add(self, heads: Mapping[str, GroupHead], additions: Sequence[Addition]) -> list[Entry]:
        """Add to the histories whose *heads* are locked, in order; return the entries."""
        time, rows = now(), []
        for addition in additions:
            head = heads[addition.group_key]
            # Ages follow the numbers, whatever the clocks of several machines say: what is too
            # old is the beginning of a history, never a hole in it.
            head.updated_at = max(time, head.updated_at)
            head.number += 1
            row = StoredEvent(
                group_key=head.group_key,
                number=head.number,
                mark=addition.mark,
                previous=head.mark,
                message_json=addition.message_json,
                created_at=head.updated_at,
            )
            head.mark = row.mark
            rows.append(row)
        StoredEvent.objects.using(self._alias).bulk_create(rows)
        for key in {row.group_key for row in rows}:
            head = heads[key]
            self._heads([key]).update(
                number=head.number, mark=head.mark, updated_at=head.updated_at
            )
        return [entry(a.group, row) for a, row in zip(additions, rows, strict=True)]

    def find(self, heads: Mapping[str, GroupHead], additions: Sequence[Addition]) -> list[Entry]:
        """Return those entries of *additions* that an attempt before has added already."""
        found = []
        for group, key, mark, _ in additions:
            rows = StoredEvent.objects.using(self._alias).filter(
                group_key=key, number__gt=heads[key].number - _LOOK_BACK, mark=mark
            )
            # Where the collation ignores case there may be another one's mark among them.
            found += [entry(group, row) for row in rows if row.mark == mark][:1]
        return found

    def _heads(self, keys: Collection[str]) -> QuerySet[GroupHead]:
        return GroupHead.objects.using(self._alias).filter(group_key__in=keys)
