"""How the database store reaches its database: outside of others' transactions, and again."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import InterfaceError, OperationalError

from django_sse import processes

__all__ = ["DatabaseCalls", "is_in_test_case"]

_T = TypeVar("_T")

_ATTEMPTS = 10
# After each conflict up to so much longer: who has lost should not meet the same ones again.
_PAUSE_SECONDS = 0.01
# Two transactions stood in each other's way, and the server has undone one of them.
_CONFLICTS = {
    "40001",  # PostgreSQL: serialization_failure
    "40P01",  # PostgreSQL: deadlock_detected
    1020,  # MariaDB: ER_CHECKREAD, the row has changed
    1213,  # MySQL, MariaDB: ER_LOCK_DEADLOCK
}

# Connections of a parent process. If one was collected, its driver would take leave of the
# server, over the socket that the parent goes on using.
_left_to_parent: list[Any] = []


class DatabaseCalls:
    """
    Makes calls to the database *alias*, each of which is free to open a transaction of its own.

    If the server has dropped the connection, or has undone a transaction for the sake of another,
    the call is made again.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._pid = processes.pid()

    def read(self, call: Callable[[], _T]) -> _T:
        """Return what *call* returns, which reads: in the open transaction if there is one."""
        connection = self._connection()
        if connection.in_atomic_block:
            return call()
        return self._attempt(lambda again: call())

    def write(self, call: Callable[[bool], _T]) -> _T:
        """
        Return what *call* returns, which may open a transaction of its own.

        It is told whether an attempt before has failed, perhaps after its commit. If this thread
        has a transaction open, it runs in a thread of its own, on a connection of its own, which
        is closed afterwards: it neither becomes part of that transaction nor sees it.

        Raises:
            django.db.Error: If the database is down, or refuses.
        """
        connection = self._connection()
        if is_in_test_case(self.alias):
            # All of the test is to be undone, and another connection would not see its rows.
            with transaction.atomic(using=self.alias):
                return call(False)
        if connection.in_atomic_block or not _commits_by_itself(connection):
            return self._run_apart(call)
        return self._attempt(call)

    def _connection(self) -> BaseDatabaseWrapper:
        connection = connections[self.alias]
        if self._pid != processes.pid():
            self._pid = processes.pid()
            if connection.connection is not None and not connection.in_atomic_block:
                _left_to_parent.append(connection.connection)
                connection.connection = None
        return connection

    def _run_apart(self, call: Callable[[bool], _T]) -> _T:
        def committed(again: bool) -> _T:
            if not connections[self.alias].get_autocommit():  # As DATABASES may say.
                connections[self.alias].set_autocommit(True)
            return call(again)

        def run() -> _T:
            try:
                return self._attempt(committed)
            finally:
                connections[self.alias].close()

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="django_sse") as executor:
            try:
                return executor.submit(run).result()
            except OperationalError as error:
                if connections[self.alias].vendor != "sqlite":
                    raise
                raise OperationalError(
                    f"An event was to be stored at once, and the transaction that is open on"
                    f" {self.alias!r} has SQLite's file: {error}. Publish with on_commit=True, or"
                    " outside of the transaction."
                ) from error

    def _attempt(self, call: Callable[[bool], _T]) -> _T:
        connection = connections[self.alias]
        for attempt in range(_ATTEMPTS):
            used = connection.connection
            try:
                return call(attempt > 0)
            except (OperationalError, InterfaceError) as error:
                is_conflict = _is_conflict(error)
                if attempt == _ATTEMPTS - 1 or not (is_conflict or _is_lost(connection, used)):
                    raise
            if is_conflict:
                time.sleep(random.uniform(0, _PAUSE_SECONDS * (attempt + 1)))
        raise AssertionError("unreachable")


def is_in_test_case(alias: str) -> bool:
    """Tell whether all that is done here is part of the transaction of a Django TestCase."""
    blocks = connections[alias].atomic_blocks
    # As Django's own atomic(durable=True) tells.
    return bool(blocks) and getattr(blocks[0], "_from_testcase", False)


def _commits_by_itself(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is None or connection.get_autocommit()


def _is_lost(connection: BaseDatabaseWrapper, used: Any) -> bool:
    """Tell whether the server has dropped the connection that was *used*, if one was open."""
    if used is None:
        return False
    if connection.connection is used and connection.is_usable():
        return False
    # Where the rollback has failed, too, Django has closed it, and may have opened another.
    if connection.connection is used:
        connection.close()
    return True


def _is_conflict(error: Exception) -> bool:
    cause = error.__cause__
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *error.args[:1]}
    return not _CONFLICTS.isdisjoint(codes)
