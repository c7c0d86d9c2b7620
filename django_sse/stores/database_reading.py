"""How the database store reads the histories, with as few queries as there can be."""

import datetime
import hashlib
from collections.abc import Sequence

from django.db.models import OuterRef, QuerySet, Subquery

from django_sse.models import GroupHead, StoredEvent
from django_sse.positions import START, Position
from django_sse.stores.base import Slice
from django_sse.stores.database_numbering import entry, now

__all__ = ["Reading", "group_key"]


def group_key(group: str) -> str:
    """Return what stands for the name of *group* in the tables: it is short, and in one case."""
    # The name may hold what UTF-8 cannot carry only if a caller has not checked it.
    return hashlib.blake2b(group.encode(errors="surrogatepass"), digest_size=20).hexdigest()


class Reading:
    """Reads from the database *alias* what is no older than *max_age_seconds*."""

    def __init__(self, alias: str, max_age_seconds: float) -> None:
        self._alias = alias
        self._max_age = datetime.timedelta(seconds=max_age_seconds)

    def oldest(self) -> datetime.datetime:
        """Return the time before which events are not read any more."""
        return now() - self._max_age

    def _events(self) -> QuerySet[StoredEvent]:
        return StoredEvent.objects.using(self._alias).filter(created_at__gte=self.oldest())

    def slice(self, group: str, after: Position, limit: int) -> Slice:
        """See BaseStore.read()."""
        following = self._events().filter(group_key=group_key(group), number__gt=after.number)
        following = following.order_by("number")[: max(limit, 0)]
        rows, head = list(following), START
        if not 0 < len(rows) < limit:  # Else the last of them is the head.
            head = self.heads([group]).get(group, START)
            if not rows and head.number > after.number:
                rows = list(following.all())  # What was added before the head was looked at.
        entries = [entry(group, row) for row in rows]
        if entries and entries[-1].number > head.number:
            head = entries[-1].position
        return Slice(entries, head)

    def heads(self, groups: Sequence[str]) -> dict[str, Position]:
        """Return where the histories end, of those of *groups* that have one."""
        names = {group_key(group): group for group in groups}
        heads = GroupHead.objects.using(self._alias).filter(group_key__in=names)
        rows = heads.values_list("group_key", "number", "mark")
        return {names[key]: Position(number, mark) for key, number, mark in rows}

    def positions(self, groups: Sequence[str], back: int | None) -> dict[str, Position]:
        """See BaseStore.positions(); a group that is unknown is left out."""
        if back == 0:
            return self.heads(groups)
        following = self._events().filter(group_key=OuterRef("group_key")).order_by("number")
        if back is not None:
            following = following.filter(number__gt=OuterRef("number") - back)
        # In one statement, so that nothing is trimmed between two.
        names = {group_key(group): group for group in groups}
        heads = GroupHead.objects.using(self._alias).filter(group_key__in=names)
        found = {}
        for head in heads.annotate(
            next_number=Subquery(following.values("number")[:1]),
            next_previous=Subquery(following.values("previous")[:1]),
        ):
            place = Position(head.number, head.mark)
            if head.next_number is not None:
                place = Position(head.next_number - 1, head.next_previous)
            found[names[head.group_key]] = place
        return found
