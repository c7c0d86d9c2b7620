"""What a transaction does to a row, told after its commit as one change."""

import collections
import weakref
from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import Model

from django_sse.model_publishing.debouncing import debouncer
from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.publishers import Change, ModelPublisher
from django_sse.model_publishing.rows import publish_row
from django_sse.model_publishing.states import State, as_of, is_expression, remember, state_of

__all__ = ["RowChange", "open_row"]


class _Row:
    """
    The changes that the open transaction has made to one row, for one publisher, in order.

    Django holds what is to run on commit, and lets go of what a savepoint's rollback takes back:
    a change that is still there is going to be told. If one is, all before it that were there
    when it was made are too.
    """

    def __init__(self) -> None:
        self._changes: collections.deque[weakref.ref[RowChange]] = collections.deque()

    def add(self, change: "RowChange") -> None:
        self._changes.append(weakref.ref(change))

    def first(self) -> "RowChange | None":
        """Return the first change that is still there."""
        while self._changes:
            if (change := self._changes[0]()) is not None:
                return change
            self._changes.popleft()
        return None

    def last(self) -> "RowChange | None":
        """Return the last change that is still there."""
        while self._changes:
            if (change := self._changes[-1]()) is not None:
                return change
            self._changes.pop()
        return None

    def pop(self) -> "RowChange | None":
        """Take out the first change that is still there."""
        change = self.first()
        if change is not None:
            self._changes.popleft()
        return change


#: By connection, and by publisher and primary key.
_open_rows: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[Any, _Row]] = (
    weakref.WeakKeyDictionary()
)


def open_row(publisher: ModelPublisher, pk: Any, using: str) -> _Row | None:
    """Return the row's changes that are not told yet, if there are any."""
    rows = _open_rows.get(transaction.get_connection(using))
    return None if rows is None else rows.get((publisher, pk))


class RowChange:
    """
    One change of a row, which the transaction's commit calls.

    It leaves it to the next of the same row, if there is one, to tell both as one.

    Args:
        publisher: Who tells.
        instance: The row.
        change: What has happened to it.
        using: The alias of the database.
        before: Its state before, None if that is not known.
        after: Its state now.
        groups: Who could see it before the transaction, if that cannot be asked after it.
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
        groups: Collection[str] | None = None,
    ) -> None:
        self.publisher, self.instance, self.using = publisher, instance, using
        self.before, self.after, self.groups = before, after, groups
        self.has_existed = change != "created"
        self.exists = change != "deleted"
        self.is_saved = change != "m2m_changed"
        self.is_related_anew = not self.is_saved
        self.is_told = False
        self._row: _Row | None = None

    def enlist(self) -> None:
        """Tell the change after the commit of the open transaction; at once, if there is none."""
        connection = transaction.get_connection(self.using)
        if (rows := _open_rows.get(connection)) is None:
            rows = _open_rows[connection] = weakref.WeakValueDictionary()
        self._row = rows.setdefault((self.publisher, self.publisher.key_of(self.after)), _Row())
        self._row.add(self)
        with errors_logged("%r cannot know when the transaction ends.", self.publisher):
            transaction.on_commit(self, using=self.using)

    def __call__(self) -> None:
        """Tell it: the transaction is committed."""
        if self.is_told:
            return
        if self.exists:
            remember(self.instance, self.after)
        with errors_logged("%r could not tell of a row.", self.publisher):
            later = None if self._row is None else self._take_place(self._row)
            if later is not None:
                later.follow(self)
            else:
                self._tell()

    def _take_place(self, row: _Row) -> "RowChange | None":
        """Take this change, and those before it, out of *row*; return the one behind."""
        # What comes before has been told, but for two cases: a function that runs on commit has
        # saved the row again; or a test has never told it, for its transaction does not end.
        is_in_test = transaction.get_connection(self.using).in_atomic_block
        earlier: RowChange | None = None
        while (first := row.pop()) is not None:
            first._row = None
            if earlier is not None:
                first.follow(earlier)
            if first is self:
                break
            if not is_in_test:
                first.is_told, earlier = True, first
        return row.first()

    def follow(self, earlier: "RowChange") -> None:
        """Stand for *earlier* too."""
        self.has_existed = earlier.has_existed
        self.before = earlier.before
        self.groups = self.groups if earlier.groups is None else earlier.groups
        self.is_saved |= earlier.is_saved
        self.is_related_anew |= earlier.is_related_anew

    def _tell(self) -> None:
        if not self.exists:
            remember(self.instance, None)
            if self.has_existed:
                row = as_of(self.instance, self.after)  # Django has taken the instance's key away.
                self._announce(row)
                self.publisher.tell(row, "deleted", self._groups_before())
        elif (committed := self._committed()) is not None:
            self._announce(committed)
            if self.has_existed:
                self._tell_update(committed)
            else:
                self.publisher.tell(committed, "created")

    def _committed(self) -> Model | None:
        """Return the row as it was saved last; None if it has gone since."""
        row = as_of(self.instance, self.after)
        if self._is_known():
            return row
        read = type(row)._base_manager.using(self.using).filter(pk=row.pk).first()
        if read is not None:
            self.after = state_of(read)
            remember(self.instance, self.after)
        return read

    def _is_known(self) -> bool:
        # What the database has computed Django reads, defers or leaves, depending on which it is.
        return all(name in self.after for name in self.before or ()) and not any(
            is_expression(value) for value in self.after.values()
        )

    def _announce(self, row: Model) -> None:
        if self.publisher.live:
            publish_row(row, self.publisher.model)

    def _tell_update(self, row: Model) -> None:
        publisher, before = self.publisher, self._groups_before()
        now = publisher.groups_of(row)
        if lost := [group for group in before if group not in now]:
            publisher.tell(row, "deleted", lost)
        if self.is_saved and "updated" in publisher.on:
            is_of_interest = self._is_of_interest()
            # Groups that the row has come to hear of it at once: they do not know it yet.
            gained = [group for group in now if group not in before] if self.before else []
            if told := now if is_of_interest and self._may_tell_now() else gained:
                publisher.tell(row, "updated", told)
            if is_of_interest:
                return
        if self.is_related_anew:
            publisher.tell(row, "m2m_changed", now)

    def _may_tell_now(self) -> bool:
        publisher, pk = self.publisher, self.publisher.key_of(self.after)
        return not publisher.min_interval or debouncer.may_tell(publisher, self.using, pk)

    def _groups_before(self) -> Collection[str]:
        if self.groups is not None:
            return self.groups
        groups: Collection[str] = ()
        if self.before is not None:
            with errors_logged("%r could not tell the groups that a row had.", self.publisher):
                groups = self.publisher.groups_of(as_of(self.instance, self.before))
        return groups

    def _is_of_interest(self) -> bool:
        only, before = self.publisher.only_attnames, self.before
        return (
            only is None
            or before is None
            or any(
                name in self.after and (name not in before or before[name] != self.after[name])
                for name in only
            )
        )
