"""subscribe_queryset(): the rows of a queryset, and what becomes of them."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from django_sse.contexts import new_context
from django_sse.events import ServerSentEvent
from django_sse.hub import get_hub
from django_sse.live_querysets.live_query import LiveQuery, Telling, live_query
from django_sse.live_querysets.querysets import check_queryset, identity_of, live_publisher
from django_sse.live_querysets.rows import Kind, Row, RowForm, merged
from django_sse.model_publishing import ModelPublisher

__all__ = ["QuerySetSubscription", "subscribe_queryset"]


class QuerySetSubscription(AsyncIterator[ServerSentEvent]):
    """
    The rows of a queryset: an async context manager, and an iterator of events inside it.

    What is unread is merged by row, so that a slow reader holds one event a row at most. Not for
    several tasks at once. See subscribe_queryset().
    """

    def __init__(self, queryset: QuerySet[Any], form: RowForm) -> None:
        self._queryset = queryset
        self._form = form
        self._query: LiveQuery | None = None
        self._snapshot: ServerSentEvent | None = None
        # Not a dict: to take the first of many out of one becomes slow.
        self._unread: OrderedDict[Any, tuple[Kind, Row]] = OrderedDict()
        self._error: Exception | None = None
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self._query is not None:
            raise RuntimeError(
                "This subscription is open already; call subscribe_queryset() once more."
            )
        self._snapshot, self._error = None, None
        self._unread.clear()
        hub = get_hub()
        # Not in this thread, for it may use the database; and not in the request's, to hold none.
        preparing = sync_to_async(identity_of)(self._queryset)
        queryset, identity = await asyncio.create_task(preparing, context=new_context())
        self._query = query = live_query(hub, identity, queryset, self._form)
        try:
            await query.join(self)
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        assert self._query is not None
        self._query.leave(self)
        self._query = None

    async def __anext__(self) -> ServerSentEvent:
        if self._query is None:
            raise RuntimeError(
                "A subscription is read inside its block: async with subscribe_queryset(...) as"
                " events:"
            )
        while not (self._snapshot or self._unread or self._error):
            self._arrived.clear()
            await self._arrived.wait()
        if self._error is not None:
            raise self._error
        if (snapshot := self._snapshot) is not None:
            self._snapshot = None
            return snapshot
        _, (kind, row) = self._unread.popitem(last=False)
        return row.event(kind)

    def begin(self, rows: OrderedDict[Any, tuple[Kind, Row]]) -> None:
        """See Follower."""
        self._snapshot = ServerSentEvent({"count": len(rows)}, event="snapshot")
        self._unread = rows.copy()
        self._arrived.set()

    def take(self, tellings: Sequence[Telling]) -> None:
        """See Follower."""
        for pk, kind, row in tellings:
            come_to = merged(self._unread[pk][0], kind) if pk in self._unread else kind
            if come_to is None:
                del self._unread[pk]
            else:
                self._unread[pk] = come_to, row
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        """See Follower."""
        self._error = error
        self._arrived.set()


def subscribe_queryset(
    queryset: QuerySet[Any],
    *,
    publisher: type[ModelPublisher] | None = None,
    template_name: str | None = None,
) -> QuerySetSubscription:
    """
    Return the rows of *queryset*, and what becomes of them, as events to be read in a block.

    For example, ``async with subscribe_queryset(Order.objects.filter(status="open")) as events``.

    The first event is a ``snapshot``, ``{"count": 2}``, at which a page empties its list; then
    comes an ``enter`` for each row, in the queryset's order. From then on ``enter``, ``change``
    and ``leave`` tell of rows that start to match, change while they match, or stop. Between the
    two nothing is missed. All who follow the same queryset in a process share its queries.

    Args:
        queryset: Rows of a model with a publisher that has ``live = True``.
        publisher: The one of the model's publishers whose get_data() is sent; the first that is
            live, by default. A row that leaves is told by its primary key, ``{"id": 7}``.
        template_name: Instead of get_data(), a template that is rendered for each row to a
            fragment of HTML. Its context has the instance as ``object`` and by the name of its
            model, and ``change``: "created" for a row that enters, "updated" for one that
            changes.

    Raises:
        TypeError: If *queryset* is no queryset, or one of values() or values_list().
        ValueError: If it is sliced or combined, or depends on other rows in another way.
        ImproperlyConfigured: If the model has no such publisher; on entering, if there is no
            channel layer.
        ChannelLayerUnavailable: On entering, if the channel layer fails.
        StoreUnavailable: On entering, if the store of past events fails.
        Exception: While reading, what the query raises; while the database is away it is tried
            again.
    """
    queryset = check_queryset(queryset)
    form = RowForm(live_publisher(queryset, publisher), template_name)
    return QuerySetSubscription(queryset, form)
