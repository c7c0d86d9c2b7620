"""
The context in which a request's code makes its synchronous calls, and what becomes of it.

asgiref gives each request a thread of its own for sync code, the ORM's above all, for as long as
the request lasts; Django keeps a database connection in it. A stream would hold both for hours.
Here a stream gives its thread up, and each later call borrows one of a few for a moment.

But for the testing kit, this is the only module that reaches into asgiref:
``SyncToAsync.context_to_thread_executor`` (the map from a context to its executor) and
``AsyncToSync.executors`` (a waiting sync caller).
"""

import contextvars

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.db import connections

from django_sse.threads import BorrowingExecutor

__all__ = [
    "StreamContext",
    "has_sync_caller",
    "let_go_of_request",
    "new_context",
    "view_context",
]


def has_sync_caller() -> bool:
    """Tell whether sync code waits for this coroutine, through ``async_to_sync``."""
    executors = AsyncToSync.executors
    try:
        return executors.current is not None
    except AttributeError:
        executors.current = None  # What it means, and quicker to find the next time.
        return False


class StreamContext(ThreadSensitiveContext):
    """
    asgiref's context of a request, which a stream may outlive.

    After ``outlive()`` what the request's tasks still run synchronously goes to the shared
    threads; without it asgiref would start a new thread for them, which nothing ends.
    """

    _outlives = False

    def outlive(self) -> None:
        """Let the tasks of the request go on after its end."""
        self._outlives = True

    async def __aexit__(self, *exc_info: object) -> None:
        if self._outlives and self.token:
            SyncToAsync.thread_sensitive_context.reset(self.token)
            self.token = None
            let_go(self)
        else:
            await super().__aexit__(*exc_info)  # type: ignore[no-untyped-call]


def let_go(context: ThreadSensitiveContext) -> None:
    """Give up the thread and the database connections of *context*; later calls borrow one."""
    executors = SyncToAsync.context_to_thread_executor
    own = executors.get(context)
    if isinstance(own, BorrowingExecutor):
        return
    executors[context] = BorrowingExecutor()
    if own is not None:
        own.submit(_close_connections)
        own.shutdown(wait=False)


def let_go_of_request() -> None:
    """The same for the context of the running request, if it has one: test clients have none."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is not None:
        let_go(context)


def new_context() -> contextvars.Context:
    """Return a context of no request, in which sync calls go to the shared threads."""
    context = contextvars.Context()
    context.run(_borrow)
    return context


def view_context() -> contextvars.Context:
    """
    Return a copy of this context for the code of a view, which outlives its request.

    In it sync calls go to the shared threads from the first on: a cursor that is being read must
    not lose its thread with the request, and asgiref would prefer the thread of a sync middleware
    around the view, which is gone after the response. A test client gives a request no thread;
    then nothing is changed, so that the view sees its test's transaction.
    """
    context = contextvars.copy_context()
    if SyncToAsync.thread_sensitive_context.get(None) is not None:
        context.run(_borrow)
    return context


def _borrow() -> None:
    owner = StreamContext()
    SyncToAsync.context_to_thread_executor[owner] = BorrowingExecutor()
    SyncToAsync.thread_sensitive_context.set(owner)
    AsyncToSync.executors.current = None


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
