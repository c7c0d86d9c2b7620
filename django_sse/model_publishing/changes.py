"""What a transaction does to a row, told after its commit as one change."""

from collections.abc import Collection
from typing import Any

from django.db import connections
from django.db.models import Model

from django_sse.model_publishing.debouncing import debouncer
from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.knowledge import remember
from django_sse.model_publishing.publishers import Change, ModelPublisher
from django_sse.model_publishing.rows import publish_row
from django_sse.model_publishing.states import State, as_of, state_of
from django_sse.model_publishing.transactions import Fates, Write, writes_by_subject

__all__ = ["OpenRow", "RowChange", "open_row"]


class OpenRow(Fates["RowChange"]):
    """
    What the open transaction has done to a row, and is not told yet, for one publisher.

    Attributes:
        publisher: The publisher.
        key: The row's primary key.
        using: The alias of the database.
    """

    __slots__ = ("key", "publisher", "using")

    def __init__(self, publisher: ModelPublisher, key: Any, using: str) -> None:
        super().__init__()
        self.publisher, self.key, self.using = publisher, key, using


def open_row(publisher: ModelPublisher, instance: Model, using: str) -> OpenRow:
    """Return that of *instance*, for each caller the same while there is something in it."""
    key, rows = publisher.key_of(instance), writes_by_subject(using)
    found: OpenRow | None = rows.get((publisher, key))
    if found is None:
        found = rows[publisher, key] = OpenRow(publisher, key, using)
    return found


class RowChange(Write):
    """
    One change of a row, which the transaction's commit calls.

    It leaves it to the next of the same row, if there is one, to tell both as one.

    Args:
        row: The row, and who tells of it.
        instance: An instance of it.
        change: What has happened to it.
        before: Its state before, None if that is not known.
        after: Its state now.
        is_whole: Whether that has all values that were written.
        is_silent: Whether this is no news, but the state in which other changes are told.
    """

    def __init__(
        self,
        row: OpenRow,
        instance: Model,
        change: Change,
        *,
        before: State | None,
        after: State,
        is_whole: bool = True,
        is_silent: bool = False,
    ) -> None:
        super().__init__(row.using)
        self.row, self.instance, self.before, self.after = row, instance, before, after
        self.has_existed = change != "created"
        self.exists = change != "deleted"
        self._is_whole = is_whole
        # What is to be told.
        self._changes: frozenset[Change] = frozenset(() if is_silent else (change,))
        # Who could see the row before; None if that was not asked.
        self._groups: Collection[str] | None = None
        self._is_in_row = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.row.key!r} for {self.row.publisher!r}>"

    def ask_groups(self) -> None:
        """
        Ask who can see the row before this change, and before the first of the transaction.

        That is for what cannot be asked after the commit: a deletion, and other relations.
        """
        for change in (self, self.row.first() or self):
            if change._groups is None and change.before is not None:
                change._groups = change._ask_groups(change.before)

    def _ask_groups(self, state: State) -> Collection[str]:
        publisher = self.row.publisher
        with errors_logged("%r could not tell the groups of row %r.", publisher, self.row.key):
            return publisher.groups_of(as_of(self.instance, state, self.using))
        return ()

    def enlist(self) -> None:
        """Tell the change after the commit of the open transaction; at once, if there is none."""
        self.row.add(self)
        self._is_in_row = True
        super().enlist()

    def __call__(self) -> None:
        """Tell it: the transaction is committed."""
        with errors_logged("%r could not tell of a row.", self.row.publisher):
            later = self._take_place() if self._is_in_row else None
            super().__call__()
            if later is not None:
                later._follow(self)
            elif self._changes:
                self._tell()

    def _take_place(self) -> "RowChange | None":
        """Take this change, and those before it, out of the row; return the one behind."""
        # What comes before has been told, but for two cases: a function that runs on commit has
        # saved the row again; or a test has never told it, for its transaction does not end.
        is_in_test = connections[self.using].in_atomic_block
        earlier: RowChange | None = None
        while (first := self.row.first()) is not None:
            self.row.remove_first()
            first._is_in_row = False
            if earlier is not None:
                first._follow(earlier)
            if first is self:
                break
            if not is_in_test:
                earlier = first
        return self.row.first()

    def _follow(self, earlier: "RowChange") -> None:
        """Stand for *earlier* too, which tells nothing any more."""
        self.has_existed = earlier.has_existed
        self.before = earlier.before
        self._groups = self._groups if earlier._groups is None else earlier._groups
        self._is_whole &= earlier._is_whole
        self._changes |= earlier._changes
        earlier._changes = frozenset()

    def _tell(self) -> None:
        if self.exists:
            row = self._committed()
        else:  # Django has taken the instance's key away.
            row = as_of(self.instance, self.after, self.using) if self.has_existed else None
        if row is None:
            return
        publisher = self.row.publisher
        if publisher.live:
            publish_row(row, publisher.model)
        if not self.has_existed:
            publisher.tell(row, "created")
        elif self.exists:
            self._tell_update(row)
        elif "deleted" in self._changes:
            publisher.tell(row, "deleted", self._groups_before())

    def _committed(self) -> Model | None:
        """Return the row as it was saved last; None if it has gone since."""
        row = as_of(self.instance, self.after, self.using)
        if self._is_known():
            return row
        read = type(row)._base_manager.using(self.using).filter(pk=row.pk).first()
        if read is not None:
            self.after = state_of(read)
            remember(self.instance, self.after, self.using)
        return read

    def _is_known(self) -> bool:
        return self._is_whole and all(name in self.after for name in self.before or ())

    def _tell_update(self, row: Model) -> None:
        publisher, before = self.row.publisher, self._groups_before()
        now = publisher.groups_of(row)
        if lost := [group for group in before if group not in now]:
            publisher.tell(row, "deleted", lost)
        if self._changes != {"m2m_changed"} and "updated" in publisher.on:
            is_of_interest = self._is_of_interest()
            # Groups that the row has come to hear of it at once: they do not know it yet.
            gained = [group for group in now if group not in before] if self.before else []
            if told := now if is_of_interest and self._may_tell_now() else gained:
                publisher.tell(row, "updated", told)
            if is_of_interest:
                return
        if "m2m_changed" in self._changes:
            publisher.tell(row, "m2m_changed", now)

    def _may_tell_now(self) -> bool:
        publisher, key = self.row.publisher, self.row.key
        return not publisher.min_interval or debouncer.may_tell(publisher, self.using, key)

    def _groups_before(self) -> Collection[str]:
        if self._groups is None:
            self._groups = () if self.before is None else self._ask_groups(self.before)
        return self._groups

    def _is_of_interest(self) -> bool:
        only, before = self.row.publisher.only_attnames, self.before
        return (
            only is None
            or before is None
            or any(
                name in self.after and (name not in before or before[name] != self.after[name])
                for name in only
            )
        )
