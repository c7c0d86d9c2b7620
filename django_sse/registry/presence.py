"""Of whom a group is to be told that they have joined, or left."""

import json
from collections.abc import Iterator

from django.db import IntegrityError
from django.db.models import Exists, OuterRef

from django_sse.models import Membership, PresentUser
from django_sse.registry.bulk import delete, insert
from django_sse.registry.entries import PresenceChange
from django_sse.stores.database_calls import DatabaseCalls

__all__ = ["departures", "reconcile"]


def reconcile(alias: str) -> list[PresenceChange]:
    """
    Make the present users agree with the memberships; return what has changed by that.

    Every worker may do so at any time. A row that is inserted or deleted is that by one of them,
    and that one tells the group: so each change is told once, of a user with however many tabs on
    however many workers, of workers that were killed, too.
    """
    calls = DatabaseCalls(alias)
    return [*_joined(alias, calls), *_left(alias, calls)]


def departures(alias: str) -> list[PresenceChange]:
    """
    Do so for those who have left alone.

    It is done before new streams are written: a user who was not there for a moment, since their
    worker has ended, has left and joins again. A page that has asked in that moment who is there
    would never be told of them otherwise.
    """
    return list(_left(alias, DatabaseCalls(alias)))


def _joined(alias: str, calls: DatabaseCalls) -> Iterator[PresenceChange]:
    present = PresentUser.objects.using(alias).filter(
        group_key=OuterRef("group_key"), user_id=OuterRef("present_user_id")
    )
    new = Membership.objects.using(alias).filter(~Exists(present), present_user_id__gt="")
    names = ("group_key", "group_json", "present_user_id")
    for key, group_json, user_id in calls.read(lambda: list(new.values_list(*names).distinct())):
        row = PresentUser(group_key=key, group_json=group_json, user_id=user_id)
        try:
            calls.write(lambda again, row=row: insert(alias, row))  # type: ignore[misc]
        except IntegrityError:
            continue  # Another worker was there first.
        yield PresenceChange(json.loads(group_json), user_id, has_joined=True)


def _left(alias: str, calls: DatabaseCalls) -> Iterator[PresenceChange]:
    there = Membership.objects.using(alias).filter(
        group_key=OuterRef("group_key"), present_user_id=OuterRef("user_id")
    )
    gone = PresentUser.objects.using(alias).filter(~Exists(there))
    for row in calls.read(lambda: list(gone)):
        # The condition once more: they may be back.
        if calls.write(lambda again, row=row: delete(gone.filter(pk=row.pk))):  # type: ignore[misc]
            yield PresenceChange(json.loads(row.group_json), row.user_id, has_joined=False)
