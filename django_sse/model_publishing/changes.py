"""What a transaction does to a row, told after its commit as one change."""

import collections
import weakref
from collections.abc import Collection, Iterable
from typing import Any

from django.db import transaction
from django.db.models import Model

from django_sse.model_publishing.debouncing import debouncer
from django_sse.model_publishing.publishers import Change, ModelPublisher
from django_sse.model_publishing.rows import publish_row
from django_sse.model_publishing.states import State, as_of, is_expression, remember, state_of

__all__ = ["RowChange"]


class _Row:
    """The changes that the open transaction has made to one row, for one publisher, in order."""

    def __init__(self) -> None:
        self._changes: collections.deque[weakref.ref[RowChange]] = collections.deque()

    def add(self, change: "RowChange") -> None:
        self._changes.append(weakref.ref(change))

    def next_after(self, change: "RowChange") -> "RowChange | None":
        """Return the change behind *change*, of those that are committed with it."""
        # Django holds what is to run on commit, and lets go of what a savepoint's rollback takes
        # back: one that is still there is going to be told.
        changes = self._changes
        while changes and changes[0]() is not change:
            changes.popleft()
        while changes:
            changes.popleft()
            if changes and (later := changes[0]()) is not None:
                return later
        return None


#: By connection, and by publisher and primary key.
_open_rows: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[Any, _Row]] = (
    weakref.WeakKeyDictionary()
)


class RowChange:
    """
    One change of a row, which the transaction's commit calls.

    It leaves it to the next of the same row, if there is one, to tell both as one.

    Args:
        publisher: Who tells.
        instance: The row.
        change: What has happened to it.
        using: The alias of the database.
        before: Its state before the transaction, None if that is not known.
        after: Its state now.
        groups: Who can see it before a deletion.
    """

    def __init__(
        self,
        publisher: ModelPublisher,
        instance: Model,
        change: Change,
        using: str,
        *,
        before: State | None,
        after: State,
        groups: Collection[str] = (),
    ) -> None:
        self.publisher, self.instance, self.using = publisher, instance, using
        self.pk = after[publisher.model._meta.pk.attname]
        self.before, self.after, self.groups = before, after, groups
        self.has_existed = change != "created"
        self.exists = change != "deleted"
        self.is_saved = change != "m2m_changed"
        self.is_related_anew = not self.is_saved
        self._row: _Row | None = None

    def enlist(self) -> None:
        """Tell the change after the commit of the open transaction; at once, if there is none."""
        connection = transaction.get_connection(self.using)
        if connection.in_atomic_block:
            rows = _open_rows.setdefault(connection, weakref.WeakValueDictionary())
            self._row = rows.setdefault((self.publisher, self.pk), _Row())
            self._row.add(self)
        transaction.on_commit(self, using=self.using, robust=True)

    def __call__(self) -> None:
        """Tell it: the transaction is committed."""
        later = None if self._row is None else self._row.next_after(self)
        if later is not None:
            later.follow(self)
        else:
            self._tell()

    def follow(self, earlier: "RowChange") -> None:
        """Stand for *earlier* too."""
        self.has_existed = earlier.has_existed
        self.before = earlier.before
        self.groups = earlier.groups or self.groups
        self.is_saved |= earlier.is_saved
        self.is_related_anew |= earlier.is_related_anew

    def _tell(self) -> None:
        if not self.exists:
            remember(self.instance, None)
            if self.has_existed:
                row = as_of(self.instance, self.after)  # Django has taken the instance's key away.
                self._announce(row)
                self.publisher.tell(row, "deleted", self.groups)
            return
        row = self._committed()
        self._announce(row)
        if self.has_existed:
            self._tell_update(row)
        else:
            self.publisher.tell(row, "created")

    def _committed(self) -> Model:
        """Return the row as it was saved last."""
        if any(is_expression(value) for value in self.after.values()):
            manager = self.publisher.model._base_manager.using(self.using)
            row = manager.get(pk=self.pk)
            self.after = state_of(row)
            return row
        remember(self.instance, self.after)
        return as_of(self.instance, self.after)

    def _announce(self, row: Model) -> None:
        if self.publisher.live:
            publish_row(row)

    def _tell_update(self, row: Model) -> None:
        publisher = self.publisher
        if lost := self._lost_groups(row):
            publisher.tell(row, "deleted", lost)
        if self.is_saved and self._is_of_interest():
            if not publisher.min_interval or debouncer.may_tell(publisher, self.using, self.pk):
                publisher.tell(row, "updated")
        elif self.is_related_anew:
            publisher.tell(row, "m2m_changed")

    def _lost_groups(self, row: Model) -> list[str]:
        """Return the groups that could see the row before, and cannot any more."""
        if self.before is None or not self._changed(self.before):
            return []
        before = self.publisher.groups_of(as_of(self.instance, self.before))
        now = set(self.publisher.groups_of(row))
        return [group for group in before if group not in now]

    def _changed(self, names: Iterable[str]) -> bool:
        """Return whether one of the fields has changed, as far as is known."""
        before = self.before
        return before is None or any(
            name in self.after and (name not in before or before[name] != self.after[name])
            for name in names
        )

    def _is_of_interest(self) -> bool:
        return self.publisher.only is None or self._changed(self.publisher.only_attnames)
