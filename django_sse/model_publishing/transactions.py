"""What of ours the open transaction has done, and whether that is for good."""

import collections
import itertools
import weakref
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from django.db import connections, transaction

from django_sse.model_publishing.errors import errors_logged

__all__ = ["Fate", "Fates", "Write", "latest", "writes_by_subject"]

_W = TypeVar("_W", bound="Write")

_ATTRIBUTE = "django_sse_transaction"


class Write:
    """
    Something that is done in the open transaction, and that is called after its commit.

    Args:
        using: The alias of the database.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.fate = Fate(self)

    def enlist(self) -> None:
        """Wait for the commit of the open transaction; be called at once, if there is none."""
        writes = _transaction(self.using).writes
        with errors_logged("%r cannot know when the transaction ends.", self):
            transaction.on_commit(self, using=self.using)
            writes.add(self)

    def __call__(self) -> None:
        """Know that it is committed."""
        self.fate.is_committed = True


class Fate(weakref.ref[Write]):
    """
    What becomes of a write: it is open, then committed or lost.

    Django holds what is to run on commit, and lets go of what a rollback takes back, also one to
    a savepoint.

    Attributes:
        number: Greater than those of all writes before.
        is_committed: Whether it is for good.
    """

    __slots__ = ("is_committed", "number")

    _numbers = itertools.count(1)

    def __init__(self, write: Write) -> None:
        self.number = next(self._numbers)
        self.is_committed = False

    @property
    def is_lost(self) -> bool:
        """Whether it is rolled back."""
        return not self.is_committed and self() is None


class Fates(Generic[_W]):
    """
    Those of some writes of a transaction, in order.

    If a write is still there, all before it that were there when it was made are too.
    """

    __slots__ = ("__weakref__", "_fates")

    def __init__(self) -> None:
        self._fates: collections.deque[Fate] = collections.deque()

    def add(self, write: _W) -> None:
        """Put it behind the others."""
        self._fates.append(write.fate)

    def first(self) -> _W | None:
        """Return the first write that is open."""
        return self._open(0, self._fates.popleft)

    def last(self) -> _W | None:
        """Return the last write that is open."""
        return self._open(-1, self._fates.pop)

    def _open(self, index: int, drop: Any) -> _W | None:
        while self._fates:
            fate = self._fates[index]
            if not fate.is_committed and (write := fate()) is not None:
                return write  # type: ignore[return-value]  # add() takes no other.
            drop()
        return None

    def remove_first(self) -> None:
        """Forget the first."""
        self._fates.popleft()


class _Transaction:
    """The writes of a connection's transaction, all, and by what they are of."""

    __slots__ = ("by_subject", "writes")

    def __init__(self) -> None:
        self.writes: Fates[Write] = Fates()
        self.by_subject: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()


def _transaction(using: str) -> _Transaction:
    connection = connections[using]
    found: _Transaction | None = getattr(connection, _ATTRIBUTE, None)
    if found is None:
        found = _Transaction()
        setattr(connection, _ATTRIBUTE, found)
    return found


def latest(using: str) -> Fate | None:
    """Return the fate of the last write that is open; None if there is none."""
    found: _Transaction | None = getattr(connections[using], _ATTRIBUTE, None)
    write = None if found is None else found.writes.last()
    return None if write is None else write.fate


def writes_by_subject(using: str) -> weakref.WeakValueDictionary[Hashable, Any]:
    """Return the Fates of the open transaction, by what they are of, that somebody holds."""
    return _transaction(using).by_subject
