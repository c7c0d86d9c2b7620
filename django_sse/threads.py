"""The few threads on which the synchronous calls of open streams run."""

import collections
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from django.db import connections

from django_sse import processes

__all__ = ["BorrowingExecutor", "keep_one_thread"]

logger = logging.getLogger("django.sse")

_P = ParamSpec("_P")
_R = TypeVar("_R")

_MAX_THREADS = 3
_IDLE_SECONDS = 5


class _Pool:
    """Threads that start when they are needed and end after a while with nothing to do."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = 0
        self._reset()

    def _reset(self) -> None:
        self._pid = processes.pid()
        self._changed = threading.Condition()
        self._ready: collections.deque[BorrowingExecutor] = collections.deque()
        self._threads = 0
        self._idle = 0

    def add(self, executor: "BorrowingExecutor") -> None:
        self._look_for_fork()
        with self._changed:
            self._ready.append(executor)
            if self._idle >= len(self._ready):
                self._changed.notify()
            elif self._threads < self._size:
                self._start()

    def _look_for_fork(self) -> None:
        if self._pid != processes.pid():
            self._reset()  # A forked child has the counts of its parent, but not the threads.

    def keep_one(self) -> None:
        """Have a thread from now on, however long it has nothing to do."""
        self._look_for_fork()
        with self._changed:
            self._kept = 1
            if not self._threads:
                self._start()

    def _start(self) -> None:
        self._threads += 1
        try:
            threading.Thread(target=self._work, name="django_sse", daemon=True).start()
        except RuntimeError:
            self._threads -= 1
            if not self._threads:
                raise

    def _work(self) -> None:
        cursors = _watch_cursors()
        try:
            while executor := self._next():
                while executor.run(keep=_in_use(cursors)):
                    pass
                _close_old_connections()
        finally:
            connections.close_all()

    def _next(self) -> "BorrowingExecutor | None":
        with self._changed:
            self._idle += 1
            while not (found := self._changed.wait_for(lambda: self._ready, _IDLE_SECONDS)):
                if self._threads > self._kept:
                    break
            self._idle -= 1
            if not found:
                self._threads -= 1
                return None
            return self._ready.popleft()

    def step_aside(self) -> None:
        """Do not count this thread while it waits for one stream: the others need not."""
        with self._changed:
            self._threads -= 1
            if self._ready:
                self._start()

    def step_back(self) -> None:
        """Count this thread again."""
        with self._changed:
            self._threads += 1


def _watch_cursors() -> "weakref.WeakSet[Any]":
    """Return the set of this thread's open chunked cursors, as ``QuerySet.aiterator()`` makes."""
    cursors: weakref.WeakSet[Any] = weakref.WeakSet()

    def watched(open_cursor: Callable[[], _R]) -> Callable[[], _R]:
        def chunked_cursor() -> _R:
            cursor = open_cursor()
            cursors.add(cursor)
            _forget_when_closed(cursor, cursors)
            return cursor

        return chunked_cursor

    for connection in connections.all():
        connection.chunked_cursor = watched(  # type: ignore[method-assign]
            connection.chunked_cursor
        )
    return cursors


def _forget_when_closed(cursor: Any, cursors: "weakref.WeakSet[Any]") -> None:
    # Weak: a cursor that its reader has given up must go at once, not when a cycle is found.
    reference, close = weakref.ref(cursor), cursor.close

    def close_and_forget() -> None:
        try:
            close()
        finally:
            # Not before: then the thread may close the connection.
            if (closed := reference()) is not None:
                cursors.discard(closed)

    cursor.close = close_and_forget


def _in_use(cursors: "weakref.WeakSet[Any]") -> bool:
    return len(cursors) > 0 or any(
        connection.in_atomic_block for connection in connections.all(initialized_only=True)
    )


class BorrowingExecutor(Executor):
    """
    Runs the sync calls of one stream, one at a time and in order, on borrowed threads.

    A thread is given back, and its database connections closed as Django does after a request
    (``CONN_MAX_AGE``), as soon as no call waits, no transaction is open and no cursor is being
    read. All streams of a process share three threads.
    """

    _pool = _Pool(_MAX_THREADS)

    def __init__(self) -> None:
        self._calls: collections.deque[tuple[Future[Any], Callable[[], Any]]] = collections.deque()
        self._changed = threading.Condition()
        self._has_thread = False

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_R]":
        """See concurrent.futures.Executor.submit()."""
        future: Future[_R] = Future()
        with self._changed:
            self._calls.append((future, lambda: fn(*args, **kwargs)))
            self._changed.notify()
            if not self._has_thread:
                self._has_thread = True
                self._pool.add(self)
        return future

    def run(self, *, keep: bool) -> bool:
        """
        Run the next call here, in a thread of the pool. Return whether to come again.

        With *keep* the stream is between two calls that need this very connection (it reads a
        cursor in pieces, say): then this waits for the next call instead of ending.
        """
        with self._changed:
            if not self._calls:
                if keep:
                    self._pool.step_aside()
                    self._changed.wait_for(lambda: self._calls, timeout=_IDLE_SECONDS)
                    self._pool.step_back()
                    return True
                self._has_thread = False
                return False
            future, call = self._calls.popleft()
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as error:  # The caller's: it is raised where it waits.
                future.set_exception(error)
            else:
                future.set_result(result)
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads belong to all streams."""


def keep_one_thread() -> None:
    """
    Have one of the shared threads at hand from now on, for what streams run at their end.

    Python starts none while the interpreter exits (since 3.12): that may be the moment at which
    a process learns of its end.
    """
    BorrowingExecutor._pool.keep_one()


def _close_old_connections() -> None:
    """Do what Django does after a request (``CONN_MAX_AGE``)."""
    for connection in connections.all(initialized_only=True):
        try:
            connection.close_if_unusable_or_obsolete()
        except Exception:  # The thread is needed for other streams.
            logger.exception("The connection to the database %r failed.", connection.alias)
